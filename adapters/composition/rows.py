"""The read models in Postgres: sessions that write all tenants' rows, and ones that read one's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from adapters.postgres.pool import open_pool
from adapters.settings import Settings
from adapters.turns import Turns
from domain.errors import InvalidInput
from projections.audit import shown as audit
from projections.backups import shown as backups
from projections.diffs import shown as diffs
from projections.rows import Pool
from projections.schema import ensure_schemas
from projections.tenancy import READER, TenantReader

# Each projection's worker holds one session for its lease, and writes through another.
POOL_SIZE = 24
# Sessions that answer for tenants.
READING_SIZE = 12
# Of which one tenant may have so many at once, however much it asks for.
READING_OF_ONE = 9
READING_WAITING = 500

QUESTIONS = (*backups.QUESTIONS, *diffs.QUESTIONS, *audit.QUESTIONS)


@dataclass(frozen=True, slots=True)
class Rows:
    """Sessions of the service itself (`pool`), and of the role that reads one tenant's rows, at
    which tenants take turns."""

    pool: Pool
    readers: Pool
    turns: Turns
    # Functions of questions that were found not to be there.
    missing: set[str]

    def of(self, tenant_id: str) -> TenantReader:
        """One tenant's rows."""
        return TenantReader(self.readers, tenant_id, self.turns.turn, self.missing)


@asynccontextmanager
async def open_rows(settings: Settings) -> AsyncIterator[Rows]:
    """Connect, waiting for Postgres. Makes the schemas and the role where they are missing."""
    if settings.postgres_dsn is None:
        raise InvalidInput("CONFIGTRAIL_POSTGRES_DSN", "must be set")
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            open_pool(settings.postgres_dsn.get_secret_value(), max_size=POOL_SIZE)
        )
        await ensure_schemas(pool, QUESTIONS)
        reading = settings.postgres_reader_dsn or settings.postgres_dsn
        readers = await stack.enter_async_context(
            open_pool(
                reading.get_secret_value(),
                application_name="configtrail-reader",
                max_size=READING_SIZE,
                role=None if settings.postgres_reader_dsn else READER,
                reset=False,
            )
        )
        yield Rows(
            pool,
            readers,
            Turns(
                "the reader of the read models",
                READING_SIZE,
                of_one=READING_OF_ONE,
                waiting=READING_WAITING,
            ),
            set(),
        )
