"""Groups of devices: what a group gives its devices, and where a device's settings come from.

A group is told on a branch of its own, which no device can have. The device's own settings stand
before its group's, those before what its file says for all its devices, and those before ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec

from domain.device import DeviceState
from domain.envelope import NewEvent, new_event
from domain.errors import InvalidInput
from domain.events import (
    DeviceConfigured,
    DeviceSettings,
    GivenSettings,
    GroupConfigured,
    GroupRemoved,
)

GIVEN: Final = GivenSettings.__struct_fields__
NOTHING: Final = GivenSettings()
GROUP_MAX: Final = 100
_BRANCH: Final = " group "


def group_branch(group: str) -> str:
    """Where a group's events stand, in place of a device."""
    return _BRANCH + group


def group_of(branch: str) -> str | None:
    """The group whose events stand there; None when they are of something else."""
    return branch.removeprefix(_BRANCH) if branch.startswith(_BRANCH) else None


def check_group(group: str) -> str:
    """`group`, or `InvalidInput` when no group can have this name."""
    if not group or len(group) > GROUP_MAX or not group.isprintable() or group != group.strip():
        raise InvalidInput(
            "group", f"must be 1 to {GROUP_MAX} printable characters, without spaces at its ends"
        )
    return group


def effective(
    addresses: tuple[str, ...], group: str | None, layers: Iterable[GivenSettings | None]
) -> DeviceSettings:
    """What the layers come to: of each setting that counts which the first of them gives."""
    found: dict[str, object] = {}
    for layer in layers:
        for name, value in msgspec.structs.asdict(layer).items() if layer is not None else ():
            if value is not None:
                found.setdefault(name, value)
    return msgspec.convert({**found, "addresses": addresses, "group": group}, DeviceSettings)


def settings_now(told: DeviceConfigured, group: GivenSettings | None) -> DeviceSettings:
    """A device's settings with what its group gives now."""
    if told.own is None:
        return told.settings
    settings = told.settings
    return effective(settings.addresses, settings.group, (told.own, group, told.fallback))


def origins(told: DeviceConfigured, group: GivenSettings | None) -> dict[str, str]:
    """Where each setting comes from: `device`, `group`, `file` or `default`."""
    if told.own is None:
        return dict.fromkeys(GIVEN, "device")
    layers = (("device", told.own), ("group", group), ("file", told.fallback))
    return {
        name: next(
            (
                origin
                for origin, layer in layers
                if layer is not None and getattr(layer, name) is not None
            ),
            "default",
        )
        for name in GIVEN
    }


def changed_by(
    before: GivenSettings, change: GivenSettings, without: Iterable[str]
) -> GivenSettings:
    """What a group gives after a change: what is new, and what stays, less those `without`."""
    kept = {
        name: value
        for name, value in msgspec.structs.asdict(before).items()
        if name not in frozenset(without)
    }
    new = {
        name: value for name, value in msgspec.structs.asdict(change).items() if value is not None
    }
    return GivenSettings(**{**kept, **new})


def group_configured(
    state: DeviceState,
    tenant_id: str,
    group: str,
    *,
    change_id: str,
    actor: str,
    occurred_at: datetime,
    defaults: GivenSettings,
    origin: str | None,
    reason: str | None,
) -> NewEvent | None:
    """A group gives its devices this from now on; None when it does already."""
    if state.group == defaults:
        return None
    event = GroupConfigured(
        actor=actor,
        change_id=change_id,
        group=group,
        defaults=defaults,
        origin=origin,
        reason=reason,
    )
    return new_event(tenant_id, group_branch(group), f"group.{change_id}", occurred_at, event)


def group_removed(
    state: DeviceState,
    tenant_id: str,
    group: str,
    *,
    change_id: str,
    actor: str,
    occurred_at: datetime,
    reason: str | None,
) -> NewEvent | None:
    """A group gives nothing any more; None when there is none."""
    if state.group is None:
        return None
    event = GroupRemoved(actor=actor, change_id=change_id, group=group, reason=reason)
    removed = f"group-removed.{change_id}"
    return new_event(tenant_id, group_branch(group), removed, occurred_at, event)
