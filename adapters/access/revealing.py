"""Showing secrets: recorded before the text leaves, or it does not leave."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from adapters.roles.devices import DeviceRepository
from domain.access import Principal
from domain.device import DeviceState
from domain.envelope import NewEvent
from domain.granting import content_revealed


async def record_reveal(
    devices: DeviceRepository,
    tenant_id: str,
    device_id: str,
    snapshot_id: str,
    *,
    principal: Principal,
    remote_address: str | None,
    from_snapshot_id: str | None = None,
    reason: str | None = None,
) -> None:
    """Record that a text is about to be shown as it is. Returns when that is durable; raises what
    the event store raises, and then nothing may be shown."""
    event = content_revealed(
        tenant_id,
        device_id,
        reveal_id=str(uuid.uuid4()),
        snapshot_id=snapshot_id,
        from_snapshot_id=from_snapshot_id,
        actor=principal.actor,
        occurred_at=datetime.now(UTC),
        key_id=principal.key_id,
        remote_address=remote_address,
        reason=reason,
    )

    def decide(state: DeviceState) -> NewEvent:
        return event

    await devices.record(tenant_id, device_id, decide)
