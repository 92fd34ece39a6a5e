"""A device's history: what changed, when, by names only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from adapters.asked import section_named
from adapters.http.access import Permission, requires
from adapters.http.answers import answered_listing
from adapters.http.cursors import BY_TIME, Cursors
from adapters.http.described import LISTED
from adapters.http.params import DeviceId, PageOf, TenantId
from adapters.shapes.history import (
    HistoryOut,
    history_out,
)
from projections import diffs
from projections.backups import require_device

if TYPE_CHECKING:
    from adapters.composition import System


Section = Annotated[
    str | None,
    Query(max_length=200, description="changes that touch this section or one below it"),
]


def router(system: System) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter(
        prefix="/api/tenants/{tenant}/devices/{device:path}",
        tags=["devices"],
        dependencies=[requires(Permission.READ)],
    )
    cursors = Cursors(system.keyring)

    @routes.get("/config-history", response_model=list[HistoryOut], responses=LISTED)
    async def list_history(
        request: Request,
        tenant: TenantId,
        device: DeviceId,
        page: PageOf,
        section: Section = None,
    ) -> Response:
        """The device's timeline: each change of what it had, newest first."""
        named = section_named(section)
        listing = ("history", tenant, device, named)
        place = await cursors.take(listing, page.cursor, BY_TIME)
        rows = system.rows_of(tenant)
        asked: Any = {"offset": page.offset, "before": place}
        ready = None
        if named is None:
            ready = await diffs.shown_history(rows, tenant, device, limit=page.limit, **asked)
        if ready is not None:
            items, following = await cursors.page_shown(listing, ready, page.limit, HistoryOut)
        else:
            async with rows.session(one_plan=True) as session:
                found = await diffs.config_history(
                    session, tenant, device, limit=page.limit + 1, section=named, **asked
                )
            shown, following = await cursors.page(
                listing, found, page.limit, lambda one: (one.collected_at, one.place)
            )
            items = [history_out(one) for one in shown]
        if not items:
            await require_device(rows, tenant, device)
        return answered_listing(
            request, items, None, HistoryOut, name=f"history-{device}", next_cursor=following
        )

    return routes
