"""Pages of devices and of snapshots as the API shows them."""

from __future__ import annotations

from datetime import datetime

from projections.backups.queries import COUNT_DEVICES, FIND_DEVICES, FIND_SNAPSHOTS
from projections.rows import NEWEST, Place, Reader
from projections.shown import (
    Page,
    boolean,
    event_time,
    fetch_page,
    json_object,
    number,
    or_null,
    page_in,
    page_of,
    text,
    time,
)


def _time_of(moment: str) -> str:
    """A snapshot's time, which is mostly that of its collection."""
    made = event_time(f"s.{moment}")
    return f"""
        CASE WHEN s.{moment} = s.collected_at THEN s.shown_at
             ELSE '{made.before}' || ({made.expression}) || '{made.after}' END
    """


# What stands ready, and between that what may change.
SNAPSHOT = f"""
    '{{"id":' || to_json(s.snapshot_id)::text
    || ',"device_id":' || (SELECT to_json($2::text)::text)
    || ',"collected_at":' || s.shown_at
    || ',"first_seen":' || {_time_of("first_seen")}
    || ',"last_confirmed":' || {_time_of("last_confirmed")}
    || ',"confirmations":' || s.confirmations || ',' || s.listed_middle
    || CASE WHEN s.snapshot_id IS NOT DISTINCT FROM d.current_snapshot_id
            THEN ',"is_current":true,' ELSE ',"is_current":false,' END
    || s.listed_end || ',"text_gone":'
    || CASE WHEN s.text_gone IS NULL THEN 'null' ELSE to_json(s.text_gone)::text END || '}}'
"""

SHOWN_SNAPSHOTS = page_of(
    "snapshots",
    SNAPSHOT,
    FIND_SNAPSHOTS.format("$3::int + 1"),
    takes=("text", "text", "bigint", "bigint", "timestamptz", "bigint"),
    limit="$3::int",
    place={"s.collected_at": "timestamptz", "s.position": "bigint"},
    total="d.snapshots",
)

DEVICE = json_object(
    {
        "device_id": text("device_id"),
        "platform": or_null(text("platform")),
        "os_version": or_null(text("os_version")),
        "first_seen": or_null(time("first_seen")),
        "last_seen": or_null(time("last_seen")),
        "last_changed": or_null(time("last_changed")),
        "current_snapshot_id": or_null(text("current_snapshot_id")),
        "snapshots": number("snapshots"),
        "confirmations": number("confirmations"),
        "failing": boolean("coalesce(last_failure_at > coalesce(last_seen, '-infinity'), false)"),
        "last_failure_at": or_null(time("last_failure_at")),
        "last_failure_kind": or_null(text("last_failure_kind")),
        "last_failure_message": or_null(text("last_failure_message")),
    }
)


_OF_TENANT = "FROM configtrail.devices WHERE tenant_id = $1"


# Where nothing is filtered, the server need not read a device's row to count it.
SHOWN_DEVICES = page_of(
    "devices",
    DEVICE,
    f"{_OF_TENANT} AND device_id > $4 ORDER BY device_id LIMIT $2::int + 1 OFFSET $3",
    takes=("text", "bigint", "bigint", "text"),
    limit="$2::int",
    place={"device_id": "text"},
    in_all=f"(SELECT count(*) {_OF_TENANT})",
)
SHOWN_FILTERED_DEVICES = page_of(
    "filtered_devices",
    DEVICE,
    FIND_DEVICES.format("$4::int + 1"),
    takes=("text", "text", "timestamptz", "bigint", "bigint", "text"),
    limit="$4::int",
    place={"device_id": "text"},
    in_all=f"({COUNT_DEVICES})",
)
QUESTIONS = (SHOWN_SNAPSHOTS, SHOWN_DEVICES)


async def shown_devices(
    reader: Reader,
    tenant_id: str,
    *,
    limit: int,
    offset: int = 0,
    search: str | None = None,
    not_seen_since: datetime | None = None,
    after: str | None = None,
) -> Page:
    """As `list_devices`; the total is what `count_devices` tells."""
    if search is None and not_seen_since is None:
        return await fetch_page(reader, SHOWN_DEVICES, tenant_id, limit, offset, after or "")
    # How that is best found depends on what is asked for.
    filters = (tenant_id, search, not_seen_since)
    statement = SHOWN_FILTERED_DEVICES.statement
    return page_in(await reader.fetchrow(statement, *filters, limit, offset, after))


async def shown_snapshots(
    reader: Reader,
    tenant_id: str,
    device_id: str,
    *,
    limit: int,
    offset: int = 0,
    before: Place | None = None,
) -> Page:
    """As `list_snapshots`; in all there are as many as the page's total, which an empty page does
    not tell."""
    place = before or NEWEST
    return await fetch_page(reader, SHOWN_SNAPSHOTS, tenant_id, device_id, limit, offset, *place)
