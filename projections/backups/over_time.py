"""What a device had when: the snapshot at a moment, and how long each one held."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from projections.backups.queries import SNAPSHOT, SNAPSHOTS, Snapshot, snapshot_of
from projections.rows import NEWEST, Place, Reader, in_order


class Validity(Struct, frozen=True, gc=False):
    """A stretch of time in which every observation showed the same snapshot.

    It begins with the first of them; `confirmed_until` is the last of them, `valid_until` the first
    observation of something else (None: it still holds). `position` is that of the first one.
    """

    snapshot_id: str
    valid_from: datetime
    confirmed_until: datetime
    valid_until: datetime | None
    position: int


# What the newest observation at or before a moment showed; the later recorded one of two at the
# same time.
SNAPSHOT_AT = f"""
    SELECT {SNAPSHOT} {SNAPSHOTS}
    WHERE s.tenant_id = $1 AND s.device_id = $2 AND s.snapshot_id = (
        SELECT o.snapshot_id FROM configtrail.observations o
        WHERE o.tenant_id = $1 AND o.device_id = $2 AND o.collected_at <= $3
        ORDER BY o.collected_at DESC, o.position DESC LIMIT 1
    )
"""

# Runs of observations of the same snapshot, newest first, each with the start of the next one and
# its own last observation: both by one step in an index, whatever the length of the history. The
# one that holds at the place, the last one of the page before, is not listed again: a late arrival
# may have it begin before the place. None is left out of the first page.
VALIDITY = f"""
    SELECT run.snapshot_id, run.valid_from, last.confirmed_until, run.valid_until, run.position
    FROM (
        SELECT snapshot_id, collected_at AS valid_from, position,
               lag(collected_at) OVER newest_first AS valid_until,
               lag(collected_at, 1, 'infinity') OVER newest_first AS next_at,
               lag(position, 1, 0::bigint) OVER newest_first AS next_position
        FROM configtrail.observations
        WHERE tenant_id = $1 AND device_id = $2 AND starts_run
          AND (collected_at, position) <= ($5, $6)
        WINDOW newest_first AS (ORDER BY collected_at DESC, position DESC)
    ) run
    CROSS JOIN LATERAL (
        SELECT o.collected_at AS confirmed_until FROM configtrail.observations o
        WHERE o.tenant_id = $1 AND o.device_id = $2
          AND (o.collected_at, o.position) < (run.next_at, run.next_position)
        ORDER BY o.collected_at DESC, o.position DESC LIMIT 1
    ) last
    WHERE run.valid_until IS NOT NULL OR $6 = {NEWEST[1]}
    ORDER BY run.valid_from DESC, run.position DESC LIMIT $3 OFFSET $4
"""


async def snapshot_at(
    reader: Reader, tenant_id: str, device_id: str, moment: datetime
) -> Snapshot | None:
    """The snapshot that held at a moment; None before the device was first read."""
    found = await reader.fetchrow(SNAPSHOT_AT, tenant_id, device_id, moment)
    return None if found is None else snapshot_of(found)


async def validity(
    reader: Reader,
    tenant_id: str,
    device_id: str,
    *,
    limit: int = 100,
    offset: int = 0,
    before: Place | None = None,
) -> list[Validity]:
    """When which snapshot held, newest first. A late one in the middle of A shows A, L, A.

    `before`: only those behind the stretch that began at this place.
    """
    place = before or NEWEST
    return in_order(
        Validity, await reader.fetch(VALIDITY, tenant_id, device_id, limit, offset, *place)
    )
