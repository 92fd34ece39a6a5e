"""Events that a read model can't take in: what they are, trying them again, and skipping them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response
from msgspec.json import Decoder
from pydantic import BaseModel, ConfigDict, Field

from adapters.collecting.checks import REASON_MAX
from adapters.http.access import Permission, Principal, requires
from adapters.http.answers import answered_listing
from adapters.http.cursors import Cursors
from adapters.http.described import LISTED
from adapters.http.params import PAGE_MAX, Cursor, storable
from adapters.shapes.out import Out
from adapters.skipping import parked_at, skip
from domain.errors import NotFound
from projections import parking
from projections.parking import Parked
from projections.projection import Projection
from projections.retrying import retry

if TYPE_CHECKING:
    from adapters.composition import System

_BY_PLACE: Decoder[tuple[str, int]] = Decoder(tuple[str, int])
Position = Annotated[int, Path(ge=1, lt=1 << 63)]


class ParkedOut(Out):
    """A parked event. `error` None: it waits for an earlier one of its device."""

    projection: str
    position: int
    tenant_id: str
    device_id: str
    event_id: str
    type_name: str
    error: str | None
    attempts: int
    parked_at: datetime


class ParkedPageOut(Out):
    """Parked events by read model and position."""

    items: list[ParkedOut]
    next_cursor: str | None


class SkipIn(BaseModel):
    """Why the read model is to go on without the event, for the audit trail."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(default=None, max_length=REASON_MAX)


class RetriedOut(BaseModel):
    """So many events of the device came in or were skipped, and so many stay parked."""

    done: int
    left: int


class SkippedOut(RetriedOut):
    """The same of a skip. `rebuild`: one that had stopped for the event goes on."""

    rebuild: bool


def parked_out(parked: Parked) -> ParkedOut:
    """A parked event as it is answered."""
    return ParkedOut(**{name: getattr(parked, name) for name in ParkedOut.__struct_fields__})


def router(system: System) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter(prefix="/api/parked", tags=["operation"])
    cursors = Cursors(system.keyring)
    known = {one.name: one.projection for one in system.projections}

    def projection_named(name: str) -> Projection[Any]:
        if name not in known:
            raise NotFound("read model", name)
        return known[name]

    @routes.get(
        "",
        response_model=ParkedPageOut,
        responses=LISTED,
        dependencies=[requires(Permission.PROJECTIONS)],
    )
    async def list_parked(
        request: Request,
        projection: Annotated[str | None, Query(max_length=64)] = None,
        waiting: Annotated[bool, Query(description="also what waits behind them")] = False,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
        cursor: Cursor = None,
    ) -> Response:
        """Events that a read model can't take in, and why. Of all tenants."""
        name = storable(projection, "projection")
        listing = ("parked", name, waiting)
        place = await cursors.take(listing, cursor, _BY_PLACE)
        found = await parking.listed(
            system.pool, name, waiting=waiting, limit=limit + 1, after=place
        )
        shown, following = await cursors.page(
            listing, found, limit, lambda one: (one.projection, one.position)
        )
        items = [parked_out(one) for one in shown]
        body = ParkedPageOut(items=items, next_cursor=following)
        return answered_listing(
            request, items, body, ParkedOut, name="parked", next_cursor=following
        )

    @routes.post("/{projection}/{position}/retry", dependencies=[requires(Permission.PROJECTIONS)])
    async def retry_parked(projection: str, position: Position) -> RetriedOut:
        """Try a parked event again, and then those of its device that wait for it."""
        model = projection_named(projection)
        found = await parked_at(system, model, position)
        device = (found.tenant_id, found.device_id)
        done = await retry(system.pool, system.source, model, device)
        return RetriedOut(done=done.done, left=done.left)

    @routes.post("/{projection}/{position}/skip")
    async def skip_parked(
        projection: str,
        position: Position,
        principal: Annotated[Principal, requires(Permission.PROJECTIONS)],
        body: Annotated[SkipIn | None, Body()] = None,
    ) -> SkippedOut:
        """Let the read model go on without a parked event. That is recorded, as an event of its
        device, and holds for every later rebuild."""
        reason = body.reason if body else None
        model = projection_named(projection)
        done = await skip(system, model, position, actor=principal.actor, reason=reason)
        return SkippedOut(done=done.done, left=done.left, rebuild=done.rebuild)

    return routes
