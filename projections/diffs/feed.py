"""What changed across a tenant's devices, newest first.

A page looks at a bounded number of changes, whatever is filtered for: it may be short, or empty,
and still have more behind it.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from projections.diffs.history import SHOWN, HistoryEntry, entry_of
from projections.diffs.queries import touches
from projections.rows import NEWEST, Place, Reader

# So many changes are looked at for one page that filters by what changed.
SCANNED = 1_000


class FeedFilter(Struct, frozen=True, kw_only=True):
    """Which changes; None does not restrict. `since` ≤ time < `until`; `section`: this one or one
    below it; `risk`: with this tag."""

    device_id: str | None = None
    section: str | None = None
    risk: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class FeedPage(Struct, frozen=True, kw_only=True):
    """Changes, newest first. `next_before` is where the next page begins, None on the last one."""

    changes: tuple[HistoryEntry, ...]
    next_before: Place | None


# What the device had before a change.
_BEFORE = """
        SELECT o.snapshot_id FROM configtrail.observations o
        WHERE o.tenant_id = $1 AND o.device_id = {0}.device_id
          AND (o.collected_at, o.position) < ({0}.collected_at, {0}.position)
        ORDER BY o.collected_at DESC, o.position DESC LIMIT 1
"""

# Each step is for one change by its key (LIMIT 1): else the planner might read whole tables. Most
# of what is looked at is often filtered out, and all but two of the steps come after that.
FEED = f"""
    WITH looked_at AS MATERIALIZED (
        SELECT o.device_id, o.snapshot_id, o.collected_at, o.position
        FROM configtrail.observations o
        WHERE o.tenant_id = $1 AND o.starts_run
          AND ($2::text IS NULL OR o.device_id = $2)
          AND o.collected_at >= coalesce($3::timestamptz, '-infinity')
          AND o.collected_at < coalesce($4::timestamptz, 'infinity')
          AND (o.collected_at, o.position) < ($5, $6)
        ORDER BY o.collected_at DESC, o.position DESC LIMIT $7
    ),
    scanned AS MATERIALIZED (
        SELECT * FROM looked_at
        WHERE ($9::text IS NULL OR (
                  SELECT {touches("$9")} FROM configtrail.diffs d
                  WHERE d.tenant_id = $1 AND d.device_id = looked_at.device_id
                    AND d.to_snapshot_id = looked_at.snapshot_id
                    AND d.from_snapshot_id = ({_BEFORE.format("looked_at")})))
          AND ($10::jsonb IS NULL OR (
                  SELECT d.summaries @> $10 FROM configtrail.diffs d
                  WHERE d.tenant_id = $1 AND d.device_id = looked_at.device_id
                    AND d.to_snapshot_id = looked_at.snapshot_id
                    AND d.from_snapshot_id = ({_BEFORE.format("looked_at")})))
        ORDER BY collected_at DESC, position DESC LIMIT $8
    )
    SELECT scanned.device_id, scanned.snapshot_id, before.snapshot_id AS previous_snapshot_id,
           scanned.collected_at, after.collected_at AS valid_until, scanned.position AS place,
           scanned.collected_at > s.first_seen AS returned, (
               SELECT p.completeness FROM configtrail.snapshots p
               WHERE p.tenant_id = $1 AND p.device_id = scanned.device_id
                 AND p.snapshot_id = before.snapshot_id
           ) AS previous_completeness,
           t.actor AS asked_by, {SHOWN}
    FROM scanned
    CROSS JOIN LATERAL (
        SELECT * FROM configtrail.snapshots s
        WHERE s.tenant_id = $1 AND s.device_id = scanned.device_id
          AND s.snapshot_id = scanned.snapshot_id LIMIT 1
    ) s
    LEFT JOIN LATERAL (
        {_BEFORE.format("scanned")}
    ) before ON true
    LEFT JOIN LATERAL (
        SELECT o.collected_at FROM configtrail.observations o
        WHERE o.tenant_id = $1 AND o.device_id = scanned.device_id AND o.starts_run
          AND (o.collected_at, o.position) > (scanned.collected_at, scanned.position)
        ORDER BY o.collected_at, o.position LIMIT 1
    ) after ON true
    LEFT JOIN configtrail.triggers t
      ON t.tenant_id = $1 AND t.device_id = scanned.device_id AND t.trigger_id = s.trigger_id
    LEFT JOIN LATERAL (
        SELECT * FROM configtrail.diffs d
        WHERE d.tenant_id = $1 AND d.device_id = scanned.device_id
          AND d.to_snapshot_id = scanned.snapshot_id AND d.from_snapshot_id = before.snapshot_id
        LIMIT 1
    ) d ON true
    ORDER BY scanned.collected_at DESC, scanned.position DESC
"""

# The last of those that a page looks at: where the next one goes on when this one stays short.
LAST_SCANNED = """
    SELECT collected_at, position FROM configtrail.observations o
    WHERE o.tenant_id = $1 AND o.starts_run
      AND ($2::text IS NULL OR o.device_id = $2)
      AND o.collected_at >= coalesce($3::timestamptz, '-infinity')
      AND o.collected_at < coalesce($4::timestamptz, 'infinity')
      AND (o.collected_at, o.position) < ($5, $6)
    ORDER BY o.collected_at DESC, o.position DESC OFFSET $7 LIMIT 1
"""


async def change_feed(
    reader: Reader,
    tenant_id: str,
    wanted: FeedFilter,
    *,
    limit: int = 50,
    before: Place | None = None,
    scan: int = SCANNED,
) -> FeedPage:
    """A page of what changed, first configurations of devices included (where the filter allows).

    Late arrivals stand in their place in time: a reader who follows should use the live events.
    """
    filtered = wanted.section is not None or wanted.risk is not None
    looked_at = max(scan, limit + 1) if filtered else limit + 1
    key = (tenant_id, wanted.device_id, wanted.since, wanted.until, *(before or NEWEST))
    risk = None if wanted.risk is None else [{"risks": [wanted.risk]}]
    records = await reader.fetch(FEED, *key, looked_at, limit + 1, wanted.section, risk)
    changes = tuple([entry_of(one) for one in records[:limit]])
    if len(records) > limit:
        last = changes[-1]
        return FeedPage(changes=changes, next_before=(last.collected_at, last.place))
    if not filtered:
        return FeedPage(changes=changes, next_before=None)
    ended = await reader.fetchrow(LAST_SCANNED, *key, looked_at - 1)
    return FeedPage(
        changes=changes,
        next_before=None if ended is None else (ended["collected_at"], ended["position"]),
    )
