"""What is asked of a group of devices before it is changed: all that is wrong, or nothing is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters.collecting.credentials import unfit_for_collectors
from adapters.collecting.registered import Inventory
from adapters.ssh.profiles import PLATFORMS
from domain.errors import InvalidInput, NotFound
from domain.events import GivenSettings
from domain.fields import OF_ONE_DEVICE, Problem, check_names, given_of
from domain.groups import changed_by, check_group, group_branch, settings_now
from domain.inventory import Entry, InventoryRefused, jump_problems

_NAMED_MOST = 5
_SETTING_OF = {"interval": "interval_seconds", "timeout": "timeout_seconds"}
_SETTING_OF |= {"secrets": "secret_values"}


def judged_group(
    inventory: Inventory, group: str, fields: Mapping[str, str], *, change: bool
) -> GivenSettings:
    """What a group gives with these fields: alone, or (`change`) beside what it gives already; an
    empty one takes that away. Raises `InventoryRefused` with all that is wrong, and `NotFound` for
    a change of a group that is not there: a slip of the pen is to make none."""
    where = f"group {group}"
    problems = []
    try:
        check_group(group)
    except InvalidInput as error:
        where = "the group"
        problems.append(Problem(where, "name", error.rule))
    problems += check_names(fields, where)
    problems += [
        Problem(where, name, "must stand with a device") for name in OF_ONE_DEVICE if name in fields
    ]
    given = given_of(fields, PLATFORMS, where, problems)
    unfit = unfit_for_collectors(given.credential)
    if unfit is not None:
        problems.append(Problem(where, "credential", unfit))
    if change:
        without = [
            _SETTING_OF.get(name, name) for name, value in fields.items() if not value.strip()
        ]
        given = changed_by(inventory.groups.get(group, GivenSettings()), given, without)
    why = inventory.left_out.get(group_branch(group))
    if why is not None:
        problems.append(Problem(where, "name", f"what it gives now can't be read: {why}"))
    if not problems:
        problems += _led_astray(inventory, group, given)
    if problems:
        raise InventoryRefused(problems)
    if change and group not in inventory.groups:
        raise NotFound("group", group)
    return given


def _led_astray(inventory: Inventory, group: str, given: GivenSettings) -> list[Problem]:
    """The problems of devices that could not be reached any more."""
    if given.jump is None:
        return []
    groups = {**inventory.groups, group: given}
    entries = [
        Entry(name, settings_now(told, groups.get(told.settings.group or "")), f"device {name}")
        for name, told in inventory.devices.items()
    ]
    members = frozenset(f"device {name}" for name in inventory.members(group))
    unread = inventory.unread()
    known = inventory.devices.keys() | unread.keys()
    told = [one for one in jump_problems(entries, known) if one.where in members]
    if given.jump in unread:
        rule = f"names a device whose newest event can't be read: {unread[given.jump]}"
        told.append(Problem(f"group {group}", "jump", rule))
    elif given.jump not in known and not told:
        told.append(Problem(f"group {group}", "jump", "must name a device of this inventory"))
    return told


def named(devices: Sequence[str]) -> str:
    """Some devices by name, and how many more there are."""
    more = f" and {len(devices) - _NAMED_MOST} more" if len(devices) > _NAMED_MOST else ""
    return f"{', '.join(devices[:_NAMED_MOST])}{more}"
