"""What changed across a tenant's devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response
from msgspec.structs import asdict

from adapters.asked import section_named
from adapters.http.access import Permission, requires
from adapters.http.answers import answered_listing
from adapters.http.cursors import BY_TIME, Cursors
from adapters.http.described import LISTED
from adapters.http.history import Section
from adapters.http.params import PAGE_MAX, Cursor, TenantId, day_or_moment
from adapters.shapes.history import HistoryOut, history_out
from adapters.shapes.out import Out
from domain.errors import InvalidInput
from domain.ids import check_device_id
from domain.semantic.risks import TAGS
from projections.diffs import FeedFilter, HistoryEntry, change_feed

if TYPE_CHECKING:
    from adapters.composition import System


class FleetChangeOut(HistoryOut):
    """A change of one of the devices, as in its timeline."""

    device_id: str


class ChangesOut(Out):
    """Changes, newest first. `next_cursor` leads on: a page that filters may be short, or empty,
    and still have more behind it."""

    items: list[FleetChangeOut]
    next_cursor: str | None


def fleet_change_out(change: HistoryEntry) -> FleetChangeOut:
    """A change as it is answered."""
    return FleetChangeOut(device_id=change.device_id, **asdict(history_out(change)))


def router(system: System) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter(
        prefix="/api/tenants/{tenant}", tags=["changes"], dependencies=[requires(Permission.READ)]
    )
    cursors = Cursors(system.keyring)

    @routes.get("/changes", response_model=ChangesOut, responses=LISTED)
    async def changes(
        request: Request,
        tenant: TenantId,
        device_id: Annotated[str | None, Query(description="of this device only")] = None,
        section: Section = None,
        risk: Annotated[
            str | None,
            Query(max_length=64, description=f"with this tag: one of {', '.join(TAGS)}"),
        ] = None,
        date_from: Annotated[
            str | None, Query(description="a time with its zone, or a day")
        ] = None,
        date_to: Annotated[
            str | None, Query(description="before this time, or to this day")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
        cursor: Cursor = None,
    ) -> Response:
        """What changed across the tenant's devices, newest first; first configurations included."""
        wanted = FeedFilter(
            device_id=check_device_id(device_id) if device_id is not None else None,
            section=section_named(section),
            risk=_known(risk),
            since=day_or_moment(date_from, "date_from"),
            until=day_or_moment(date_to, "date_to", end=True),
        )
        if wanted.since and wanted.until and wanted.since > wanted.until:
            raise InvalidInput("date_to", "must not be before date_from")
        listing = ("changes", tenant, wanted)
        place = await cursors.take(listing, cursor, BY_TIME)
        found = await change_feed(
            system.rows_of(tenant),
            tenant,
            wanted,
            limit=limit,
            before=place,
        )
        following = await cursors.give(listing, found.next_before) if found.next_before else None
        items = [fleet_change_out(one) for one in found.changes]
        return answered_listing(
            request,
            items,
            ChangesOut(items=items, next_cursor=following),
            FleetChangeOut,
            name=f"changes-{tenant}",
            next_cursor=following,
        )

    return routes


def _known(risk: str | None) -> str | None:
    # An empty answer to a slip of the pen would read as if nothing were risky.
    if risk is not None and risk not in TAGS:
        raise InvalidInput("risk", f"must be one of {', '.join(TAGS)}")
    return risk
