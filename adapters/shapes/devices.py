"""A device and its state, as it is shown."""

from __future__ import annotations

from datetime import datetime

from adapters.shapes.out import Out
from projections import backups


class DeviceOut(Out):
    """A device; `first_seen` and the other times are None when it was never read."""

    device_id: str
    platform: str | None
    os_version: str | None
    first_seen: datetime | None
    last_seen: datetime | None
    last_changed: datetime | None
    current_snapshot_id: str | None
    snapshots: int
    confirmations: int
    failing: bool
    last_failure_at: datetime | None
    last_failure_kind: str | None
    last_failure_message: str | None


def device_out(device: backups.Device) -> DeviceOut:
    """A device's row as it is answered."""
    return DeviceOut(
        device_id=device.device_id,
        platform=device.platform,
        os_version=device.os_version,
        first_seen=device.first_seen,
        last_seen=device.last_seen,
        last_changed=device.last_changed,
        current_snapshot_id=device.current_snapshot_id,
        snapshots=device.snapshots,
        confirmations=device.confirmations,
        failing=device.failing,
        last_failure_at=device.last_failure_at,
        last_failure_kind=device.last_failure_kind,
        last_failure_message=device.last_failure_message,
    )
