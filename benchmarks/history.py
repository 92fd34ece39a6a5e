"""A made-up history of any length: the events of a fleet, generated fast.

The mix is that of scheduled backups: most readings confirm what is known, some show a change, which
has its difference; now and then somebody asks for a backup, or a device can't be read.
"""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from domain.envelope import StoredEvent
from domain.events import (
    CollectionFailed,
    ContentRef,
    DiffGenerated,
    DomainEvent,
    DuplicateSkipped,
    ManualBackupFinished,
    ManualBackupTriggered,
    SectionChange,
    SnapshotCreated,
    SnapshotRef,
)

TENANT = "acme"
START = datetime(2026, 1, 5, 6, tzinfo=UTC)
_SECTIONS = ("/ip firewall filter", "/ip address", "/system identity", "/interface vlan")


class _Device:
    """One device, as far as its next event depends on it."""

    def __init__(self, name: str, choice: random.Random) -> None:
        self.name = name
        self.version = 0
        self.current: SnapshotRef | None = None
        self.due: list[DomainEvent] = []
        self._choice = choice

    def next(self, number: int, now: datetime) -> DomainEvent:
        """What happens next. `number` is unique in the history."""
        if self.due:
            return self.due.pop(0)
        draw = self._choice.random()
        if self.current is None or draw < 0.2:
            return self._changed(number, now)
        if draw < 0.94:
            return DuplicateSkipped(
                actor="system:recorder",
                observation_id=_digest(number)[:32],
                snapshot_id=self.current.snapshot_id,
                text_fingerprint=_digest(number, "text"),
                collected_at=now,
                source="scheduled",
            )
        if draw < 0.98:
            trigger = f"trigger-{number}"
            finished = ManualBackupFinished(
                actor="system:trigger",
                trigger_id=trigger,
                outcome="duplicate",
                message="nothing changed",
                snapshot_id=self.current.snapshot_id,
            )
            self.due.append(finished)
            return ManualBackupTriggered(
                actor=self._choice.choice(("user:ann", "user:bo")), trigger_id=trigger
            )
        return CollectionFailed(
            actor="system:recorder",
            failure_id=str(number),
            kind="timeout",
            message="nobody answers",
            attempted_at=now,
            source="scheduled",
        )

    def _changed(self, number: int, now: datetime) -> SnapshotCreated:
        before = self.current
        content = ContentRef(sequence=number, commitment=_digest(number, "content"))
        self.current = SnapshotRef(
            snapshot_id=str(uuid.UUID(hex=_digest(number)[:32])), content=content
        )
        if before is not None:
            names = self._choice.sample(_SECTIONS, 2)
            difference = DiffGenerated(
                actor="system:differ",
                from_snapshot_id=before.snapshot_id,
                to_snapshot_id=self.current.snapshot_id,
                lines_added=4,
                lines_removed=2,
                content=ContentRef(sequence=number, commitment=_digest(number, "diff")),
                sections=tuple(SectionChange(section=one, added=2, removed=1) for one in names),
            )
            self.due.append(difference)
        return SnapshotCreated(
            actor="system:recorder",
            observation_id=_digest(number)[:32],
            snapshot_id=self.current.snapshot_id,
            fingerprint=_digest(number, "canonical"),
            text_fingerprint=_digest(number, "text"),
            canonical="routeros/1",
            content=content,
            size_bytes=30_000,
            line_count=800,
            collected_at=now,
            platform="routeros",
            source="scheduled",
            completeness="complete",
            os_version="7.15.3",
            predecessor=before,
        )


def history(count: int, *, devices: int = 1_000, seed: int = 1) -> Iterator[StoredEvent]:
    """`count` events from position 1 on, of so many devices; equal for equal arguments."""
    choice = random.Random(seed)
    fleet = [_Device(f"router-{number:05d}", choice) for number in range(devices)]
    for position in range(1, count + 1):
        device = choice.choice(fleet)
        now = START + timedelta(seconds=position)
        event = device.next(position, now)
        device.version += 1
        yield StoredEvent(
            position=position,
            version=device.version,
            stored_at=now,
            event_id=f"event.{position}",
            tenant_id=TENANT,
            device_id=device.name,
            occurred_at=now,
            event=event,
            correlation_id=getattr(event, "trigger_id", None),
        )


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
