"""Asking for a backup now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from adapters.http.access import Permission, Principal, requires
from adapters.http.described import REFUSALS, refused
from adapters.http.freshness import POSITION, WAIT_SECONDS
from adapters.http.params import DeviceId, TenantId
from adapters.roles.trigger import REASON_MAX
from adapters.shapes.trigger import TriggerOut
from domain.errors import Unavailable
from projections import parking
from projections.checkpoints import wait_projected

if TYPE_CHECKING:
    from adapters.composition import System


class TriggerIn(BaseModel):
    """Why the backup is asked for, for the audit trail."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(default=None, max_length=REASON_MAX)


def router(system: System) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter(prefix="/api/tenants/{tenant}/devices/{device:path}", tags=["trigger"])

    @routes.post(
        "/config-snapshot/trigger",
        status_code=201,
        responses={
            202: {"model": TriggerOut, "description": "done, and not in every read model yet"},
            **{status: REFUSALS[status] for status in (422, 503)},
            409: refused("a backup of the device is under way"),
            502: refused("the backup failed"),
            504: refused("the backup did not end in time"),
        },
    )
    async def trigger(
        tenant: TenantId,
        device: DeviceId,
        request: Request,
        response: Response,
        principal: Annotated[Principal, requires(Permission.TRIGGER)],
        body: Annotated[TriggerIn | None, Body()] = None,
        join: Annotated[bool, Query(description="a collection under way, if one is")] = False,
        wait: Annotated[bool, Query(description="until every read model shows it")] = False,
    ) -> TriggerOut:
        done = await system.trigger.run(
            tenant,
            device,
            actor=principal.actor,
            remote_address=request.client.host if request.client else None,
            reason=body.reason if body else None,
            join=join,
        )
        response.headers[POSITION] = str(done.position)
        if wait and not await _is_visible(system, tenant, device, done.position):
            response.status_code = 202  # it is recorded; when it shows is for the reader to wait
        return TriggerOut(
            status=done.status,
            sha256_hash=done.sha256_hash,
            message=done.message,
            trigger_id=done.trigger_id,
            outcome=done.outcome,
            snapshot_id=done.snapshot_id,
            position=done.position,
        )

    return routes


async def _is_visible(system: System, tenant: str, device: str, position: int) -> bool:
    projections = [one.projection for one in system.projections]
    try:
        await wait_projected(system.pool, projections, position, WAIT_SECONDS)
    except Unavailable:
        return False
    return not await parking.holding_back(system.pool, tenant, device, position)
