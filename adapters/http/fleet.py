"""The fleet at a glance: who waits longest for a backup, who fails, what is under way."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from msgspec.json import Decoder

from adapters.http.access import Permission, requires
from adapters.http.answers import answered_listing
from adapters.http.cursors import Cursors
from adapters.http.described import LISTED
from adapters.http.params import PageOf, TenantId
from adapters.shapes.fleet import MemberOut, member_out
from projections.fleet import list_fleet

if TYPE_CHECKING:
    from adapters.composition import System


_BY_BACKUP: Decoder[tuple[datetime | None, str]] = Decoder(tuple[datetime | None, str])


def router(system: System) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter(
        prefix="/api/tenants/{tenant}/fleet",
        tags=["devices"],
        dependencies=[requires(Permission.READ)],
    )

    cursors = Cursors(system.keyring)

    @routes.get("", response_model=list[MemberOut], responses=LISTED)
    async def fleet(request: Request, tenant: TenantId, page: PageOf) -> Response:
        """The devices, those that wait longest for a backup first."""
        listing = ("fleet", tenant)
        place = await cursors.take(listing, page.cursor, _BY_BACKUP)
        # To the minute, so that what did not change has the same mark (ETag).
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        found = await list_fleet(
            system.rows_of(tenant),
            tenant,
            now,
            limit=page.limit + 1,
            offset=page.offset,
            after=place,
        )
        shown, following = await cursors.page(
            listing, found, page.limit, lambda one: (one.last_backup, one.device_id)
        )
        items = [member_out(one) for one in shown]
        return answered_listing(
            request, items, None, MemberOut, name=f"fleet-{tenant}", next_cursor=following
        )

    return routes
