"""Observations of a device, and its branch in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from domain.decisions import (
    confirmed,
    created,
)
from domain.device import (
    AlreadyRecorded,
    Confirms,
    DeviceState,
    History,
    IsNew,
    classify,
    evolve,
    needs_history,
)
from domain.envelope import NewEvent, StoredEvent
from domain.events import (
    ContentRef,
    decode_event,
    encode_event,
)
from domain.ids import snapshot_id
from domain.observation import Observation

DAY = datetime(2025, 1, 1, tzinfo=UTC)
CONTENT = ContentRef(sequence=1, commitment="00" * 32)


def at(hour: int) -> datetime:
    return DAY + timedelta(hours=hour)


def seen(
    configuration: str,
    hour: int,
    *,
    text: str = "",
    canonical: str = "routeros/1",
    platform: str = "routeros",
) -> Any:
    """An observation of a configuration (a letter) at an hour, in a text of its own or not."""
    name = f"{configuration}{text}@{hour}{canonical}"
    return Observation(
        observation_id=name.encode().hex().rjust(32, "0")[-32:],
        tenant_id="acme",
        device_id="edge1",
        collected_at=at(hour),
        fingerprint=f"fingerprint of {configuration}",
        text_fingerprint=f"fingerprint of {configuration}{text}",
        canonical=canonical,
        size_bytes=10,
        line_count=1,
        platform=platform,
        os_version=None,
        source="scheduled",
        completeness="complete",
    )


class Device:
    """A device's branch in memory: decisions appended, state folded."""

    def __init__(self) -> None:
        self.events: list[StoredEvent] = []
        self.state = DeviceState()

    def append(self, new: NewEvent) -> StoredEvent:
        stored = StoredEvent(
            position=len(self.events) * 3 + 1,
            version=len(self.events) + 1,
            stored_at=DAY,
            event_id=new.event_id,
            tenant_id=new.tenant_id,
            device_id=new.device_id,
            occurred_at=new.occurred_at,
            event=decode_event(encode_event(new.event)),
        )
        self.events.append(stored)
        self.state = evolve(self.state, stored)
        return stored

    def observe(self, observation: Observation) -> StoredEvent | None:
        history = History.of(self.events) if needs_history(self.state, observation) else None
        match classify(self.state, observation, history):
            case Confirms() as verdict:
                return self.append(confirmed(observation, verdict))
            case IsNew() as verdict:
                return self.append(created(observation, verdict, CONTENT))
            case AlreadyRecorded():
                return None

    def observed(self, *observations: Observation) -> list[Any]:
        return [stored.event if stored else None for stored in map(self.observe, observations)]

    @property
    def current(self) -> str | None:
        return self.state.current.ref.snapshot_id if self.state.current else None


def of(observation: Observation) -> str:
    return snapshot_id(observation.observation_id)
