"""An entry of the audit trail, as it is shown."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from adapters.shapes.out import Out
from projections.audit import AuditEntry


class AuditOut(Out):
    """One event. `position` is its place in the stream, where anybody can look it up."""

    id: str
    position: int
    actor: str
    action: str
    resource_type: str
    resource_id: str
    device_id: str
    details: dict[str, Any]
    created_at: datetime
    recorded_at: datetime
    correlation_id: str | None
    causation_id: str | None


def audit_out(entry: AuditEntry) -> AuditOut:
    """An entry as it is answered."""
    return AuditOut(
        id=entry.event_id,
        position=entry.position,
        actor=entry.actor,
        action=entry.action,
        resource_type=entry.resource_type,
        resource_id=entry.resource_id,
        device_id=entry.device_id,
        details=entry.details,
        created_at=entry.occurred_at,
        recorded_at=entry.stored_at,
        correlation_id=entry.correlation_id,
        causation_id=entry.causation_id,
    )
