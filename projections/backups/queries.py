"""Questions to the read model `backups`. Every one is asked for one tenant."""

from __future__ import annotations

from datetime import datetime

import asyncpg
from msgspec import Struct
from msgspec.json import Decoder

from domain.errors import NotFound
from domain.events import Attribution, BackupOutcome, Completeness, Source
from projections.rows import NEWEST, Place, Reader, in_order, struct, structs

_ATTRIBUTION = Decoder(Attribution)


class Device(Struct, frozen=True, gc=False):
    """A device, as far as it was ever heard of.

    `first_seen`, `last_seen`: the oldest and newest observation; `last_changed`: since when the
    current configuration holds. All None when it was never read. `confirmations` counts the
    observations that changed nothing.
    """

    tenant_id: str
    device_id: str
    platform: str | None
    os_version: str | None
    first_seen: datetime | None
    last_seen: datetime | None
    last_changed: datetime | None
    current_snapshot_id: str | None
    snapshots: int
    confirmations: int
    last_failure_at: datetime | None
    last_failure_kind: str | None
    last_failure_message: str | None
    last_position: int

    @property
    def failing(self) -> bool:
        """Whether its newest reading failed."""
        if self.last_failure_at is None:
            return False
        return self.last_seen is None or self.last_failure_at > self.last_seen


class Snapshot(Struct, frozen=True, gc=False):
    """A recorded configuration. `first_seen`, `last_confirmed`: its oldest and newest observation;
    between them another one may have held, when that one arrived late. `text_gone`: expired or
    shredded, as the event at `text_gone_position` says; None while the text is kept. `of_device`:
    how many snapshots the device has."""

    tenant_id: str
    device_id: str
    snapshot_id: str
    version: int
    position: int
    collected_at: datetime
    first_seen: datetime
    last_confirmed: datetime
    confirmations: int
    fingerprint: str
    text_fingerprint: str
    commitment: str
    canonical: str
    content_sequence: int
    size_bytes: int
    line_count: int
    platform: str
    os_version: str | None
    source: Source
    completeness: Completeness
    late: bool
    predecessor_id: str | None
    successor_id: str | None
    trigger_id: str | None
    actor: str
    text_gone: str | None
    text_gone_position: int | None
    is_current: bool
    of_device: int
    warnings: tuple[str, ...]
    changed_by: Attribution | None


class Trigger(Struct, frozen=True, kw_only=True):
    """A manual backup; `outcome` and `finished_at` are None while it is open."""

    tenant_id: str
    device_id: str
    trigger_id: str
    actor: str
    asked_at: datetime
    finished_at: datetime | None
    outcome: BackupOutcome | None
    message: str | None
    snapshot_id: str | None


class TenantStats(Struct, frozen=True, kw_only=True):
    """A tenant in numbers. `failing` devices are those whose newest reading failed, and that were
    not taken out of the inventory since."""

    devices: int
    snapshots: int
    confirmations: int
    failing: int
    newest: datetime | None


_DEVICE = """
    tenant_id, device_id, platform, os_version, first_seen, last_seen, last_changed,
    current_snapshot_id, snapshots, confirmations,
    last_failure_at, last_failure_kind, last_failure_message, last_position
"""

SNAPSHOT = """
    s.tenant_id, s.device_id, s.snapshot_id, s.version, s.position, s.collected_at, s.first_seen,
    s.last_confirmed, s.confirmations, s.fingerprint, s.text_fingerprint, s.commitment,
    s.canonical, s.content_sequence, s.size_bytes, s.line_count, s.platform, s.os_version,
    s.source, s.completeness, s.late, s.predecessor_id, s.successor_id, s.trigger_id, s.actor,
    s.text_gone, s.text_gone_position,
    s.snapshot_id IS NOT DISTINCT FROM d.current_snapshot_id AS is_current,
    d.snapshots AS of_device, s.warnings, s.changed_by::text AS changed_by
"""

SNAPSHOTS = """
    FROM configtrail.snapshots s
    JOIN configtrail.devices d ON d.tenant_id = s.tenant_id AND d.device_id = s.device_id
"""

# The devices of a tenant whose id contains a text and that nobody read since a moment.
_DEVICES_WHERE = """
    WHERE tenant_id = $1
      AND ($2::text IS NULL OR strpos(lower(device_id), lower($2)) > 0)
      AND ($3::timestamptz IS NULL OR last_seen IS NULL OR last_seen < $3)
"""

# A page of them, by their ids.
FIND_DEVICES = f"""
    FROM configtrail.devices {_DEVICES_WHERE}
      AND ($6::text IS NULL OR device_id > $6)
    ORDER BY device_id LIMIT {{}} OFFSET $5
"""

LIST_DEVICES = f"SELECT {_DEVICE} {FIND_DEVICES.format('$4')}"

COUNT_DEVICES = f"SELECT count(*) FROM configtrail.devices {_DEVICES_WHERE}"

GET_DEVICE = f"SELECT {_DEVICE} FROM configtrail.devices WHERE tenant_id = $1 AND device_id = $2"

