"""Checkpoints: how far each projection has come, and in which stream.

Invariant: a checkpoint changes only in the transaction that changes the projection's rows, and only
from the position that its writer read before (compare and set). So the rows are always exactly the
fold of the events up to it, whatever crashes and whoever else writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from domain.envelope import StreamIdentity
from domain.errors import NewerProjection, StreamMismatch, Unavailable
from projections.projection import Projection
from projections.rows import Connection, Pool, Reader, storable, struct, structs
from projections.schema import LIVE, Place, complete, lock_schemas, make_tables
from projections.source import Delivered

_COLUMNS = "projection, version, stream, stream_created, position, tables, build"
_LOAD_ALL = f"SELECT {_COLUMNS} FROM configtrail.checkpoints ORDER BY projection"

_RESET = f"""
    INSERT INTO configtrail.checkpoints
        (projection, version, stream, stream_created, position, tables, build)
    VALUES ($1, $2, $3, $4, 0, $5, 0)
    ON CONFLICT (projection) DO UPDATE
    SET version = excluded.version, stream = excluded.stream, tables = excluded.tables,
        stream_created = excluded.stream_created, position = 0, last_event = '', last_stored = NULL,
        build = 0
    RETURNING {_COLUMNS}
"""

# Seen as it was before the row lock was waited for, which is enough: whoever parks an event of a
# projection without any moves its checkpoint too.
_PARKED = "EXISTS (SELECT FROM configtrail.parked WHERE projection = $1)"


class Checkpoint(Struct, frozen=True, kw_only=True):
    """Where a projection stands: all events up to `position` of the stream are in its rows.

    `build` is the number of the rebuild that made its `tables`, 0 if none did.
    """

    projection: str
    version: int
    stream: str
    stream_created: datetime
    position: int
    tables: tuple[str, ...]
    build: int


class Moved(Struct, frozen=True):
    """A checkpoint was moved; `parked`: there are parked events that later ones may have to wait
    for."""

    parked: bool


async def ensure(pool: Pool, projection: Projection[Any], identity: StreamIdentity) -> Checkpoint:
    """The projection's live checkpoint, with its tables there; any number of processes may ask.

    Incomplete tables and ones without a checkpoint are made anew, from position 0. Complete ones of
    an older version stay as they are: a rebuild takes their place. Raises `StreamMismatch` and
    `NewerProjection`, and then changes nothing.
    """
    async with pool.acquire() as connection, connection.transaction():
        await lock_schemas(connection)
        # The row lock waits for a writer in mid-batch and keeps others out until this commits.
        found = await load(connection, projection, LIVE, lock=True)
        if found is not None:
            check(found, projection, identity)
            same = found.version == projection.version
            if await complete(connection, projection.tables if same else found.tables, LIVE):
                return found
        await make_tables(connection, projection, LIVE, found.tables if found else ())
        for own in ("parked", "stops"):
            await connection.execute(
                f"DELETE FROM configtrail.{own} WHERE projection = $1", projection.name
            )
        begun = struct(
            Checkpoint,
            await connection.fetchrow(
                _RESET,
                projection.name,
                projection.version,
                identity.name,
                identity.created,
                list(projection.tables),
            ),
        )
        assert begun is not None
        return begun


async def load(
    reader: Reader, projection: Projection[Any], place: Place, *, lock: bool = False
) -> Checkpoint | None:
    """The checkpoint as it is written there; `lock`: until the transaction ends, for it alone."""
    query = f"SELECT {_COLUMNS} FROM {place.ledger} WHERE projection = $1"
    record = await reader.fetchrow(query + " FOR UPDATE" * lock, projection.name)
    return struct(Checkpoint, record)


async def current(
    reader: Reader, projection: Projection[Any], identity: StreamIdentity, place: Place
) -> Checkpoint | None:
    """The checkpoint as it stands; None when it, or a table, is gone or of an older version.

    Raises as `ensure`.
    """
    found = await load(reader, projection, place)
    if found is None:
        return None
    check(found, projection, identity)
    if found.version != projection.version or not await complete(reader, projection.tables, place):
        return None
    return found


async def advance(
    connection: Connection,
    projection: Projection[Any],
    identity: StreamIdentity,
    place: Place,
    *,
    old: int,
    last: Delivered,
) -> Moved | None:
    """Move the checkpoint to the event `last`, inside the caller's transaction, if it still stands
    at `old`; None when it does not.

    Comes first in the transaction: its row lock makes a second writer wait, and then fail here.
    """
    record = await connection.fetchrow(
        f"UPDATE {place.ledger} SET position = $6, last_event = $7, last_stored = $8, timed = $6"
        " WHERE projection = $1 AND version = $2"
        " AND stream = $3 AND stream_created = $4 AND position = $5"
        f" RETURNING {'false' if place != LIVE else _PARKED} AS parked",
        projection.name,
        projection.version,
        identity.name,
        identity.created,
        old,
        last.position,
        storable(last.event_id),
        last.stored_at,
    )
    return struct(Moved, record)


def check(found: Checkpoint, projection: Projection[Any], identity: StreamIdentity) -> None:
    """Raises `StreamMismatch` when the checkpoint is another stream's, `NewerProjection` when a
    newer version of the program wrote it."""
    wrong = of_another_stream(found, identity)
    if wrong is not None:
        raise StreamMismatch(f"projection {projection.name}", wrong)
    if found.version > projection.version:
        raise NewerProjection(projection.name, found.version, projection.version)


def of_another_stream(found: Checkpoint, identity: StreamIdentity) -> str | None:
    """What is wrong when the checkpoint is another stream's."""
    if (found.stream, found.stream_created) == (identity.name, identity.created):
        return None
    return (
        f"its checkpoint belongs to the stream {found.stream} created at "
        f"{found.stream_created.isoformat()}, and this is {identity.name} created at "
        f"{identity.created.isoformat()}; {way_out(found.projection)}"
    )


