"""What events mean for the read model `backups`: pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias, assert_never

from msgspec import Struct, field

from domain.envelope import StoredEvent
from domain.events import (
    NO_DEVICE_EVENTS,
    AccessKeyCreated,
    AccessKeyRevoked,
    AccessRefused,
    CollectionFailed,
    CollectionRecovered,
    ContentExpired,
    ContentRevealed,
    ContentShredded,
    CredentialRemoved,
    CredentialSet,
    DeviceConfigured,
    DeviceRetired,
    DiffGenerated,
    DuplicateSkipped,
    EventSkipped,
    GroupConfigured,
    GroupRemoved,
    HostKeyChanged,
    HostKeyPinned,
    HostKeyReleased,
    LegalHoldPlaced,
    LegalHoldReleased,
    ManualBackupFinished,
    ManualBackupTriggered,
    RetentionPolicySet,
    SnapshotCreated,
    SnapshotRecanonicalised,
)
from domain.ids import TENANT_BRANCH
from projections.rows import storable, storable_or_none
from projections.words import Difference, difference_of

DeviceKey: TypeAlias = tuple[str, str]
# Tenant, device, and the id of a snapshot or a trigger.
Key: TypeAlias = tuple[str, str, str]


class Sightings(Struct):
    """Confirmations of one snapshot; `position` is the first one's."""

    position: int
    oldest: datetime
    newest: datetime
    count: int = 0


class NewSnapshot(Struct):
    """A snapshot that the batch creates, with what the batch confirms and tells of it."""

    stored: StoredEvent
    event: SnapshotCreated
    sightings: Sightings
    difference: Difference | None = None


class DeviceChange(Struct):
    """What the batch says of one device. `current` is a snapshot that became the current one."""

    last_position: int = 0
    snapshots: int = 0
    confirmations: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    current: SnapshotCreated | None = None
    failure: CollectionFailed | None = None


class Finish(Struct, frozen=True):
    """The end of a manual backup."""

    at: datetime
    outcome: str
    message: str | None
    snapshot_id: str | None


class BackupOps(Struct):
    """What a batch does to the tables.

    `observations` are rows, of which those in `late` may stand between others: there, runs begin
    anew. `sightings` and `differences` are of snapshots that were created before the batch, of
    differences the newest to each. `gone` are texts that are
    not kept any more: of a snapshot or, without one, of all before a position, and how they went.
    Failures of `retired` devices from before are over; those in `devices` are from after that.
    """

    devices: dict[DeviceKey, DeviceChange] = field(default_factory=dict)
    snapshots: dict[Key, NewSnapshot] = field(default_factory=dict)
    sightings: dict[Key, Sightings] = field(default_factory=dict)
    differences: dict[Key, Difference] = field(default_factory=dict)
    observations: list[tuple[str, str, datetime, int, str, bool]] = field(default_factory=list)
    late: list[tuple[str, str, datetime, int]] = field(default_factory=list)
    asked: dict[Key, tuple[str, datetime]] = field(default_factory=dict)
    finished: dict[Key, Finish] = field(default_factory=dict)
    gone: list[tuple[str, str, str | None, int, str]] = field(default_factory=list)
    retired: set[DeviceKey] = field(default_factory=set)


def fold(batch: Sequence[StoredEvent]) -> BackupOps:
    """What the batch does to the tables."""
    ops = BackupOps()
    for stored in batch:
        if isinstance(stored.event, NO_DEVICE_EVENTS):
            continue  # of no device
        if stored.device_id == TENANT_BRANCH:
            continue  # what is told of a tenant as a whole is no device
        key = (stored.tenant_id, stored.device_id)
        device = ops.devices.get(key)
        if device is None:
            device = ops.devices[key] = DeviceChange()
        device.last_position = stored.position
        match stored.event:
            case SnapshotCreated() as event:
                _created(ops, device, stored, event)
            case DuplicateSkipped() as event:
                _confirmed(ops, device, stored, event)
            case ManualBackupTriggered() as event:
                # Should an id be used twice, the first one counts.
                asked = (storable(event.actor), stored.occurred_at)
                ops.asked.setdefault((*key, event.trigger_id), asked)
            case ManualBackupFinished() as event:
                finish = Finish(
                    stored.occurred_at,
                    event.outcome,
                    storable_or_none(event.message),
                    event.snapshot_id,
                )
                ops.finished.setdefault((*key, event.trigger_id), finish)
            case CollectionFailed() as event:
                # At the same time the one recorded later is the newest.
                if device.failure is None or event.attempted_at >= device.failure.attempted_at:
                    device.failure = event
            case DeviceRetired():
                # Nobody reads it any more, so nothing would ever end its failure.
                device.failure = None
                ops.retired.add(key)
            case ContentExpired() as event:
                ops.gone.append((*key, event.snapshot_id, stored.position, "expired"))
            case ContentShredded():
                ops.gone.append((*key, None, stored.position, "shredded"))
            case DiffGenerated() as event:
                _told(ops, key, event)
            case (
                EventSkipped()
                | SnapshotRecanonicalised()
                | CollectionRecovered()
                | DeviceConfigured()
                | GroupConfigured()
                | GroupRemoved()
                | CredentialSet()
                | CredentialRemoved()
                | HostKeyPinned()
                | HostKeyChanged()
                | HostKeyReleased()
                | ContentRevealed()
                | AccessKeyCreated()
                | AccessKeyRevoked()
                | AccessRefused()
                | RetentionPolicySet()
                | LegalHoldPlaced()
                | LegalHoldReleased()
            ):
                pass
            case _:
                assert_never(stored.event)
    return ops


def _created(
    ops: BackupOps, device: DeviceChange, stored: StoredEvent, event: SnapshotCreated
) -> None:
    device.snapshots += 1
    # One with a successor came late and never was the current one.
    late = event.successor is not None
    if not late:
        device.current = event
    seen = Sightings(stored.position, event.collected_at, event.collected_at)
    key = (stored.tenant_id, stored.device_id, event.snapshot_id)
    ops.snapshots[key] = NewSnapshot(stored, event, seen)
    _observed(ops, device, stored, event, starts_run=True, late=late)


def _confirmed(
    ops: BackupOps, device: DeviceChange, stored: StoredEvent, event: DuplicateSkipped
) -> None:
    device.confirmations += 1
    key = (stored.tenant_id, stored.device_id, event.snapshot_id)
    moment = event.collected_at
    new = ops.snapshots.get(key)
    seen = new.sightings if new is not None else ops.sightings.get(key)
    if seen is None:
        seen = ops.sightings[key] = Sightings(stored.position, moment, moment)
    seen.count += 1
    seen.oldest = min(seen.oldest, moment)
    seen.newest = max(seen.newest, moment)
    _observed(ops, device, stored, event, starts_run=False, late=event.late)


def _told(ops: BackupOps, device: DeviceKey, event: DiffGenerated) -> None:
    key = (*device, event.to_snapshot_id)
    difference = difference_of(event)
    new = ops.snapshots.get(key)
    if new is None:
        ops.differences[key] = difference
    else:
        new.difference = difference


def _observed(
    ops: BackupOps,
    device: DeviceChange,
    stored: StoredEvent,
    event: SnapshotCreated | DuplicateSkipped,
    *,
    starts_run: bool,
    late: bool,
) -> None:
    moment = event.collected_at
    device.oldest = moment if device.oldest is None else min(device.oldest, moment)
    device.newest = moment if device.newest is None else max(device.newest, moment)
    place = (stored.tenant_id, stored.device_id, moment, stored.position)
    ops.observations.append((*place, event.snapshot_id, starts_run))
    if late:
        ops.late.append(place)
