"""Whether a checkpoint belongs to the stream as it is now, and not to another one or another past.

A stream that was recreated has another creation time. One that was put back to an older copy has
the same one: it ends before the checkpoint, or, once it has grown, has another event there.
"""

from __future__ import annotations

from datetime import datetime

import asyncpg
from msgspec import Struct

from domain.envelope import StreamIdentity
from domain.errors import StreamMismatch
from projections.checkpoints import Checkpoint, checkpoints, of_another_stream, way_out
from projections.rows import Reader, storable, structs
from projections.schema import LIVE, Place
from projections.source import Delivered, EventSource

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


# Ledgers of older programs lack some of these columns: a row as JSON has those that there are.
_LAST_EVENTS = """
    SELECT projection, position, kept->>'last_event' AS event_id,
           CASE WHEN (kept->>'timed')::bigint = position
                THEN (kept->>'last_stored')::timestamptz END AS stored_at
    FROM (SELECT projection, position, to_jsonb(own) AS kept FROM {ledger} AS own) AS rows
    WHERE position > 0 AND kept->>'last_event' <> ''
"""


class _Last(Struct, frozen=True):
    """Which event is at a checkpoint. `stored_at` None: whoever moved it did not tell."""

    projection: str
    position: int
    event_id: str
    stored_at: datetime | None

    def is_there(self, event: Delivered) -> bool:
        """Whether it is that one. What is recorded anew has the same id, and another time."""
        same = storable(event.event_id) == self.event_id
        return same and self.stored_at in (None, event.stored_at)


async def _last_events(reader: Reader, place: Place) -> dict[str, _Last]:
    """The events at the checkpoints, as far as they are known."""
    try:
        records = await reader.fetch(_LAST_EVENTS.format(ledger=place.ledger))
    except _NOT_THERE:
        return {}
    return {one.projection: one for one in structs(_Last, records)}


async def _wrong(
    source: EventSource,
    found: Checkpoint,
    identity: StreamIdentity,
    head: int,
    last: _Last | None,
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
    if (
        last is not None
        and last.position <= head
        and not last.is_there(await source.at(last.position))
    ):
        return (
            f"the event at its checkpoint {last.position} is not the one that {identity.name} has "
            f"there: the stream was put back to an older copy and has grown since; {todo}"
        )
    return None
