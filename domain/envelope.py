"""What travels around an event: identity, place in history, time and causes."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from domain.events import DomainEvent


class NewEvent(Struct, frozen=True, kw_only=True):
    """An event on its way to the store.

    `event_id` is deterministic: the same decision taken twice has the same id.
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


class Head(Struct, frozen=True):
    """Where a device's branch ends: its last version, and that event's position (0, 0: empty)."""

    version: int = 0
    position: int = 0


class StreamIdentity(Struct, frozen=True):
    """Which stream: a recreated one has the same name and another creation time."""

    name: str
    created: datetime
