"""Whether a checkpoint belongs to the stream as it is now, and not to another one or another past.

A stream that was recreated has another creation time. One that was put back to an older copy has
the same one: it ends before the checkpoint, or, once it has grown, has another event there.
"""

from __future__ import annotations

import asyncpg

from domain.envelope import StreamIdentity
from domain.errors import StreamMismatch
from projections.checkpoints import Checkpoint, checkpoints, of_another_stream, way_out
from projections.rows import Reader, storable
from projections.schema import LIVE, Place
from projections.source import EventSource

# Before any program made them, or made them as they are now.
_NOT_THERE = (
    asyncpg.UndefinedTableError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedColumnError,
)


async def check_belongs(
    reader: Reader,
    source: EventSource,
    found: Checkpoint,
    identity: StreamIdentity,
    place: Place = LIVE,
) -> None:
    """Raises `StreamMismatch` when the checkpoint, which was read before, is of another stream,
    ahead of this one, or at an event that this one has not."""
    last = await _last_events(reader, place)
    # The head is asked for after the checkpoint is known: others move both meanwhile.
    wrong = await _wrong(source, found, identity, await source.head(), last.get(found.projection))
    if wrong is not None:
        raise StreamMismatch(f"projection {found.projection}", wrong)


async def strays(reader: Reader, source: EventSource) -> dict[str, StreamMismatch]:
    """The live checkpoints that don't belong to the stream, by projection, with what is wrong."""
    try:
        kept = await checkpoints(reader)
    except _NOT_THERE:
        return {}
    last = await _last_events(reader, LIVE)
    identity, head = await source.identity(), await source.head()
    found = {}
    for name, one in kept.items():
        wrong = await _wrong(source, one, identity, head, last.get(name))
        if wrong is not None:
            found[name] = StreamMismatch(f"projection {name}", wrong)
    return found


async def check_live(reader: Reader, source: EventSource, projection: str) -> None:
    """Raises `StreamMismatch` when the projection's live rows are not of this stream."""
    stray = (await strays(reader, source)).get(projection)
    if stray is not None:
        raise stray


async def _last_events(reader: Reader, place: Place) -> dict[str, tuple[int, str]]:
    """Where checkpoints stand, and the id of the event there, as far as it is known."""
    try:
        records = await reader.fetch(
            f"SELECT projection, position, last_event FROM {place.ledger}"
            " WHERE position > 0 AND last_event <> ''"
        )
    except _NOT_THERE:
        return {}
    return {one["projection"]: (one["position"], one["last_event"]) for one in records}


async def _wrong(
    source: EventSource,
    found: Checkpoint,
    identity: StreamIdentity,
    head: int,
    last: tuple[int, str] | None,
) -> str | None:
    other = of_another_stream(found, identity)
    if other is not None:
        return other
    todo = way_out(found.projection)
    if found.position > head:
        return (
            f"its checkpoint {found.position} is ahead of the stream {identity.name}, which "
            f"ends at {head}: events that it has seen are missing; {todo}"
        )
    if last is not None and last[0] <= head:
        position, event_id = last
        if storable((await source.at(position)).event_id) != event_id:
            return (
                f"the event at its checkpoint {position} is not the one that {identity.name} has "
                "there: the stream was put back to an older copy and has grown since; "
                f"{todo}"
            )
    return None
