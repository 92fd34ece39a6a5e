"""The audit trail: pages with filters, and all of it as CSV or as lines of JSON."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from msgspec import Struct

from adapters.asked import known_action
from adapters.http.access import Permission, requires
from adapters.http.answers import answered_page, attachment
from adapters.http.cursors import BY_POSITION, Cursors, InvalidCursor
from adapters.http.described import LISTED
from adapters.http.errors import problem
from adapters.http.freshness import position_headers
from adapters.http.params import PAGE_MAX, Cursor, TenantId, day_or_moment, storable
from adapters.http.representations import CSV, JSON, LISTING, NDJSON, accepted, csv_header, csv_rows
from adapters.shapes.audit import AuditOut, audit_out
from adapters.shapes.out import Out, as_json, json_of, lines_of
from domain.errors import InvalidInput, RowUnreadable
from domain.granting import NO_TENANT
from projections.audit import AuditFilter, shown_audit, shown_newest, stream_audit
from projections.audit.queries import EVERYTHING

if TYPE_CHECKING:
    from adapters.composition import System

LAST_PAGE = 2_000
_MOST_KEPT = 10_000
_WHOSE_MAX = 200
_FORMATS = {"json": JSON, "csv": CSV, "ndjson": NDJSON}

Action = Annotated[str | None, Query(max_length=100)]
Actor = Annotated[str | None, Query(max_length=220)]
# What is about no device stands in the log under a name that no device has.
Whose = Annotated[
    str | None,
    Query(max_length=_WHOSE_MAX, description="a device's id, or what an entry has as `device_id`"),
]
Correlation = Annotated[str | None, Query(max_length=200)]
From = Annotated[str | None, Query(description="a time with its zone, or a day")]
To = Annotated[str | None, Query(description="before this time, or to this day")]
Position = Annotated[int | None, Query(ge=1, lt=1 << 63)]
PageNumber = Annotated[int, Query(ge=1, le=LAST_PAGE)]
PerPage = Annotated[int, Query(ge=1, le=PAGE_MAX)]
Format = Annotated[
    Literal["json", "csv", "ndjson"] | None,
    Query(description="instead of Accept; csv and ndjson are everything, not a page"),
]


class _Place(Struct, frozen=True):
    """Which page."""

    page: int
    per_page: int
    before: int | None
    cursor: str | None


class AuditPageOut(Out):
    """A page, newest first. Counting stops at a bound: then `total_is_exact` is false.
    `next_cursor` leads to the next page at the same cost however far back, and so does
    `next_before`, as `before`."""

    items: list[AuditOut]
    total: int
    total_is_exact: bool
    page: int
    per_page: int
    next_before: int | None
    next_cursor: str | None


COLUMNS = tuple(AuditOut.__struct_fields__)


def router(system: System) -> APIRouter:
    """The routes of this module: of a tenant, and of what belongs to none."""
    routes = APIRouter(prefix="/api", tags=["audit"], dependencies=[requires(Permission.AUDIT)])
    cursors = Cursors(system.keyring)
    # Filters that let through more than are counted. They always will: facts are only added.
    beyond: set[tuple[str, AuditFilter]] = set()

    async def answer(
        request: Request,
        tenant: str,
        name: str,
        wanted: AuditFilter,
        at: _Place,
        format: str | None,
    ) -> Response:
        _check(wanted, at)
        form = _FORMATS[format] if format else accepted(request, LISTING)
        if form != JSON:
            _check_whole(at)
            suffix = "csv" if form == CSV else "ndjson"
            return StreamingResponse(
                everything(system, tenant, wanted, form),
                media_type=f"{form}; charset=utf-8",
                headers={**position_headers(request), **attachment(name, suffix)},
            )
        listing = ("audit", tenant, wanted)
        place = await cursors.take(listing, at.cursor, BY_POSITION)
        rows = system.rows_of(tenant)
        before, offset = place or at.before, (at.page - 1) * at.per_page
        many = (tenant, wanted) in beyond
        if many and before is None and wanted == EVERYTHING:
            found = await shown_newest(rows, tenant, limit=at.per_page, offset=offset)
        else:
            try:
                async with rows.session(one_plan=wanted == EVERYTHING) as session:
                    found = await shown_audit(
                        session,
                        tenant,
                        wanted,
                        limit=at.per_page,
                        before=before,
                        offset=offset,
                        beyond=many,
                    )
            except InvalidInput as error:
                if place is None:
                    raise
                # While the read model is filled anew, the entry where the page before ended may
                # not be there.
                raise InvalidCursor from error
        if not found.total_is_exact:
            if len(beyond) >= _MOST_KEPT:
                beyond.clear()
            beyond.add((tenant, wanted))
        following = found.next_before
        next_cursor = None if following is None else await cursors.give(listing, following)
        items = as_json(found.items, AuditOut)
        body = AuditPageOut(
            items=items,
            total=found.total,
            total_is_exact=found.total_is_exact,
            page=at.page,
            per_page=at.per_page,
            next_before=following,
            next_cursor=next_cursor,
        )
        return answered_page(request, body, next_cursor)

    @routes.get("/tenants/{tenant}/audit-logs", response_model=AuditPageOut, responses=LISTED)
    async def audit_logs(
        tenant: TenantId,
        request: Request,
        action: Action = None,
        actor: Actor = None,
        device_id: Whose = None,
        date_from: From = None,
        date_to: To = None,
        from_position: Position = None,
        to_position: Position = None,
        correlation_id: Correlation = None,
        page: PageNumber = 1,
        per_page: PerPage = 50,
        before: Position = None,
        cursor: Cursor = None,
        format: Format = None,
    ) -> Response:
        """Who did what, newest first: a page as JSON, everything that the filter lets through as
        CSV or as lines of JSON."""
        wanted = AuditFilter(
            action=known_action(action),
            actor=storable(actor, "actor"),
            device_id=storable(device_id, "device_id"),
            since=day_or_moment(date_from, "date_from"),
            until=day_or_moment(date_to, "date_to", end=True),
            from_position=from_position,
            to_position=to_position,
            correlation_id=storable(correlation_id, "correlation_id"),
        )
        at = _Place(page, per_page, before, cursor)
        return await answer(request, tenant, f"audit-{tenant}", wanted, at, format)

    @routes.get("/audit-logs", response_model=AuditPageOut, responses=LISTED)
    async def audit_logs_of_none(
        request: Request,
        action: Action = None,
        actor: Actor = None,
        date_from: From = None,
        date_to: To = None,
        from_position: Position = None,
        to_position: Position = None,
        page: PageNumber = 1,
        per_page: PerPage = 50,
        before: Position = None,
        cursor: Cursor = None,
        format: Format = None,
    ) -> Response:
        """The same of what belongs to no tenant: keys for all of them, and refused requests of whom
        nobody knows."""
        wanted = AuditFilter(
            action=known_action(action),
            actor=storable(actor, "actor"),
            since=day_or_moment(date_from, "date_from"),
            until=day_or_moment(date_to, "date_to", end=True),
            from_position=from_position,
            to_position=to_position,
        )
        at = _Place(page, per_page, before, cursor)
        return await answer(request, NO_TENANT, "audit", wanted, at, format)

    return routes


async def everything(
    system: System, tenant: str, wanted: AuditFilter, form: str
) -> AsyncGenerator[str | bytes, None]:
    """All that the filter lets through, in pieces of that form. A row that can't be read is named
    in a last line, and then the answer breaks off: nobody is to take it for the whole."""
    if form == CSV:
        yield csv_header(COLUMNS)
    try:
        async with aclosing(stream_audit(system.rows_of(tenant), tenant, wanted)) as batches:
            async for batch in batches:
                rows = [audit_out(one) for one in batch]
                yield csv_rows(rows, COLUMNS) if form == CSV else lines_of(rows)
    except RowUnreadable as error:
        if form == CSV:
            yield f'"{error}"\r\n'
        else:
            yield json_of(problem(500, "row_unreadable", str(error))) + b"\n"
        raise


def _check(wanted: AuditFilter, at: _Place) -> None:
    if wanted.since and wanted.until and wanted.since > wanted.until:
        raise InvalidInput("date_to", "must not be before date_from")
    first, last = wanted.from_position, wanted.to_position
    if first and last and first > last:
        raise InvalidInput("to_position", "must not be before from_position")
    if at.page != 1 and (at.before is not None or at.cursor is not None):
        raise InvalidInput("page", "must not be given together with before or cursor")
    if at.before is not None and at.cursor is not None:
        raise InvalidInput("before", "must not be given together with cursor")


def _check_whole(at: _Place) -> None:
    places = {
        "page": at.page != 1,
        "before": at.before is not None,
        "cursor": at.cursor is not None,
    }
    for name, given in places.items():
        if given:
            raise InvalidInput(name, "is of pages, and csv and ndjson are everything: leave it out")
