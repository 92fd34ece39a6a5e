"""Rebuilds: a projection's tables made anew beside the live ones, which then give way.

The row in `rebuilds` is the rebuild: it says how far the new tables are, and whoever builds them
compares and sets it as a live checkpoint. Without the row there is no rebuild, and nothing of the
live tables was touched. Invariant: readers never go back in time, for the tables change places only
when the new ones are at least as far, in one transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from domain.envelope import StreamIdentity
from domain.errors import NewerProjection
from projections.checkpoints import Checkpoint, load
from projections.projection import Projection
from projections.rows import BUILD_SCHEMA, SCHEMA, Connection, Pool, Reader, struct, structs
from projections.schema import BUILD, LIVE, complete, drop_tables, lock_schemas, make_tables

_COLUMNS = """
    projection, version, stream, stream_created, position, tables, build, started_at, error
"""
_LOAD = f"SELECT {_COLUMNS} FROM configtrail.rebuilds WHERE projection = $1"
_LOAD_ALL = f"SELECT {_COLUMNS} FROM configtrail.rebuilds ORDER BY projection"

# The ledger of an older program has no such column: a row as JSON has those that there are.
_STOPPED_FOR = """
    SELECT EXISTS (
        SELECT FROM configtrail.rebuilds AS r
        WHERE projection = $1 AND error IS NOT NULL
          AND (to_jsonb(r)->>'stopped_at')::bigint = $2
    )
"""

_BEGIN = f"""
    INSERT INTO configtrail.rebuilds
        (projection, version, stream, stream_created, position, tables)
    VALUES ($1, $2, $3, $4, 0, $5)
    ON CONFLICT (projection) DO UPDATE
    SET version = excluded.version, stream = excluded.stream, tables = excluded.tables,
        stream_created = excluded.stream_created, position = 0, last_event = '', last_stored = NULL,
        build = DEFAULT, started_at = now(), error = NULL, stopped_at = NULL
    RETURNING {_COLUMNS}
"""

_TAKE_PLACE = """
    INSERT INTO configtrail.checkpoints
        (projection, version, stream, stream_created, position, tables, build, last_event,
         last_stored, timed)
    SELECT projection, version, stream, stream_created, position, tables, build, last_event,
           last_stored, timed
    FROM configtrail.rebuilds WHERE projection = $1
    ON CONFLICT (projection) DO UPDATE
    SET version = excluded.version, stream = excluded.stream, tables = excluded.tables,
        stream_created = excluded.stream_created, position = excluded.position,
        build = excluded.build, last_event = excluded.last_event,
        last_stored = excluded.last_stored, timed = excluded.timed
"""

# Readers queue behind the one who waits for the tables' locks: they shall not notice.
_IMPATIENT = "SET LOCAL lock_timeout = '300ms'"


class Rebuild(Struct, frozen=True, kw_only=True):
    """A rebuild under way, or one that stopped with an `error`. `build` is its number."""

    projection: str
    version: int
    stream: str
    stream_created: datetime
    position: int
    tables: tuple[str, ...]
    build: int
    started_at: datetime
    error: str | None


class TakenUp(Struct, frozen=True):
    """A rebuild, and whether it was under way before."""

    rebuild: Rebuild
    under_way: bool


async def begin(pool: Pool, projection: Projection[Any], identity: StreamIdentity) -> Rebuild:
    """The rebuild of the projection: the one under way, freed of its error, or a new one.

    One of an older version, or of another stream, is begun anew. Raises `NewerProjection`.
    """
    return (await take_up(pool, projection, identity)).rebuild


async def take_up(pool: Pool, projection: Projection[Any], identity: StreamIdentity) -> TakenUp:
    """As `begin`; it says whether the rebuild was under way before."""
    async with pool.acquire() as connection, connection.transaction():
        await lock_schemas(connection)
        live = await load(connection, projection, LIVE)
        if live is not None and live.version > projection.version:
            raise NewerProjection(projection.name, live.version, projection.version)
        found = struct(Rebuild, await connection.fetchrow(f"{_LOAD} FOR UPDATE", projection.name))
        if found is not None:
            if found.version > projection.version:
                raise NewerProjection(
                    projection.name, found.version, projection.version, rebuild=True
                )
            same = (projection.version, identity.name, identity.created)
            if (found.version, found.stream, found.stream_created) == same and await complete(
                connection, projection.tables, BUILD
            ):
                await connection.execute(
                    "UPDATE configtrail.rebuilds SET error = NULL, stopped_at = NULL"
                    " WHERE projection = $1",
                    projection.name,
                )
                return TakenUp(replace(found, error=None), True)
        await make_tables(connection, projection, BUILD, found.tables if found else ())
        begun = struct(
            Rebuild,
            await connection.fetchrow(
                _BEGIN,
                projection.name,
                projection.version,
                identity.name,
                identity.created,
                list(projection.tables),
            ),
        )
        assert begun is not None
        return TakenUp(begun, False)


async def cancel(pool: Pool, projection: Projection[Any], build: int | None = None) -> bool:
    """End the rebuild and remove its tables; whether there was one. `build`: only that one."""
    async with pool.acquire() as connection, connection.transaction():
        await lock_schemas(connection)
        tables = await connection.fetchval(
            "DELETE FROM configtrail.rebuilds WHERE projection = $1"
            " AND ($2::bigint IS NULL OR build = $2) RETURNING tables",
            projection.name,
            build,
        )
        if tables is None:
            return False
        await drop_tables(connection, tables, BUILD)
        return True


async def find(reader: Reader, projection: Projection[Any]) -> Rebuild | None:
    """The rebuild of the projection, if there is one."""
    return struct(Rebuild, await reader.fetchrow(_LOAD, projection.name))


async def under_way(reader: Reader) -> list[Rebuild]:
    """All rebuilds that have not ended, stopped ones included."""
    return structs(Rebuild, await reader.fetch(_LOAD_ALL))


async def fail(pool: Pool, projection: Projection[Any], position: int, error: str) -> None:
    """Say why the rebuild stopped at an event: nobody goes on with it until it is begun again."""
    await pool.execute(
        "UPDATE configtrail.rebuilds SET error = $2, stopped_at = $4"
        " WHERE projection = $1 AND version = $3",
        projection.name,
        error,
        projection.version,
        position,
    )


async def stopped_for(reader: Reader, projection: Projection[Any], position: int) -> bool:
    """Whether the rebuild of the projection stopped for the event at that position."""
    found: bool = await reader.fetchval(_STOPPED_FOR, projection.name, position)
    return found


async def take_place(
    connection: Connection, projection: Projection[Any], live: Checkpoint | None
) -> None:
    """Put the new tables in the place of the live ones, inside the caller's transaction, which
    holds the live checkpoint's lock. Raises `asyncpg.LockNotAvailableError` when a reader is in
    the way."""
    await connection.execute(_IMPATIENT)
    older = live.tables if live else ()
    await drop_tables(connection, {*older, *projection.tables}, LIVE)
    for table in projection.tables:
        await connection.execute(f'ALTER TABLE {BUILD_SCHEMA}."{table}" SET SCHEMA {SCHEMA}')
    await connection.execute(_TAKE_PLACE, projection.name)
    for own in ("rebuilds", "parked", "stops"):
        await connection.execute(
            f"DELETE FROM configtrail.{own} WHERE projection = $1", projection.name
        )
