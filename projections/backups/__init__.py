"""Read model `backups`: devices, their snapshots, every observation, manual backups."""

from projections.backups.over_time import Validity, snapshot_at, validity
from projections.backups.queries import (
    Device,
    Snapshot,
    TenantStats,
    Trigger,
    count_devices,
    get_device,
    get_snapshot,
    get_trigger,
    list_devices,
    list_snapshots,
    open_triggers,
    require_device,
    stats,
)
from projections.backups.shown import shown_devices, shown_snapshots
from projections.backups.texts import TextPlace, texts_after

__all__ = [
    "Device",
    "Snapshot",
    "TenantStats",
    "TextPlace",
    "Trigger",
    "Validity",
    "count_devices",
    "get_device",
    "get_snapshot",
    "get_trigger",
    "list_devices",
    "list_snapshots",
    "open_triggers",
    "require_device",
    "shown_devices",
    "shown_snapshots",
    "snapshot_at",
    "stats",
    "texts_after",
    "validity",
]
