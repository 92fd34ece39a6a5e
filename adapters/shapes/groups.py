"""A group of devices, and a stored credential, as they are shown."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from adapters.collecting.registered import Inventory
from adapters.shapes.out import Out


class GroupOut(Out):
    """A group: what it gives (settings as a device has them, only those that are given), and the
    devices in it."""

    group: str
    defaults: dict[str, Any]
    devices: list[str]


class CredentialOut(Out):
    """A stored credential: never what it is. `place` is `store`, or the reference that it stands
    for; `devices` are those that use it. Without `set_at` it was set before that was recorded."""

    name: str
    place: str | None
    holds: list[str]
    set_at: datetime | None
    set_by: str | None
    devices: list[str]


def group_out(name: str, inventory: Inventory) -> GroupOut:
    """A group as the API shows it."""
    defaults = msgspec.to_builtins(inventory.groups[name])
    return GroupOut(group=name, defaults=defaults, devices=inventory.members(name))
