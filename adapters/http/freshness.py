"""Reading one's own writes: wait until the read models hold what the caller knows of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

from fastapi import Query

from projections.checkpoints import wait_projected

if TYPE_CHECKING:
    from adapters.composition import System

WAIT_SECONDS = 5.0


def freshness(system: System) -> Callable[..., Awaitable[None]]:
    """A dependency: with `min_position` (as a trigger's answer tells it) the answer holds all
    events up to there, or is 503 when they take too long."""
    projections = [one.projection for one in system.projections]

    async def wait(
        min_position: Annotated[int | None, Query(ge=0, lt=1 << 63)] = None,
    ) -> None:
        if min_position is not None:
            await wait_projected(system.pool, projections, min_position, WAIT_SECONDS)

    return wait
