"""Letting a read model go on without an event: a fact in the log, and what follows from it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from adapters.collecting.checks import check_reason
from domain.decisions import event_skipped
from domain.errors import (
    AppendConflict,
    MalformedEvent,
    NotFound,
    StreamGap,
    StreamMismatch,
    Unavailable,
    UnknownEventType,
)
from projections import checkpoints, parking, rebuilds
from projections.belonging import check_belongs, check_live
from projections.parking import Parked
from projections.projection import Projection
from projections.retrying import retry
from projections.schema import BUILD

if TYPE_CHECKING:
    from adapters.composition import System

# How often an event is tried to be recorded that others' events come before.
TRIES = 20


async def parked_at(system: System, projection: Projection[Any], position: int) -> Parked:
    """The parked event at a position; `NotFound` when none is parked there for its own sake, and
    `StreamMismatch` when the projection's rows are not of this stream."""
    await check_live(system.pool, system.source, projection.name)
    found = await parking.find(system.pool, projection.name, position)
    if found is not None and found.error is None:
        # What a retry that was cut off left over is the first of its device without an error.
        device = (found.tenant_id, found.device_id)
        first = await parking.chain(system.pool, projection.name, device, 1)
        found = found if position in first else None
    if found is None:
        raise NotFound("parked event", f"{projection.name} {position}")
    return found


class Skipped(Struct, frozen=True):
    """What a skip did: so many events of the device came in or were skipped, so many stay parked.
    `rebuild`: one that had stopped for the event goes on."""

    done: int
    left: int
    rebuild: bool


async def skip(
    system: System,
    projection: Projection[Any],
    position: int,
    *,
    actor: str,
    reason: str | None,
) -> Skipped:
    """Record that the projection goes on without a parked event, and bring in what waited for it.
    A rebuild that stopped for it goes on too, whatever the live rows are of.

    Doing it again, after having been cut off, is the same as doing it once. Raises `Unavailable`
    when others always come first, or hold the rows, `InvalidInput` for a reason that can't be told,
    and as `parked_at`.
    """
    check_reason(reason)
    stopped = await _stopped_for(system, projection, position)
    parked: Parked | None = None
    try:
        parked = await parked_at(system, projection, position)
    except (NotFound, StreamMismatch):
        if not stopped:
            raise
    skipped = await system.source.at(position)
    branch = parking.skip_branch(skipped)
    event = event_skipped(
        *branch,
        projection=projection.name,
        position=position,
        skipped_event_id=parking.fit(skipped.event_id),
        actor=actor,
        reason=reason,
        occurred_at=datetime.now(UTC),
    )
    for _ in range(TRIES):
        if await system.source.skipped(projection.name, skipped):
            if stopped:
                await rebuilds.begin(system.pool, projection, await system.source.identity())
            return await _go_on(system, projection, parked, rebuild=stopped)
        # The device's state would need all its events, and this one may be what can't be read.
        try:
            await system.events.append(event, await system.source.branch_head(*branch))
        except (AppendConflict, MalformedEvent, UnknownEventType, StreamGap):
            continue  # something came first, readable or not
    raise Unavailable(
        f"the history of device {branch[1]}",
        f"the skip was tried {TRIES} times, and others always wrote first; try again",
    )


async def _stopped_for(system: System, projection: Projection[Any], position: int) -> bool:
    """Whether a rebuild from this stream stopped for the event at that position."""
    pool, source = system.pool, system.source
    if not await rebuilds.stopped_for(pool, projection, position):
        return False
    found = await checkpoints.load(pool, projection, BUILD)
    if found is None:
        return False
    try:
        await check_belongs(pool, source, found, await source.identity(), BUILD)
    except StreamMismatch:
        return False
    return True


async def _go_on(
    system: System, projection: Projection[Any], parked: Parked | None, *, rebuild: bool
) -> Skipped:
    """Bring into the live rows what waited for a skipped event, if they lack it. Those of another
    version stay as they are."""
    if parked is None:
        return Skipped(0, 0, rebuild)
    device = (parked.tenant_id, parked.device_id)
    retried = await retry(system.pool, system.source, projection, device)
    return Skipped(retried.done, retried.left, rebuild)
