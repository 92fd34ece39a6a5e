"""Schemas and tables in Postgres: the engine's own, and making those of a projection.

Projections name their tables without a schema. `configtrail` holds the live ones; those of a
rebuild grow in `configtrail_build`, and move over when they are complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from projections.patience import Patience
from projections.projection import Projection
from projections.questions import Question
from projections.rows import BUILD_SCHEMA, SCHEMA, Connection, Pool, Reader
from projections.tenancy import ensure_reader, fence, make_askable

# Any constant does, as long as every version of the program has the same.
_SCHEMA_LOCK = 0x636F_6E66_7472_6C31


class Place(Struct, frozen=True):
    """Where a projection's rows are, and the table that holds its position there."""

    schema: str
    ledger: str


LIVE = Place(SCHEMA, f"{SCHEMA}.checkpoints")
BUILD = Place(BUILD_SCHEMA, f"{SCHEMA}.rebuilds")
# Temporary tables of one session, which has no ledger.
SCRATCH = Place("pg_temp", "")

# What the engine keeps. `tables` are the version's own, `build` is the number of the rebuild that
# made them, 0 for tables that were filled where they are; `error` of a parked event is null when
# it only waits for an earlier one of its device; `last_event` is the id of the event at the
# position, '' where a program wrote it that did not keep it; `last_stored` is when that event was
# stored, as far as the position is `timed`: an older program moves on without telling; `reason`
# says why nothing behind that position comes in; `stopped_at` is the event for which a rebuild has
# its `error`.
_OWN_TABLES = {
    "checkpoints": """
        CREATE TABLE configtrail.checkpoints (
            projection text NOT NULL PRIMARY KEY,
            version integer NOT NULL,
            stream text NOT NULL,
            stream_created timestamptz NOT NULL,
            position bigint NOT NULL,
            tables text[] NOT NULL,
            build bigint NOT NULL,
            last_event text NOT NULL DEFAULT '',
            last_stored timestamptz,
            timed bigint NOT NULL DEFAULT 0
        ) WITH (fillfactor = 10)
    """,
    "rebuilds": """
        CREATE TABLE configtrail.rebuilds (
            projection text NOT NULL PRIMARY KEY,
            version integer NOT NULL,
            stream text NOT NULL,
            stream_created timestamptz NOT NULL,
            position bigint NOT NULL,
            tables text[] NOT NULL,
            build bigint GENERATED ALWAYS AS IDENTITY,
            started_at timestamptz NOT NULL DEFAULT now(),
            error text,
            last_event text NOT NULL DEFAULT '',
            last_stored timestamptz,
            timed bigint NOT NULL DEFAULT 0,
            stopped_at bigint
        ) WITH (fillfactor = 10)
    """,
    "parked": """
        CREATE TABLE configtrail.parked (
            projection text NOT NULL,
            position bigint NOT NULL,
            tenant_id text COLLATE "C" NOT NULL,
            device_id text COLLATE "C" NOT NULL,
            event_id text NOT NULL,
            type_name text NOT NULL,
            error text,
            attempts integer NOT NULL DEFAULT 1,
            parked_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (projection, tenant_id, device_id, position)
        )
    """,
    "stops": """
        CREATE TABLE configtrail.stops (
            projection text NOT NULL PRIMARY KEY,
            position bigint NOT NULL,
            reason text NOT NULL
        )
    """,
}

# IF NOT EXISTS would not do: it asks the session's cache of the catalogue, which getting the
# advisory lock does not refresh. These ask the catalogue itself.
_SCHEMA_EXISTS = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)"
_OLD_FORM = """
    SELECT EXISTS (
        SELECT FROM pg_tables WHERE schemaname = 'configtrail' AND tablename = 'checkpoints'
    ) AND NOT EXISTS (
        SELECT FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = 'configtrail' AND relname = 'checkpoints' AND attname = 'tables'
    )
"""
# Of those, what ledgers of older programs don't have.
_LAST = {
    "last_event": "text NOT NULL DEFAULT ''",
    "last_stored": "timestamptz",
    "timed": "bigint NOT NULL DEFAULT 0",
}
_ADDED = {"checkpoints": _LAST, "rebuilds": {**_LAST, "stopped_at": "bigint"}}
_HAS_COLUMNS = """
    SELECT attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = 'configtrail' AND relname = $1 AND attnum > 0
"""
_EXISTING = "SELECT tablename FROM pg_tables WHERE schemaname = $1 AND tablename = ANY($2)"


async def lock_schemas(connection: Connection) -> None:
    """Keep others from making tables until the transaction ends, and make the engine's own."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _SCHEMA_LOCK)
    if await connection.fetchval(_OLD_FORM):
        # Of a program before rebuilds: everything in the schema can be built again.
        await connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
    for schema in (SCHEMA, BUILD_SCHEMA):
        if not await connection.fetchval(_SCHEMA_EXISTS, schema):
            await connection.execute(f"CREATE SCHEMA {schema}")
    there = await existing(connection, SCHEMA, tuple(_OWN_TABLES))
    for name, ddl in _OWN_TABLES.items():
        if name not in there:
            await connection.execute(ddl)
    for name, added in _ADDED.items():
        columns = {column for (column,) in await connection.fetch(_HAS_COLUMNS, name)}
        for column, kind in added.items():
            if column not in columns:
                await connection.execute(
                    f"ALTER TABLE configtrail.{name} ADD COLUMN {column} {kind}"
                )
    await ensure_reader(connection)
    await fence(connection)


async def ensure_schemas(pool: Pool, questions: Sequence[Question] = ()) -> None:
    """Make the engine's own schemas and tables, and what answers the questions, waiting as long as
    Postgres is away: a server that goes while a program starts is no reason for it to end."""
    patience = Patience("schemas", pool)
    while True:
        try:
            async with pool.acquire() as connection, connection.transaction():
                await lock_schemas(connection)
                await make_askable(connection, questions)
        except Exception as error:
            if not patience.bears(error):
                raise
            await patience.wait_out(error)
        else:
            return


async def existing(reader: Reader, schema: str, tables: Sequence[str]) -> set[str]:
    """Those of the tables that are there."""
    return {name for (name,) in await reader.fetch(_EXISTING, schema, list(tables))}


async def complete(reader: Reader, tables: Sequence[str], place: Place) -> bool:
    """Whether all of the tables are there."""
    return len(await existing(reader, place.schema, tables)) == len(tables)


async def make_tables(
    connection: Connection, projection: Projection[Any], place: Place, older: Iterable[str]
) -> None:
    """The projection's tables anew and empty, inside the caller's transaction. `older` are the
    tables of the version before, which go."""
    await drop_tables(connection, {*older, *projection.tables}, place)
    await write_to(connection, place)
    await connection.execute(projection.ddl)
    await fence(connection)


async def drop_tables(connection: Connection, tables: Iterable[str], place: Place) -> None:
    """Remove the tables, inside the caller's transaction."""
    for table in sorted(tables):
        await connection.execute(f'DROP TABLE IF EXISTS {place.schema}."{table}"')


async def write_to(connection: Connection, place: Place) -> None:
    """From here to its end the transaction means the tables of this place."""
    await connection.execute(f"SET LOCAL search_path = {place.schema}")