def way_out(projection: str) -> str:
    """What to do about rows that are not of this stream, or of another past of it."""
    return (
        "restore the stream as it was, or, if this is the one that counts, run "
        f"configtrail projections rebuild {projection}"
    )


async def checkpoints(reader: Reader) -> dict[str, Checkpoint]:
    """Every projection's checkpoint, by name."""
    return {found.projection: found for found in structs(Checkpoint, await reader.fetch(_LOAD_ALL))}


async def lag(reader: Reader, head: int) -> dict[str, int]:
    """How many events each projection is behind `head`, the stream's last position."""
    return {
        name: max(0, head - found.position) for name, found in (await checkpoints(reader)).items()
    }


async def projected(reader: Reader, projections: Sequence[Projection[Any]]) -> int:
    """Up to which position all of the projections hold the events, whichever process runs them."""
    found = await checkpoints(reader)
    return max(0, min((_reached(found, one) for one in projections), default=0))


async def wait_projected(
    reader: Reader,
    projections: Sequence[Projection[Any]],
    position: int,
    timeout: float,
    *,
    interval: float = 0.02,
) -> None:
    """Return when the projections hold all events up to `position`, whichever process runs them.

    Rows of an older version than the projection's don't count. Raises `Unavailable` when one still
    does not hold them after `timeout` seconds.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while True:
        found = await checkpoints(reader)
        behind = [one for one in projections if _reached(found, one) < position]
        if not behind:
            return
        if loop.time() >= deadline:
            raise Unavailable(
                f"projection {behind[0].name}",
                f"it stands at {max(0, _reached(found, behind[0]))}, and {position} is awaited",
            )
        await asyncio.sleep(interval)
        interval = min(interval * 1.5, 0.25)


def _reached(found: dict[str, Checkpoint], projection: Projection[Any]) -> int:
    checkpoint = found.get(projection.name)
    if checkpoint is None or checkpoint.version < projection.version:
        return -1
    return checkpoint.position
