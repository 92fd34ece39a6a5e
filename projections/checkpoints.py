"""Checkpoints: how far each projection has come, and in which stream.

Invariant: a checkpoint changes only in the transaction that changes the projection's rows, and only
from the position that its writer read before (compare and set). So the rows are always exactly the
fold of the events up to it, whatever crashes and whoever else writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from domain.envelope import StreamIdentity
from domain.errors import NewerProjection, StreamMismatch, Unavailable
from projections.rows import SCHEMA, Connection, Pool, Reader, struct, structs

if TYPE_CHECKING:
    from projections.writer import Projection

# Any constant does, as long as every version of the program has the same.
_SCHEMA_LOCK = 0x636F_6E66_7472_6C31

_DDL = """
CREATE TABLE configtrail.checkpoints (
    projection text NOT NULL PRIMARY KEY,
    version integer NOT NULL,
    stream text NOT NULL,
    stream_created timestamptz NOT NULL,
    position bigint NOT NULL
) WITH (fillfactor = 10);
"""

_COLUMNS = "projection, version, stream, stream_created, position"
_LOAD = f"SELECT {_COLUMNS} FROM configtrail.checkpoints WHERE projection = $1"
_LOAD_ALL = f"SELECT {_COLUMNS} FROM configtrail.checkpoints ORDER BY projection"

_RESET = f"""
    INSERT INTO configtrail.checkpoints ({_COLUMNS}) VALUES ($1, $2, $3, $4, 0)
    ON CONFLICT (projection) DO UPDATE
    SET version = excluded.version, stream = excluded.stream,
        stream_created = excluded.stream_created, position = 0
"""

_ADVANCE = """
    UPDATE configtrail.checkpoints SET position = $6
    WHERE projection = $1 AND version = $2 AND stream = $3 AND stream_created = $4
      AND position = $5
"""

# IF NOT EXISTS would not do: it asks the session's cache of the catalogue, which getting the
# advisory lock does not refresh. These ask the catalogue itself.
_SCHEMA_EXISTS = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)"
_EXISTING = "SELECT count(*) FROM pg_tables WHERE schemaname = $1 AND tablename = ANY($2)"


class Checkpoint(Struct, frozen=True, kw_only=True):
    """Where a projection stands: all events up to `position` of the stream are in its rows."""

    projection: str
    version: int
    stream: str
    stream_created: datetime
    position: int


async def ensure(pool: Pool, projection: Projection[Any], identity: StreamIdentity) -> Checkpoint:
    """The projection's checkpoint, with its tables there; any number of processes may ask at once.

    Tables of an older version, incomplete ones and ones without a checkpoint are made anew, from
    position 0. Raises `StreamMismatch` and `NewerProjection`, and then changes nothing.
    """
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _SCHEMA_LOCK)
        if not await connection.fetchval(_SCHEMA_EXISTS, SCHEMA):
            await connection.execute(f"CREATE SCHEMA {SCHEMA}")
        if await connection.fetchval(_EXISTING, SCHEMA, ["checkpoints"]) == 0:
            await connection.execute(_DDL)
        # The row lock waits for a writer in mid-batch and keeps others out until this commits.
        found = struct(
            Checkpoint, await connection.fetchrow(f"{_LOAD} FOR UPDATE", projection.name)
        )
        if found is not None:
            check(found, projection, identity)
            if found.version == projection.version and await _complete(connection, projection):
                return found
        for table in projection.tables:
            await connection.execute(f'DROP TABLE IF EXISTS {SCHEMA}."{table}"')
        await connection.execute(projection.ddl)
        await connection.execute(
            _RESET, projection.name, projection.version, identity.name, identity.created
        )
        return _at(projection, identity, 0)


async def current(
    reader: Reader, projection: Projection[Any], identity: StreamIdentity
) -> Checkpoint | None:
    """The checkpoint as it stands; None when it, or a table, is gone or of an older version.

    Raises as `ensure`.
    """
    found = struct(Checkpoint, await reader.fetchrow(_LOAD, projection.name))
    if found is None:
        return None
    check(found, projection, identity)
    if found.version != projection.version or not await _complete(reader, projection):
        return None
    return found


async def advance(
    connection: Connection,
    projection: Projection[Any],
    identity: StreamIdentity,
    *,
    old: int,
    new: int,
) -> bool:
    """Move the checkpoint, inside the caller's transaction, if it still stands at `old`.

    Comes first in the transaction: its row lock makes a second writer wait, and then fail here.
    """
    status: str = await connection.execute(
        _ADVANCE, projection.name, projection.version, identity.name, identity.created, old, new
    )
    return status == "UPDATE 1"


def check(found: Checkpoint, projection: Projection[Any], identity: StreamIdentity) -> None:
    """Raises `StreamMismatch` when the checkpoint is another stream's, `NewerProjection` when a
    newer version of the program wrote it."""
    if (found.stream, found.stream_created) != (identity.name, identity.created):
        raise StreamMismatch(
            f"projection {projection.name}",
            f"its checkpoint belongs to the stream {found.stream} created at "
            f"{found.stream_created.isoformat()}, and this is {identity.name} created at "
            f"{identity.created.isoformat()}; restore that stream, or drop the schema {SCHEMA} "
            "to build the read models from this one",
        )
    if found.version > projection.version:
        raise NewerProjection(projection.name, found.version, projection.version)


async def checkpoints(reader: Reader) -> dict[str, Checkpoint]:
    """Every projection's checkpoint, by name."""
    return {found.projection: found for found in structs(Checkpoint, await reader.fetch(_LOAD_ALL))}


async def lag(reader: Reader, head: int) -> dict[str, int]:
    """How many events each projection is behind `head`, the stream's last position."""
    return {
        name: max(0, head - found.position) for name, found in (await checkpoints(reader)).items()
    }


async def wait_projected(
    reader: Reader,
    names: Sequence[str],
    position: int,
    timeout: float,
    *,
    interval: float = 0.02,
) -> None:
    """Return when the projections hold all events up to `position`, whichever process runs them.

    Raises `Unavailable` when one still does not after `timeout` seconds.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while True:
        found = await checkpoints(reader)
        behind = [name for name in names if name not in found or found[name].position < position]
        if not behind:
            return
        if loop.time() >= deadline:
            name = behind[0]
            reached = found[name].position if name in found else 0
            raise Unavailable(
                f"projection {name}", f"it stands at {reached}, and {position} is awaited"
            )
        await asyncio.sleep(interval)
        interval = min(interval * 1.5, 0.25)


async def _complete(reader: Reader, projection: Projection[Any]) -> bool:
    count: int = await reader.fetchval(_EXISTING, SCHEMA, list(projection.tables))
    return count == len(projection.tables)


def _at(projection: Projection[Any], identity: StreamIdentity, position: int) -> Checkpoint:
    return Checkpoint(
        projection=projection.name,
        version=projection.version,
        stream=identity.name,
        stream_created=identity.created,
        position=position,
    )
