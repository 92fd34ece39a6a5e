"""What travels around an event: identity, place in history, time and causes."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from domain.events import DomainEvent, event_name


class NewEvent(Struct, frozen=True, kw_only=True):
    """An event on its way to the store.

    `event_id` is deterministic and unique in the stream: the same decision taken twice has the
    same id, and no other decision has it.
    `occurred_at` is when it happened, which for observations is their collection time.
    """

    event_id: str
    tenant_id: str
    device_id: str
    occurred_at: datetime
    event: DomainEvent
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None


def new_event(
    tenant_id: str, device_id: str, event_id: str, occurred_at: datetime, event: DomainEvent
) -> NewEvent:
    """An event that nothing led to: it is correlated with no other."""
    return NewEvent(
        event_id=event_id,
        tenant_id=tenant_id,
        device_id=device_id,
        occurred_at=occurred_at,
        event=event,
    )


class StoredEvent(Struct, frozen=True, kw_only=True, gc=False):
    """An event as the stream holds it.

    `position` is its sequence in the stream (1, 2, …, without gaps), `version` its place in the
    device's history (1, 2, …, without gaps), `stored_at` the stream's own time.
    """

    position: int
    version: int
    stored_at: datetime
    event_id: str
    tenant_id: str
    device_id: str
    occurred_at: datetime
    event: DomainEvent
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None

    @property
    def originator_id(self) -> str:
        """The device, as the `eventsourcing` library asks for it."""
        return self.device_id

    @property
    def originator_version(self) -> int:
        """The version in the device's history, as the `eventsourcing` library asks for it."""
        return self.version


def stored_event(event: NewEvent, position: int, version: int, stored_at: datetime) -> StoredEvent:
    """The event as the stream holds it."""
    return StoredEvent(
        position=position,
        version=version,
        stored_at=stored_at,
        event_id=event.event_id,
        tenant_id=event.tenant_id,
        device_id=event.device_id,
        occurred_at=event.occurred_at,
        event=event.event,
        correlation_id=event.correlation_id,
        causation_id=event.causation_id,
        traceparent=event.traceparent,
    )


class Mark(Struct, frozen=True):
    """Which event it is that a reader has come to: what is recorded anew has the same id, and
    another time."""

    event_id: str
    stored_at: datetime


class Selection(Struct, frozen=True, kw_only=True):
    """Which events a reader wants: of a tenant, a device, some types; by default all."""

    tenant_id: str | None = None
    device_id: str | None = None
    types: tuple[str, ...] = ()

    def takes(self, stored: StoredEvent) -> bool:
        """Whether the event is wanted."""
        return (
            self.tenant_id in (None, stored.tenant_id)
            and self.device_id in (None, stored.device_id)
            and (not self.types or event_name(stored.event) in self.types)
        )


class Head(Struct, frozen=True):
    """Where a device's branch ends: its last version, and that event's position (0, 0: empty)."""

    version: int = 0
    position: int = 0


class StreamIdentity(Struct, frozen=True):
    """Which stream: a recreated one has the same name and another creation time."""

    name: str
    created: datetime
