"""Reading one's own writes: wait until the read models hold what the caller knows of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

from fastapi import Header, Query

from projections.checkpoints import wait_projected

if TYPE_CHECKING:
    from adapters.composition import System

WAIT_SECONDS = 5.0
MIN_POSITION = "Configtrail-Min-Position"
POSITION = "Configtrail-Position"


def freshness(system: System) -> Callable[..., Awaitable[None]]:
    """A dependency: with `min_position`, or the header `Configtrail-Min-Position`, as a trigger's
    answer tells it, the answer holds all events up to there, or is 503 when they take too long."""
    projections = [one.projection for one in system.projections]

    async def wait(
        min_position: Annotated[int | None, Query(ge=0, lt=1 << 63)] = None,
        header: Annotated[int | None, Header(alias=MIN_POSITION, ge=0, lt=1 << 63)] = None,
    ) -> None:
        wanted = max(min_position or 0, header or 0)
        if wanted:
            await wait_projected(system.pool, projections, wanted, WAIT_SECONDS)

    return wait
