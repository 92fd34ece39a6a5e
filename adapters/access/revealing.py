"""Showing secrets: recorded before the text leaves, or it does not leave."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Protocol

from domain.access import Principal
from domain.envelope import Head, NewEvent
from domain.errors import (
    AppendConflict,
    MalformedEvent,
    StreamGap,
    Unavailable,
    UnknownEventType,
)
from domain.granting import content_revealed
from domain.ports import EventStore

# How often it is tried to record what others' events come before.
TRIES = 20


class BranchEnds(Protocol):
    """Tells where devices' branches end."""

    async def branch_head(self, tenant_id: str, device_id: str) -> Head:
        """Where a device's branch ends, whether its events can be decoded or not."""
        ...


async def record_reveal(
    events: EventStore,
    ends: BranchEnds,
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

    await _append_last(events, ends, event)


async def _append_last(events: EventStore, ends: BranchEnds, event: NewEvent) -> None:
    """Append what needs no state of its device: that would need all its events, of which one may be
    such as can't be read."""
    for _ in range(TRIES):
        end = await ends.branch_head(event.tenant_id, event.device_id)
        try:
            await events.append(event, end)
        except (AppendConflict, MalformedEvent, UnknownEventType, StreamGap):
            continue  # something came first, readable or not
        return
    raise Unavailable(
        f"the history of device {event.device_id}",
        f"it was tried {TRIES} times to record that a text is shown, and others always wrote first",
    )
