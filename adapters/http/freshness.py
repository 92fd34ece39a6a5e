"""How fresh an answer is: up to where in the stream it holds, and waiting for one's own writes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Header, Query, Request

from domain.errors import EventsParked, InvalidInput
from domain.granting import NO_TENANT
from domain.ids import check_device_id, check_tenant_id
from projections import parking
from projections.checkpoints import projected, wait_projected

if TYPE_CHECKING:
    from adapters.composition import System

WAIT_SECONDS = 5.0
MIN_POSITION = "Configtrail-Min-Position"
POSITION = "Configtrail-Position"
PARKED = "Configtrail-Parked"
# What was true this long ago still is: positions only grow.
_KNOWN_SECONDS = 0.05


class _Positions:
    """Up to where all read models are, asked for at most so often."""

    def __init__(self, system: System) -> None:
        self._pool = system.pool
        self._events = system.events
        self._projections = [one.projection for one in system.projections]
        self._known = 0
        self._until = 0.0

    async def current(self) -> int:
        """At least the events up to here are in every read model."""
        now = time.monotonic()
        if now >= self._until:
            # Others who ask meanwhile get what was known before.
            self._until = now + _KNOWN_SECONDS
            try:
                self._known = await projected(self._pool, self._projections)
            except BaseException:
                self._until = 0.0
                raise
        return self._known

    async def wait(self, wanted: int) -> None:
        """Return when the events up to `wanted` are in every read model; `Unavailable` when that
        takes too long. Raises `InvalidInput` for what nobody wrote yet: a position that a write
        told is in the stream."""
        if wanted <= await self.current():
            return
        head = await self._events.head()
        if wanted > head:
            raise InvalidInput("min_position", f"is ahead of the stream, which ends at {head}")
        await wait_projected(self._pool, self._projections, wanted, WAIT_SECONDS)
        self._known = max(self._known, wanted)


def freshness(system: System) -> Callable[..., Awaitable[None]]:
    """A dependency: with `min_position`, or the header `Configtrail-Min-Position`, as a trigger's
    answer tells it, the answer holds all events up to there, or is 503 when they take too long.

    Parked events would make that a lie. Asked for a device that has some up to there, it is 503 at
    once; asked for a tenant, the header `Configtrail-Parked` names the read models that lack some.

    Every answer says in `Configtrail-Position` up to where it holds them at least.
    """
    positions = _Positions(system)

    async def wait(
        request: Request,
        min_position: Annotated[
            int | None,
            Query(ge=0, lt=1 << 63, description="wait until this position is in the read models"),
        ] = None,
        header: Annotated[int | None, Header(alias=MIN_POSITION, ge=0, lt=1 << 63)] = None,
    ) -> None:
        wanted = max(min_position or 0, header or 0)
        if wanted:
            await positions.wait(wanted)
            await _check_parked(system, request, wanted)
        request.state.position = await positions.current()

    return wait


async def _check_parked(system: System, request: Request, wanted: int) -> None:
    named = request.path_params.get("tenant")
    tenant = NO_TENANT if named is None else check_tenant_id(named)
    device = request.path_params.get("device") or request.query_params.get("device_id")
    if device:
        check_device_id(device)
        await check_none_parked(system, tenant, device, wanted)
    elif lacking := await parking.holding_back(system.pool, tenant, None, wanted):
        request.state.parked = ", ".join(lacking)


async def check_none_parked(system: System, tenant: str, branch: str, position: int) -> None:
    """Raise `EventsParked` when read models lack events of the branch, a device's or another, up to
    the position."""
    if lacking := await parking.holding_back(system.pool, tenant, branch, position):
        raise EventsParked(lacking, position)


def position_headers(request: Request) -> dict[str, str]:
    """The headers that say how fresh the answer is, and what it lacks; none where no read model is
    asked."""
    position: Any = getattr(request.state, "position", None)
    parked: Any = getattr(request.state, "parked", None)
    said = {} if position is None else {POSITION: str(position)}
    return said if parked is None else {**said, PARKED: parked}
