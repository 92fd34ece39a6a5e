"""The events about what is kept: policies, legal holds, expiry, erasure.

Each is a decision on a branch's state: a device's, or that of what is told of a whole tenant. None
means that there is nothing (more) to tell.
"""

from __future__ import annotations

from datetime import datetime

from domain.device import DeviceState
from domain.envelope import NewEvent, new_event
from domain.errors import UnderLegalHold
from domain.events import (
    ContentExpired,
    ContentShredded,
    ErasureScope,
    GoneContent,
    LegalHoldPlaced,
    LegalHoldReleased,
    RetentionPolicy,
    RetentionPolicySet,
)
from domain.ids import TENANT_BRANCH, to_token

KEEPER = "system:retention"


def policy_set(
    state: DeviceState,
    tenant_id: str,
    *,
    change_id: str,
    actor: str,
    occurred_at: datetime,
    policy: RetentionPolicy,
    reason: str | None,
) -> NewEvent | None:
    """Which texts a tenant keeps from now on; None when that is so already."""
    if state.retention == policy:
        return None
    event = RetentionPolicySet(actor=actor, change_id=change_id, policy=policy, reason=reason)
    return new_event(tenant_id, TENANT_BRANCH, f"retention.{change_id}", occurred_at, event)


def hold_placed(
    state: DeviceState,
    tenant_id: str,
    device_id: str,
    *,
    hold_id: str,
    actor: str,
    occurred_at: datetime,
    reason: str,
) -> NewEvent | None:
    """A legal hold on a device or a tenant; None when one of that name is in force."""
    if any(one.hold_id == hold_id for one in state.holds):
        return None
    # A name may be used again after its release, so the place in the history tells them apart.
    event_id = f"hold.{_branch(tenant_id, device_id)}.{hold_id}.{state.head.version + 1}"
    event = LegalHoldPlaced(actor=actor, hold_id=hold_id, reason=reason)
    return new_event(tenant_id, device_id, event_id, occurred_at, event)


def hold_released(
    state: DeviceState,
    tenant_id: str,
    device_id: str,
    *,
    hold_id: str,
    actor: str,
    occurred_at: datetime,
    reason: str,
) -> NewEvent | None:
    """The end of a legal hold; None when none of that name is in force."""
    if all(one.hold_id != hold_id for one in state.holds):
        return None
    event_id = f"release.{_branch(tenant_id, device_id)}.{hold_id}.{state.head.version + 1}"
    event = LegalHoldReleased(actor=actor, hold_id=hold_id, reason=reason)
    return new_event(tenant_id, device_id, event_id, occurred_at, event)


def expired(
    tenant_id: str,
    device_id: str,
    *,
    run_id: str,
    occurred_at: datetime,
    snapshot_id: str,
    contents: tuple[GoneContent, ...],
    reason: str,
) -> NewEvent:
    """A snapshot's text, and the differences that tell of it, are to be removed."""
    event = ContentExpired(
        actor=KEEPER, run_id=run_id, snapshot_id=snapshot_id, contents=contents, reason=reason
    )
    return new_event(tenant_id, device_id, f"expired.{snapshot_id}", occurred_at, event)


def shredded(
    state: DeviceState,
    tenant_id: str,
    device_id: str,
    *,
    erasure_id: str,
    scope: ErasureScope,
    actor: str,
    occurred_at: datetime,
    reason: str,
    content_until: int,
    key_ids: tuple[str, ...],
) -> NewEvent:
    """All texts of a device, or the key of a tenant, are to be destroyed. Raises `UnderLegalHold`
    with a hold on the same branch."""
    refuse_under_hold(f"{tenant_id}/{device_id}", state)
    event = ContentShredded(
        actor=actor,
        erasure_id=erasure_id,
        scope=scope,
        reason=reason,
        content_until=content_until,
        key_ids=key_ids,
    )
    # The era makes it one event however often the same erasure is tried.
    event_id = f"shredded.{_branch(tenant_id, device_id)}.{state.era + 1}"
    return new_event(tenant_id, device_id, event_id, occurred_at, event)


def refuse_under_hold(what: str, state: DeviceState) -> None:
    """Raises `UnderLegalHold` when a hold is in force."""
    for hold in state.holds:
        raise UnderLegalHold(what, hold.hold_id, hold.reason)


def _branch(tenant_id: str, device_id: str) -> str:
    """A branch's name as it can stand in an event's id: ids travel in headers, which are ASCII."""
    return f"{tenant_id}.{to_token(device_id)}"
