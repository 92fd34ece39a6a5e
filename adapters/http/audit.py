"""The audit trail: pages with filters, and all of it as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from adapters.http.access import Permission, requires
from adapters.http.params import PAGE_MAX, TenantId, optional_moment
from domain.errors import InvalidInput
from domain.ids import check_device_id
from projections.audit import AuditEntry, AuditFilter, audit_page, stream_audit
from projections.audit.write import ACTIONS

if TYPE_CHECKING:
    from adapters.composition import System

LAST_PAGE = 2_000
# What a spreadsheet takes for the beginning of a formula, or for a separator of fields.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class AuditOut(BaseModel):
    """One event. `position` is its place in the stream, where anybody can look it up."""

    id: str
    position: int
    actor: str
    action: str
    resource_type: str
    resource_id: str
    device_id: str
    details: dict[str, Any]
    created_at: datetime
    recorded_at: datetime
    correlation_id: str | None
    causation_id: str | None


class AuditPageOut(BaseModel):
    """A page, newest first. Counting stops at a bound: then `total_is_exact` is false.
    `next_before` leads to the next page at the same cost however far back."""

    items: list[AuditOut]
    total: int
    total_is_exact: bool
    page: int
    per_page: int
    next_before: int | None


COLUMNS = tuple(AuditOut.model_fields)


def audit_out(entry: AuditEntry) -> AuditOut:
    """An entry as it is answered."""
    return AuditOut(
        id=entry.event_id,
        position=entry.position,
        actor=entry.actor,
        action=entry.action,
        resource_type=entry.resource_type,
        resource_id=entry.resource_id,
        device_id=entry.device_id,
        details=entry.details,
        created_at=entry.occurred_at,
        recorded_at=entry.stored_at,
        correlation_id=entry.correlation_id,
        causation_id=entry.causation_id,
    )


def cell(value: object) -> str:
    """A value as a cell of CSV that no spreadsheet takes for a formula (OWASP: CSV injection)."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    text = json.dumps(value) if isinstance(value, dict | list) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def csv_rows(entries: list[AuditOut]) -> str:
    """Lines of CSV (RFC 4180)."""
    out = io.StringIO()
    writer = csv.writer(out)
    for entry in entries:
        writer.writerow([cell(getattr(entry, column)) for column in COLUMNS])
    return out.getvalue()


def router(system: System) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter(prefix="/api/tenants/{tenant}", tags=["audit"])

    @routes.get(
        "/audit-logs", response_model=AuditPageOut, dependencies=[requires(Permission.AUDIT)]
    )
    async def audit_logs(
        tenant: TenantId,
        request: Request,
        response: Response,
        action: Annotated[str | None, Query(max_length=100)] = None,
        actor: Annotated[str | None, Query(max_length=220)] = None,
        device_id: str | None = None,
        date_from: str | None = None,
        date_to: str | None = None,
        correlation_id: Annotated[str | None, Query(max_length=200)] = None,
        page: Annotated[int, Query(ge=1, le=LAST_PAGE)] = 1,
        per_page: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
        before: Annotated[int | None, Query(ge=1, lt=1 << 63)] = None,
        format: Literal["json", "csv"] | None = None,
    ) -> AuditPageOut | Response:
        wanted = AuditFilter(
            action=_known(action),
            actor=_storable(actor, "actor"),
            device_id=check_device_id(device_id) if device_id is not None else None,
            since=optional_moment(date_from, "date_from"),
            until=optional_moment(date_to, "date_to"),
            correlation_id=_storable(correlation_id, "correlation_id"),
        )
        if wanted.since and wanted.until and wanted.since > wanted.until:
            raise InvalidInput("date_to", "must not be before date_from")
        if before is not None and page != 1:
            raise InvalidInput("page", "must not be given together with before")
        if format == "csv" or (format is None and _wants_csv(request)):
            return StreamingResponse(
                _csv(system, tenant, wanted),
                media_type="text/csv; charset=utf-8",
                headers={
                    **response.headers,
                    "Content-Disposition": f'attachment; filename="audit-{tenant}.csv"',
                },
            )
        found = await audit_page(
            system.rows_of(tenant),
            tenant,
            wanted,
            limit=per_page,
            before=before,
            offset=(page - 1) * per_page,
        )
        return AuditPageOut(
            items=[audit_out(one) for one in found.entries],
            total=found.total,
            total_is_exact=found.total_is_exact,
            page=page,
            per_page=per_page,
            next_before=found.next_before,
        )

    return routes


async def _csv(system: System, tenant: str, wanted: AuditFilter) -> AsyncGenerator[str, None]:
    yield ",".join(COLUMNS) + "\r\n"
    async with (
        system.rows_of(tenant).session() as connection,
        aclosing(stream_audit(connection, tenant, wanted)) as batches,
    ):
        async for batch in batches:
            yield csv_rows([audit_out(one) for one in batch])


def _wants_csv(request: Request) -> bool:
    """Whether the first type that is asked for is CSV."""
    first = request.headers.get("accept", "").partition(",")[0].partition(";")[0]
    return first.strip().lower() == "text/csv"


def _known(action: str | None) -> str | None:
    if action is not None and action not in ACTIONS.values():
        raise InvalidInput("action", f"must be one of {', '.join(sorted(ACTIONS.values()))}")
    return action


def _storable(value: str | None, field: str) -> str | None:
    if value is not None and "\x00" in value:
        raise InvalidInput(field, "must not contain NUL")
    return value
