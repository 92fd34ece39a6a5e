"""What a rebuild waits for that is as far as it gets by itself, in words for whoever looks on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from projections import checkpoints, rebuilds
from projections.holding import holders, readers
from projections.lease import holder
from projections.projection import Projection
from projections.rows import Pool
from projections.schema import BUILD
from projections.writer import lease_name

# A batch of a rebuild, of which, while events come, one or another that waits always has one to
# write.
MOST_EVENTS = 8_000
# Nearer to the head than this the tables change places.
NEAR = 1_000


async def behind(
    pool: Pool, projection: Projection[Any], beside: Sequence[Projection[Any]], goal: int, head: int
) -> list[str]:
    """The other new versions of the same deployment that are not as far yet. One that stopped for
    an event holds all: so the program of before has all its tables until it is skipped."""
    live = await checkpoints.checkpoints(pool)
    own = live.get(projection.name)
    if own is None or own.version >= projection.version:
        return []
    building = {one.projection: one for one in await rebuilds.under_way(pool)}
    found = []
    for other in beside:
        standing, build = live.get(other.name), building.get(other.name)
        if standing is None or standing.version >= other.version or other.name == projection.name:
            continue
        if (
            build is None
            or build.version != other.version
            or build.error is not None
            or build.position < goal
            or head - build.position > MOST_EVENTS
        ):
            found.append(other.name)
    return found


async def hindrance(
    pool: Pool,
    projection: Projection[Any],
    beside: Sequence[Projection[Any]],
    *,
    head: int,
    own: bool,
) -> str | None:
    """Why a rebuild that has come no further for a while has not, as far as that can be told.
    `own`: this program works on it, and waits for none of those `beside`."""
    found = await rebuilds.find(pool, projection)
    if found is None:
        return None
    by = await holders(pool, projection, BUILD)
    ready = head - found.position <= NEAR
    if by is None and ready:
        by = await readers(pool, projection)
    if by is not None or own:
        return by
    others = await behind(pool, projection, beside, head, head) if ready else []
    if others:
        return (
            "it is ready, and takes its place together with the new versions of "
            f"{', '.join(others)}, which are not: configtrail projections tells how far they are"
        )
    worker = await holder(pool, lease_name(projection, BUILD))
    return None if worker is None else f"{worker} works on it, and comes no further"
