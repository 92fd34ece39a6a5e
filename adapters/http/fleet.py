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
from adapters.http.shown import Out
from projections.fleet import Member, list_fleet

if TYPE_CHECKING:
    from adapters.composition import System


_BY_BACKUP: Decoder[tuple[datetime | None, str]] = Decoder(tuple[datetime | None, str])


class MemberOut(Out):
    """A device. `age_seconds` is that of its last backup at the begin of this minute, None when it
    never had one; `retired` says that it was taken out of the inventory; `open_…` is its oldest
    manual backup that has no end yet."""

    device_id: str
    last_backup: datetime | None
    age_seconds: float | None
    last_change: datetime | None
    last_failure_at: datetime | None
    last_failure_kind: str | None
    retired: bool
    open_trigger_id: str | None
    open_since: datetime | None


def member_out(member: Member) -> MemberOut:
    """A device as it is answered."""
    return MemberOut(
        device_id=member.device_id,
        last_backup=member.last_backup,
        age_seconds=None if member.age is None else max(0.0, member.age.total_seconds()),
        last_change=member.last_change,
        last_failure_at=member.last_failure_at,
        last_failure_kind=member.last_failure_kind,
        retired=member.retired,
        open_trigger_id=member.open_trigger_id,
        open_since=member.open_since,
    )


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
