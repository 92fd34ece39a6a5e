"""A device's snapshots, and when which of them held."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from adapters.http.access import Permission, requires
from adapters.http.answers import answered_listing
from adapters.http.cursors import BY_TIME, Cursors
from adapters.http.described import LISTED
from adapters.http.params import DeviceId, PageOf, TenantId
from adapters.shapes.out import Out
from projections import backups
from projections.backups import require_device

if TYPE_CHECKING:
    from adapters.composition import System


class SnapshotOut(Out):
    """A recorded configuration, without its text. `text_gone`: that expired, or was shredded."""

    id: str
    device_id: str
    collected_at: datetime
    first_seen: datetime
    last_confirmed: datetime
    confirmations: int
    size_bytes: int
    line_count: int
    platform: str
    os_version: str | None
    source: str
    completeness: str
    warnings: list[str]
    late: bool
    is_current: bool
    predecessor_id: str | None
    trigger_id: str | None
    actor: str
    position: int
    version: int
    text_gone: str | None


class SnapshotsOut(Out):
    """A page of snapshots, newest first; `next_cursor` leads on."""

    items: list[SnapshotOut]
    total: int
    limit: int
    offset: int
    next_cursor: str | None = None


class ValidityOut(Out):
    """A stretch of time in which a snapshot held. `valid_until` None: it still does."""

    snapshot_id: str
    valid_from: datetime
    confirmed_until: datetime
    valid_until: datetime | None


def validity_out(one: backups.Validity) -> ValidityOut:
    """A stretch of time as it is answered."""
    return ValidityOut(
        snapshot_id=one.snapshot_id,
        valid_from=one.valid_from,
        confirmed_until=one.confirmed_until,
        valid_until=one.valid_until,
    )


def router(system: System) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter(
        prefix="/api/tenants/{tenant}/devices/{device:path}",
        tags=["devices"],
        dependencies=[requires(Permission.READ)],
    )
    cursors = Cursors(system.keyring)

    @routes.get("/snapshots", response_model=SnapshotsOut, responses=LISTED)
    async def list_snapshots(
        request: Request, tenant: TenantId, device: DeviceId, page: PageOf
    ) -> Response:
        """The device's snapshots, newest first, each with when it was first seen and last
        confirmed."""
        listing = ("snapshots", tenant, device)
        place = await cursors.take(listing, page.cursor, BY_TIME)
        rows = system.rows_of(tenant)
        found = await backups.shown_snapshots(
            rows, tenant, device, limit=page.limit, offset=page.offset, before=place
        )
        total = found.total
        if total is None:
            total = (await require_device(rows, tenant, device)).snapshots
        items, following = await cursors.page_shown(listing, found, page.limit, SnapshotOut)
        body = SnapshotsOut(
            items=items,
            total=total,
            limit=page.limit,
            offset=page.offset,
            next_cursor=following,
        )
        return answered_listing(
            request, items, body, SnapshotOut, name=f"snapshots-{device}", next_cursor=following
        )

    @routes.get("/validity", response_model=list[ValidityOut], responses=LISTED)
    async def list_validity(
        request: Request, tenant: TenantId, device: DeviceId, page: PageOf
    ) -> Response:
        """When which snapshot held, newest first: one that came back has several stretches."""
        listing = ("validity", tenant, device)
        place = await cursors.take(listing, page.cursor, BY_TIME)
        async with system.rows_of(tenant).session(one_plan=True) as rows:
            found = await backups.validity(
                rows,
                tenant,
                device,
                limit=page.limit + 1,
                offset=page.offset,
                before=place,
            )
            if not found:
                await require_device(rows, tenant, device)
        shown, following = await cursors.page(
            listing, found, page.limit, lambda one: (one.valid_from, one.position)
        )
        items = [validity_out(one) for one in shown]
        return answered_listing(
            request, items, None, ValidityOut, name=f"validity-{device}", next_cursor=following
        )

    return routes
