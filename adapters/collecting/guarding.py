"""What is asked before something of the inventory is removed: is it in use? Where that can't be
told, since events can't be read, it may be."""

from __future__ import annotations

from adapters.collecting.grouping import named
from adapters.collecting.registered import Inventory
from domain.credentials import reference_to
from domain.errors import EventsUnread, InvalidInput


def refuse_if_in_use(inventory: Inventory, group: str) -> None:
    """Raise `InvalidInput` while a group has devices: they would lose what it gives them; and
    `EventsUnread` while that can't be told."""
    members = inventory.members(group)
    if members:
        raise InvalidInput("group", f"has devices: {named(members)}; move them to another first")
    if inventory.unread_devices:
        what = f"whether devices are in the group {group}"
        raise EventsUnread(what, inventory.unread_devices)


def refuse_if_jumped_over(inventory: Inventory, device_id: str) -> None:
    """Raise `InvalidInput` while devices are reached through one: they could not be read; and
    `EventsUnread` while that can't be told."""
    over = [name for name, jump in inventory.known("jump").items() if jump == device_id]
    if over:
        rule = f"others are reached through it: {named(over)}; give them another jump host first"
        raise InvalidInput("device", rule)
    unread = inventory.unread("jump")
    if unread.keys() - {device_id}:
        raise EventsUnread(f"whether others are reached through {device_id}", unread)


def refuse_if_used(inventory: Inventory, credential: str) -> None:
    """Raise `InvalidInput` while devices use a stored credential; and `EventsUnread` while that
    can't be told."""
    users = inventory.users(reference_to(credential))
    if users:
        rule = f"is used by {named(users)}; give them another one first, or say --force"
        raise InvalidInput("credential", rule)
    unread = inventory.unread("credential")
    if unread:
        what = f"whether devices use {reference_to(credential)}"
        raise EventsUnread(what, unread, ", or say --force")
