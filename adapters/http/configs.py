"""Configuration texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response

from adapters.http.access import Permission, requires
from adapters.http.answers import answered, answered_model, attachment
from adapters.http.described import AS_TEXT, DOWNLOAD
from adapters.http.params import DeviceId, SnapshotId, TenantId, moment
from adapters.http.representations import JSON, TEXT, accepted
from adapters.http.revealing import Reveal, Why, allow, recorded
from adapters.reading import ConfigText
from adapters.shapes.configs import ConfigOut, config_out
from domain.canonical import ROUTEROS

if TYPE_CHECKING:
    from adapters.composition import System


def router(system: System) -> APIRouter:
    """The routes of this module. The fixed addresses come before those with an id."""
    routes = APIRouter(
        prefix="/api/tenants/{tenant}/devices/{device:path}",
        tags=["config"],
        dependencies=[requires(Permission.READ)],
    )

    async def config_answer(
        request: Request,
        config: ConfigText,
        reveal: bool,
        reason: str | None,
        form: str | None = None,
    ) -> Response:
        form = form or accepted(request, (JSON, TEXT))
        if reveal:
            await recorded(system, request, reason, config.snapshot)
            shown = config
        else:
            shown = await system.reading.redacted_text(config)
        if form == JSON:
            return answered_model(request, config_out(shown, redacted=not reveal))
        snapshot = config.snapshot
        suffix = "rsc" if snapshot.platform == ROUTEROS else "cfg"
        name = attachment(f"router-{snapshot.device_id}", suffix, snapshot.collected_at)
        return answered(request, shown.text, TEXT, name)

    @routes.get("/config/at", response_model=ConfigOut, responses=AS_TEXT)
    async def config_at(
        request: Request,
        tenant: TenantId,
        device: DeviceId,
        time: Annotated[str, Query(description="with its zone, such as 2026-03-01T12:00:00Z")],
        reveal: Reveal = False,
        reason: Why = None,
    ) -> Response:
        """The configuration as of a time."""
        allow(request, reveal, reason)
        found = await system.reading.config_at(tenant, device, moment(time, "time"))
        return await config_answer(request, found, reveal, reason)

    @routes.get(
        "/config/{snapshot_id}/download",
        response_class=Response,
        responses=DOWNLOAD,
    )
    async def download(
        request: Request,
        tenant: TenantId,
        device: DeviceId,
        snapshot_id: SnapshotId,
        reveal: Reveal = False,
        reason: Why = None,
    ) -> Response:
        """The configuration of a snapshot as a file, whatever `Accept` says."""
        allow(request, reveal, reason)
        found = await system.reading.config_text(tenant, device, snapshot_id)
        return await config_answer(request, found, reveal, reason, TEXT)

    @routes.get("/config/{snapshot_id}", response_model=ConfigOut, responses=AS_TEXT)
    async def config(
        request: Request,
        tenant: TenantId,
        device: DeviceId,
        snapshot_id: SnapshotId,
        reveal: Reveal = False,
        reason: Why = None,
    ) -> Response:
        """The configuration of a snapshot."""
        allow(request, reveal, reason)
        found = await system.reading.config_text(tenant, device, snapshot_id)
        return await config_answer(request, found, reveal, reason)

    return routes
