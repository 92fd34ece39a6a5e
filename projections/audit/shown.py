"""Pages of the audit trail as the API shows them."""

from __future__ import annotations

from datetime import datetime

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from projections.audit.queries import (
    COUNT_LIMIT,
    EVERYTHING,
    NEWEST_FIRST,
    AuditFilter,
    entries_of,
    looked_for,
)
from projections.rows import Reader
from projections.shown import (
    Shown,
    fetch_page,
    json_object,
    number,
    or_null,
    page_of,
    text,
    time,
    word,
)


def _time(column: str) -> Shown:
    """A row may say that it is without end: then it is as far as Python's times go."""
    return time(
        f"(CASE {column} WHEN 'infinity' THEN '9999-12-31 23:59:59.999999+00'::timestamptz"
        f" WHEN '-infinity' THEN '0001-01-01 00:00:00+00'::timestamptz ELSE {column} END)"
    )


ENTRY = json_object(
    {
        "id": text("event_id"),
        "position": number("position"),
        "actor": text("actor"),
        "action": word("action"),
        "resource_type": word("resource_type"),
        "resource_id": text("resource_id"),
        "device_id": text("device_id"),
        "details": number("details"),
        "created_at": _time("occurred_at"),
        "recorded_at": _time("stored_at"),
        "correlation_id": or_null(text("correlation_id")),
        "causation_id": or_null(text("causation_id")),
    }
)


class ShownAudit(Struct, frozen=True, kw_only=True):
    """As `AuditPage`, with entries as JSON."""

    items: list[str]
    total: int
    total_is_exact: bool
    next_before: int | None


class _Entry(Struct, gc=False):
    """What must hold for an entry to be shown as it is in its row: somebody may have edited it."""

    details: dict[str, Raw]
    created_at: datetime
    recorded_at: datetime


_ENTRY: Decoder[_Entry] = Decoder(_Entry)


async def shown_audit(
    reader: Reader,
    tenant_id: str,
    wanted: AuditFilter = EVERYTHING,
    *,
    limit: int = 50,
    before: int | None = None,
    offset: int = 0,
    count_limit: int = COUNT_LIMIT,
    beyond: bool = False,
) -> ShownAudit:
    """As `audit_page`."""
    total, where, arguments = await looked_for(
        reader, tenant_id, wanted, before=before, count_limit=count_limit, beyond=beyond
    )
    bound = f"${len(arguments) + 1}::int"
    found = f"""
        FROM configtrail.audit {where} {NEWEST_FIRST}
        LIMIT {bound} + 1 OFFSET ${len(arguments) + 2}
    """
    statement = page_of(ENTRY, found, ("position",), bound)
    page = await fetch_page(reader, statement, *arguments, limit, offset)
    try:
        for one in page.items:
            _ENTRY.decode(one)
    except (DecodeError, RecursionError):
        # Which row it is, and why, is told where they are taken apart.
        await entries_of(reader, where, arguments, limit + 1, offset)
        raise
    return ShownAudit(
        items=page.items[:limit],
        total=min(total, count_limit),
        total_is_exact=total <= count_limit,
        next_before=page.last if len(page.items) > limit else None,
    )
