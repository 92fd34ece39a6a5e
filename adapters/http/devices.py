"""Devices and their state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, HTTPException, Query, Request, Response

from adapters.asked import searchable
from adapters.http.access import Permission, principal_of, requires
from adapters.http.answers import answered_listing, answered_model
from adapters.http.cursors import BY_ID, Cursors
from adapters.http.described import LISTED
from adapters.http.params import DeviceId, PageOf, TenantId, optional_moment
from adapters.shapes.devices import DeviceOut, device_out
from adapters.shapes.out import Out
from domain.errors import NotFound
from projections import backups

if TYPE_CHECKING:
    from adapters.composition import System


# Where uploads go to, as an address has it. An id that ends so has its slash encoded.
_UPLOADS = b"/config"


class DevicesOut(Out):
    """A page of devices, by id. `total` counts all that match; `next_cursor` leads on."""

    items: list[DeviceOut]
    total: int
    limit: int
    offset: int
    next_cursor: str | None = None


def require_tenant(request: Request, tenant: str) -> None:
    """Nothing was heard of the tenant: to who may see all of them that is `NotFound`, as for a slip
    of the pen. To its own it is there, and empty."""
    principal = principal_of(request)
    if principal is None or not principal.belongs_to(tenant):
        raise NotFound("tenant", tenant)


def router(system: System) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter(
        prefix="/api/tenants/{tenant}/devices",
        tags=["devices"],
        dependencies=[requires(Permission.READ)],
    )
    cursors = Cursors(system.keyring)

    @routes.get("", response_model=DevicesOut, responses=LISTED)
    async def list_devices(
        request: Request,
        tenant: TenantId,
        page: PageOf,
        search: Annotated[
            str | None, Query(max_length=128, description="a part of the id, in any case")
        ] = None,
        not_seen_since: Annotated[
            str | None, Query(description="only devices that nobody read since this time")
        ] = None,
    ) -> Response:
        """The devices of a tenant with their state, by id."""
        since = optional_moment(not_seen_since, "not_seen_since")
        text = searchable(search)
        listing = ("devices", tenant, text, since)
        place = await cursors.take(listing, page.cursor, BY_ID)
        rows = system.rows_of(tenant)
        found = await backups.shown_devices(
            rows,
            tenant,
            limit=page.limit,
            offset=page.offset,
            search=text,
            not_seen_since=since,
            after=place,
        )
        total = found.total or 0
        if not total and not await backups.count_devices(rows, tenant):
            require_tenant(request, tenant)
        items, following = await cursors.page_shown(listing, found, page.limit, DeviceOut)
        body = DevicesOut(
            items=items,
            total=total,
            limit=page.limit,
            offset=page.offset,
            next_cursor=following,
        )
        return answered_listing(
            request, items, body, DeviceOut, name=f"devices-{tenant}", next_cursor=following
        )

    return routes


def device_router(system: System) -> APIRouter:
    """The route of one device: its address is the beginning of all others, so it comes last."""
    routes = APIRouter(
        prefix="/api/tenants/{tenant}/devices",
        tags=["devices"],
        dependencies=[requires(Permission.READ)],
    )

    @routes.get("/{device:path}", response_model=DeviceOut)
    async def get_device(request: Request, tenant: TenantId, device: DeviceId) -> Response:
        """One device with its state."""
        if request.scope["raw_path"].endswith(_UPLOADS):
            raise HTTPException(405, "configurations are sent there; config/at?time=… reads one")
        return answered_model(
            request,
            device_out(await backups.require_device(system.rows_of(tenant), tenant, device)),
        )

    return routes
