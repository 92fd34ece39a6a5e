"""Which snapshots' texts there are to look through, in an order that a search can go on in."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from projections.backups.queries import SNAPSHOT, SNAPSHOTS, Snapshot, snapshot_of
from projections.rows import Reader

# A device, and in it a snapshot's time and position.
TextPlace: TypeAlias = tuple[str, datetime, int]

CURRENT = f"""
    SELECT {SNAPSHOT}
    FROM configtrail.devices d
    JOIN configtrail.snapshots s
      ON s.tenant_id = d.tenant_id AND s.device_id = d.device_id
     AND s.snapshot_id = d.current_snapshot_id
    WHERE d.tenant_id = $1 AND ($2::text IS NULL OR d.device_id = $2)
      AND d.device_id > coalesce($3, '')
    ORDER BY d.device_id LIMIT $4
"""

EVERY = f"""
    SELECT {SNAPSHOT} {SNAPSHOTS}
    WHERE s.tenant_id = $1 AND ($2::text IS NULL OR s.device_id = $2)
      AND (s.device_id, s.collected_at, s.position)
          > (coalesce($3, ''), coalesce($4::timestamptz, '-infinity'), coalesce($5::bigint, 0))
    ORDER BY s.device_id, s.collected_at, s.position LIMIT $6
"""


async def texts_after(
    reader: Reader,
    tenant_id: str,
    device_id: str | None,
    place: TextPlace | None,
    *,
    past: bool,
    limit: int,
) -> list[Snapshot]:
    """Snapshots behind a place, by device and time; only the current ones unless `past`."""
    device, time, position = place or (None, None, None)
    if past:
        found = await reader.fetch(EVERY, tenant_id, device_id, device, time, position, limit)
    else:
        found = await reader.fetch(CURRENT, tenant_id, device_id, device, limit)
    return [snapshot_of(one) for one in found]
