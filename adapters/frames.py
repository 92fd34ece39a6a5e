"""What listeners of the live feed are told of an event: all of it, or its outline."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from domain.envelope import StoredEvent
from domain.events import (
    CollectionFailed,
    CollectionRecovered,
    ContentExpired,
    ContentShredded,
    DiffGenerated,
    DuplicateSkipped,
    Fact,
    ManualBackupFinished,
    ManualBackupTriggered,
    SnapshotCreated,
    encode_event,
    event_name,
)
from projections.audit.write import ACTIONS, resource_of
from projections.source import Delivered, Unreadable

# What other reads show too: of devices, their configurations and how reading them went.
READABLE: Final[tuple[type[Fact], ...]] = (
    SnapshotCreated,
    DuplicateSkipped,
    DiffGenerated,
    CollectionFailed,
    CollectionRecovered,
    ManualBackupTriggered,
    ManualBackupFinished,
    ContentExpired,
    ContentShredded,
)


class Frame(Struct, frozen=True):
    """An event as listeners get it (JSON, one line). Without a body it only says that there is
    nothing else up to its position."""

    position: int
    body: bytes = b""


def frame_of(event: Delivered) -> Frame:
    """An event as an entry of the audit trail has it, with its type; of one that can't be read,
    what can be said."""
    told: dict[str, object] = {
        "id": event.event_id,
        "position": event.position,
        "device_id": event.device_id,
    }
    if isinstance(event, Unreadable):
        told |= {"type": event.type_name, "details": None}
    else:
        told |= {"type": event_name(event.event), **_about(event), **_entry(event)}
    return Frame(event.position, msgspec.json.encode(told))


def outline_of(event: Delivered) -> Frame | None:
    """That something was recorded, and of what, for whoever may read that but not the audit trail;
    None for what is told there alone."""
    if isinstance(event, Unreadable) or not isinstance(event.event, READABLE):
        return None
    told: dict[str, object] = {
        "position": event.position,
        "device_id": event.device_id,
        "type": event_name(event.event),
        **_about(event),
    }
    return Frame(event.position, msgspec.json.encode(told))


def _about(stored: StoredEvent) -> dict[str, object]:
    resource_type, resource_id = resource_of(stored.event, stored.tenant_id, stored.device_id)
    return {
        "action": ACTIONS[type(stored.event)],
        "resource_type": resource_type,
        "resource_id": resource_id,
        "created_at": stored.occurred_at,
        "recorded_at": stored.stored_at,
    }


def _entry(stored: StoredEvent) -> dict[str, object]:
    return {
        "actor": stored.event.actor,
        "correlation_id": stored.correlation_id,
        "causation_id": stored.causation_id,
        "details": msgspec.Raw(encode_event(stored.event)),
    }
