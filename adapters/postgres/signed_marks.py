"""What was signed last of every log, kept beside the streams: no read model, nothing rebuilds it.

NATS can be put back to an older copy with its checkpoints, and then says nothing of what is lost.
These notes do. They only ever grow, until somebody says for good, with a reason, that what they
tell of is lost; then they are kept as given up.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg
from msgspec import Struct

from projections.rows import Pool, Reader

SCHEMA = "configtrail_signed"
_LOCK = 0x636F_6E66_7369_676E

_DDL = f"""
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE IF NOT EXISTS {SCHEMA}.marks (
    origin text COLLATE "C" NOT NULL PRIMARY KEY,
    size bigint NOT NULL,
    position bigint NOT NULL,
    note text NOT NULL
);
CREATE TABLE IF NOT EXISTS {SCHEMA}.given_up (
    origin text COLLATE "C" NOT NULL,
    size bigint NOT NULL,
    note text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    reason text NOT NULL
);
-- See `adapters.postgres.witness_book`.
CREATE TABLE IF NOT EXISTS {SCHEMA}.witnesses (
    witness text COLLATE "C" NOT NULL,
    origin text COLLATE "C" NOT NULL,
    outcome text NOT NULL,
    told text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (witness, origin)
);
"""
# Before a sealer of this version ran.
_NOT_THERE = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)


class Mark(Struct, frozen=True):
    """A log's last checkpoint that was published: its size, the note, and up to which position of
    the stream its log was read for it."""

    origin: str
    size: int
    position: int
    note: str


class GivenUp(Struct, frozen=True):
    """A checkpoint that was signed, and that somebody said to be lost."""

    origin: str
    size: int
    note: str
    at: datetime
    actor: str
    reason: str


class SignedMarks:
    """The tables. `ensure` makes them; whoever only reads finds nothing where they are not."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ensure(self) -> None:
        """Make the tables, unless they are there."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            await connection.execute(_DDL)

    async def all_of(self, base: str) -> dict[str, Mark]:
        """The marks of a deployment's logs, by origin."""
        return await marks_of(self._pool, base)

    async def keep(self, marks: Sequence[Mark]) -> None:
        """Keep what was published. A smaller size never takes the place of a larger one, and at the
        same size only the same checkpoint does, as another key has signed it since."""
        columns = [list(column) for column in zip(*map(_values, marks), strict=True)]
        if columns:
            await self._pool.execute(
                f"INSERT INTO {SCHEMA}.marks AS kept (origin, size, position, note)"
                " SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[])"
                " ON CONFLICT (origin) DO UPDATE SET size = excluded.size,"
                " position = excluded.position, note = excluded.note"
                " WHERE kept.size < excluded.size OR (kept.size = excluded.size"
                " AND kept.note <> excluded.note"
                " AND split_part(kept.note, E'\\n\\n', 1)"
                " = split_part(excluded.note, E'\\n\\n', 1))",
                *columns,
            )

    async def give_up(self, base: str, *, actor: str, reason: str) -> list[GivenUp]:
        """Say that what the marks of a deployment tell of is lost. They stay, as given up."""
        try:
            rows = await self._pool.fetch(
                f"WITH gone AS (DELETE FROM {SCHEMA}.marks WHERE starts_with(origin, $1)"
                " RETURNING origin, size, note)"
                f" INSERT INTO {SCHEMA}.given_up (origin, size, note, actor, reason)"
                " SELECT origin, size, note, $2, $3 FROM gone RETURNING *",
                f"{base}/",
                actor,
                reason,
            )
        except _NOT_THERE:
            return []
        return [GivenUp(**dict(row)) for row in rows]

    async def given_up(self, base: str) -> list[GivenUp]:
        """What was given up in this deployment, in the order in which that was said."""
        try:
            rows = await self._pool.fetch(
                f"SELECT * FROM {SCHEMA}.given_up WHERE starts_with(origin, $1)"
                " ORDER BY at, origin",
                f"{base}/",
            )
        except _NOT_THERE:
            return []
        return [GivenUp(**dict(row)) for row in rows]


async def marks_of(reader: Reader, base: str) -> dict[str, Mark]:
    """See `SignedMarks.all_of`."""
    try:
        rows = await reader.fetch(
            f"SELECT origin, size, position, note FROM {SCHEMA}.marks"
            " WHERE starts_with(origin, $1)",
            f"{base}/",
        )
    except _NOT_THERE:
        return {}
    return {row["origin"]: Mark(**dict(row)) for row in rows}


def _values(mark: Mark) -> tuple[str, int, int, str]:
    return mark.origin, mark.size, mark.position, mark.note
