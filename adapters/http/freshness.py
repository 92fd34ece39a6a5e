"""Reading one's own writes: wait until the read models hold what the caller knows of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

from fastapi import Header, Query, Request, Response

from domain.errors import EventsParked
from domain.ids import check_device_id, check_tenant_id
from projections import parking
from projections.checkpoints import wait_projected

if TYPE_CHECKING:
    from adapters.composition import System

WAIT_SECONDS = 5.0
MIN_POSITION = "Configtrail-Min-Position"
POSITION = "Configtrail-Position"
PARKED = "Configtrail-Parked"


def freshness(system: System) -> Callable[..., Awaitable[None]]:
    """A dependency: with `min_position`, or the header `Configtrail-Min-Position`, as a trigger's
    answer tells it, the answer holds all events up to there, or is 503 when they take too long.

    Parked events would make that a lie. Asked for a device that has some up to there, it is 503 at
    once; asked for a tenant, the header `Configtrail-Parked` names the read models that lack some.
    """
    projections = [one.projection for one in system.projections]

    async def wait(
        request: Request,
        response: Response,
        min_position: Annotated[int | None, Query(ge=0, lt=1 << 63)] = None,
        header: Annotated[int | None, Header(alias=MIN_POSITION, ge=0, lt=1 << 63)] = None,
    ) -> None:
        wanted = max(min_position or 0, header or 0)
        if not wanted:
            return
        await wait_projected(system.pool, projections, wanted, WAIT_SECONDS)
        tenant = check_tenant_id(request.path_params["tenant"])
        device = request.path_params.get("device") or request.query_params.get("device_id")
        if device:
            check_device_id(device)
        lacking = await parking.holding_back(system.pool, tenant, device, wanted)
        if lacking and device:
            raise EventsParked(lacking, wanted)
        if lacking:
            response.headers[PARKED] = ", ".join(lacking)

    return wait
