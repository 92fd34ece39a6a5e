"""Pages of the audit trail as the API shows them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import DecodeError, Struct
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
    BETWEEN_SQL,
    Page,
    fetch_page,
    json_object,
    number,
    or_null,
    page_in,
    page_of,
    text,
    time,
)

# What stands between a page's entries is in no JSON: where it is, nothing is shown, and refused.
_DETAILS_SQL = f"CASE strpos(details, {BETWEEN_SQL}) WHEN 0 THEN details END"

ENTRY = json_object(
    {
        "id": text("event_id"),
        "position": number("position"),
        "actor": text("actor"),
        "action": text("action"),
        "resource_type": text("resource_type"),
        "resource_id": text("resource_id"),
        "device_id": text("device_id"),
        "details": number(_DETAILS_SQL),
        "created_at": time("occurred_at"),
        "recorded_at": time("stored_at"),
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


class _Details(Struct, gc=False):
    """An object of JSON, whatever is in it."""


_DETAILS: Decoder[_Details] = Decoder(_Details)
# Within text that is shown as JSON no quote stands by itself: these are found nowhere else.
_BEFORE_DETAILS = ',"details":'
_BEHIND_DETAILS = ',"created_at":'
# Of the years 1 to 9999, as other answers have them: Postgres has others, before and after.
_TIME = r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?Z"'
_TIMES = re.compile(rf'{_TIME},"recorded_at":{_TIME},').match


SHOWN_NEWEST = page_of(
    "audit",
    ENTRY,
    f"FROM configtrail.audit WHERE tenant_id = $1 {NEWEST_FIRST} LIMIT $2::int + 1 OFFSET $3",
    takes=("text", "bigint", "bigint"),
    limit="$2::int",
    place={"position": "bigint"},
)
QUESTIONS = (SHOWN_NEWEST,)


async def shown_newest(
    reader: Reader, tenant_id: str, *, limit: int, offset: int, count_limit: int = COUNT_LIMIT
) -> ShownAudit:
    """As `shown_audit` without a filter, of a tenant known to have more entries than the bound."""
    page = await fetch_page(reader, SHOWN_NEWEST, tenant_id, limit, offset)
    await _check(page, reader, "WHERE tenant_id = $1", [tenant_id], limit, offset)
    return ShownAudit(
        items=page.items[:limit],
        total=count_limit,
        total_is_exact=False,
        next_before=page.last if len(page.items) > limit else None,
    )


async def _check(
    page: Page, reader: Reader, where: str, arguments: Sequence[object], limit: int, offset: int
) -> None:
    """Raises `RowUnreadable` unless all entries may be shown as they are."""
    try:
        for one in page.items:
            ended = one.rfind(_BEHIND_DETAILS)
            # All of them: an object with something behind it would pass for more fields of the row.
            _DETAILS.decode(one[one.find(_BEFORE_DETAILS) + len(_BEFORE_DETAILS) : ended])
            if not _TIMES(one, ended + len(_BEHIND_DETAILS)):
                raise DecodeError("no time of these years")
    except (DecodeError, RecursionError):
        # Which row it is, and why, is told where they are taken apart.
        await entries_of(reader, where, arguments, limit + 1, offset)
        raise


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
    question = page_of("audit", ENTRY, found, takes=(), limit=bound, place={"position": "bigint"})
    page = page_in(await reader.fetchrow(question.statement, *arguments, limit, offset))
    await _check(page, reader, where, arguments, limit, offset)
    return ShownAudit(
        items=page.items[:limit],
        total=min(total, count_limit),
        total_is_exact=total <= count_limit,
        next_before=page.last if len(page.items) > limit else None,
    )
