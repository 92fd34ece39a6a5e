"""The events about how devices are read: inventory, trust in host keys, failures and their ends.

Each is a decision on the device's state; None means that there is nothing (more) to tell.
`change_id` is the change's own id: the same change taken twice has the same event id.
"""

from __future__ import annotations

from datetime import datetime

from domain.decisions import collection_failed
from domain.device import DeviceState
from domain.envelope import NewEvent, new_event
from domain.events import (
    CollectionRecovered,
    DeviceConfigured,
    DeviceRetired,
    DeviceSettings,
    GivenSettings,
    HostKeyChanged,
    HostKeyPinned,
    HostKeyReleased,
    Source,
)

COLLECTOR = "system:collector"


def configured(
    state: DeviceState,
    tenant_id: str,
    device_id: str,
    *,
    change_id: str,
    actor: str,
    occurred_at: datetime,
    settings: DeviceSettings,
    origin: str | None,
    own: GivenSettings | None = None,
    fallback: GivenSettings | None = None,
) -> NewEvent | None:
    """The inventory has a device, with these settings; None when it has them already."""
    event = DeviceConfigured(
        actor=actor,
        change_id=change_id,
        settings=settings,
        origin=origin,
        own=own,
        fallback=fallback,
    )
    if state.configured is not None and says_the_same(state.configured, event):
        return None
    return new_event(tenant_id, device_id, f"configured.{change_id}", occurred_at, event)


def says_the_same(one: DeviceConfigured, other: DeviceConfigured) -> bool:
    """Whether two say the same of a device. What its group gave when they were told is no part of
    it."""
    if (one.own, one.fallback) != (other.own, other.fallback):
        return False
    if one.own is None:
        return one.settings == other.settings
    return (one.settings.addresses, one.settings.group) == (
        other.settings.addresses,
        other.settings.group,
    )


def retired(
    state: DeviceState,
    tenant_id: str,
    device_id: str,
    *,
    change_id: str,
    actor: str,
    occurred_at: datetime,
    reason: str | None,
) -> NewEvent | None:
    """A device is taken out of the inventory; None when it is not in it."""
    if state.configured is None:
        return None
    event = DeviceRetired(actor=actor, change_id=change_id, reason=reason)
    return new_event(tenant_id, device_id, f"retired.{change_id}", occurred_at, event)


def host_key_shown(
    state: DeviceState,
    tenant_id: str,
    device_id: str,
    *,
    change_id: str,
    occurred_at: datetime,
    algorithm: str,
    public_key: str,
    fingerprint: str,
    address: str,
    registered: bool = False,
) -> NewEvent | None:
    """What a host key means that a device showed: the first is pinned, another one blocks.

    None when it is the pinned one, or the refusal of this one is told already, or of a `registered`
    device that was taken out of the inventory meanwhile.
    """
    if is_gone(state, registered=registered):
        return None
    pinned = state.pinned_key
    expected = pinned.fingerprint if pinned else state.expected_key
    if expected is None or (pinned is None and fingerprint == expected):
        shown = HostKeyPinned(
            actor=COLLECTOR,
            change_id=change_id,
            algorithm=algorithm,
            public_key=public_key,
            fingerprint=fingerprint,
            address=address,
        )
        return new_event(tenant_id, device_id, f"pinned.{change_id}", occurred_at, shown)
    refused = state.refused_key
    if fingerprint == expected or (refused is not None and refused.fingerprint == fingerprint):
        return None
    changed = HostKeyChanged(
        actor=COLLECTOR,
        change_id=change_id,
        algorithm=algorithm,
        fingerprint=fingerprint,
        pinned_fingerprint=expected,
        address=address,
    )
    return new_event(tenant_id, device_id, f"key-changed.{change_id}", occurred_at, changed)


def host_key_released(
    state: DeviceState,
    tenant_id: str,
    device_id: str,
    *,
    change_id: str,
    actor: str,
    occurred_at: datetime,
    reason: str,
    expected_fingerprint: str | None,
) -> NewEvent | None:
    """A person releases the pinned key; None when none is pinned, refused or expected."""
    if state.pinned_key is None and state.refused_key is None and state.expected_key is None:
        return None
    event = HostKeyReleased(
        actor=actor, change_id=change_id, reason=reason, expected_fingerprint=expected_fingerprint
    )
    return new_event(tenant_id, device_id, f"key-released.{change_id}", occurred_at, event)


def failure_told(
    state: DeviceState,
    tenant_id: str,
    device_id: str,
    *,
    failure_id: str,
    kind: str,
    message: str,
    attempted_at: datetime,
    source: Source,
    attempt: int,
    trigger_id: str | None,
    registered: bool,
) -> NewEvent | None:
    """A reading failed; None when a failure of this kind was told since one went well, or when a
    `registered` device (that was read since the inventory has it) was taken out meanwhile: nothing
    would ever end the failure."""
    if kind in state.failing_kinds or is_gone(state, registered=registered):
        return None
    return collection_failed(
        tenant_id,
        device_id,
        failure_id=failure_id,
        kind=kind,
        message=message,
        attempted_at=attempted_at,
        source=source,
        attempt=attempt,
        trigger_id=trigger_id,
        actor=COLLECTOR,
    )


def is_gone(state: DeviceState, *, registered: bool) -> bool:
    """Whether a device that was read since the inventory has it is not in it any more."""
    return registered and state.configured is None


def recovered(
    state: DeviceState,
    tenant_id: str,
    device_id: str,
    *,
    recovery_id: str,
    occurred_at: datetime,
    failures: int,
) -> NewEvent | None:
    """A reading went well; None when no failure is told that it would end."""
    if not state.failing_kinds:
        return None
    event = CollectionRecovered(
        actor=COLLECTOR, recovery_id=recovery_id, kind=state.failing_kinds[-1], failures=failures
    )
    return new_event(tenant_id, device_id, f"recovered.{recovery_id}", occurred_at, event)