# A page of a device's snapshots, newest first.
FIND_SNAPSHOTS = f"""
    {SNAPSHOTS}
    WHERE s.tenant_id = $1 AND s.device_id = $2
      AND (s.collected_at, s.position) < ($5, $6)
    ORDER BY s.collected_at DESC, s.position DESC LIMIT {{}} OFFSET $4
"""

LIST_SNAPSHOTS = f"SELECT {SNAPSHOT} {FIND_SNAPSHOTS.format('$3')}"

GET_SNAPSHOT = f"""
    SELECT {SNAPSHOT} {SNAPSHOTS}
    WHERE s.tenant_id = $1 AND s.device_id = $2 AND s.snapshot_id = $3
"""

_TRIGGER = """
    tenant_id, device_id, trigger_id, actor, asked_at, finished_at, outcome, message, snapshot_id
"""

GET_TRIGGER = f"""
    SELECT {_TRIGGER} FROM configtrail.triggers
    WHERE tenant_id = $1 AND device_id = $2 AND trigger_id = $3
"""

# Manual backups that were asked for before a moment and have no end yet, oldest first.
OPEN_TRIGGERS = f"""
    SELECT {_TRIGGER} FROM configtrail.triggers
    WHERE tenant_id = $1 AND outcome IS NULL AND asked_at < $2
    ORDER BY asked_at, device_id, trigger_id
"""

STATS = """
    SELECT count(*) AS devices,
           coalesce(sum(snapshots), 0)::bigint AS snapshots,
           coalesce(sum(confirmations), 0)::bigint AS confirmations,
           count(*) FILTER (
               WHERE last_failure_at > coalesce(last_seen, '-infinity')
           ) AS failing,
           max(last_seen) AS newest
    FROM configtrail.devices WHERE tenant_id = $1
"""


async def list_devices(
    reader: Reader,
    tenant_id: str,
    *,
    limit: int = 100,
    offset: int = 0,
    search: str | None = None,
    not_seen_since: datetime | None = None,
    after: str | None = None,
) -> list[Device]:
    """Devices by id. `search`: a part of the id, in any case; `not_seen_since`: only those without
    an observation from that moment on; `after`: only those behind that id."""
    return in_order(
        Device,
        await reader.fetch(LIST_DEVICES, tenant_id, search, not_seen_since, limit, offset, after),
    )


async def count_devices(
    reader: Reader,
    tenant_id: str,
    *,
    search: str | None = None,
    not_seen_since: datetime | None = None,
) -> int:
    """How many devices `list_devices` can list."""
    count: int = await reader.fetchval(COUNT_DEVICES, tenant_id, search, not_seen_since)
    return count


async def get_device(reader: Reader, tenant_id: str, device_id: str) -> Device | None:
    """One device."""
    return struct(Device, await reader.fetchrow(GET_DEVICE, tenant_id, device_id))


async def require_device(reader: Reader, tenant_id: str, device_id: str) -> Device:
    """One device, or `NotFound`."""
    found = await get_device(reader, tenant_id, device_id)
    if found is None:
        raise NotFound("device", device_id)
    return found


async def list_snapshots(
    reader: Reader,
    tenant_id: str,
    device_id: str,
    *,
    limit: int = 100,
    offset: int = 0,
    before: Place | None = None,
) -> list[Snapshot]:
    """The device's snapshots by collection time, newest first. In all: `Device.snapshots`."""
    place = before or NEWEST
    found = await reader.fetch(LIST_SNAPSHOTS, tenant_id, device_id, limit, offset, *place)
    return [snapshot_of(one) for one in found]


async def get_snapshot(
    reader: Reader, tenant_id: str, device_id: str, snapshot_id: str
) -> Snapshot | None:
    """One snapshot of the device."""
    found = await reader.fetchrow(GET_SNAPSHOT, tenant_id, device_id, snapshot_id)
    return None if found is None else snapshot_of(found)


def snapshot_of(record: asyncpg.Record) -> Snapshot:
    """The snapshot in a record, whose columns are in the order of the fields."""
    *own, warnings, changed_by = record
    fields = [*own, tuple(warnings), attribution_of(changed_by)]
    return Snapshot(*fields)


def attribution_of(text: str | None) -> Attribution | None:
    """Who made a change, from the JSON of a column."""
    return None if text is None else _ATTRIBUTION.decode(text)


async def get_trigger(
    reader: Reader, tenant_id: str, device_id: str, trigger_id: str
) -> Trigger | None:
    """One manual backup."""
    return struct(Trigger, await reader.fetchrow(GET_TRIGGER, tenant_id, device_id, trigger_id))


async def open_triggers(reader: Reader, tenant_id: str, older_than: datetime) -> list[Trigger]:
    """Manual backups asked for before `older_than` that have no end yet, oldest first."""
    return structs(Trigger, await reader.fetch(OPEN_TRIGGERS, tenant_id, older_than))


async def stats(reader: Reader, tenant_id: str) -> TenantStats:
    """The tenant in numbers."""
    found = struct(TenantStats, await reader.fetchrow(STATS, tenant_id))
    assert found is not None
    return found
