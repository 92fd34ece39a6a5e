"""What an inventory would change, before anything is: the difference to what is registered, or all
that is wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from adapters.collecting.credentials import unfit_for_collectors
from adapters.collecting.registered import Inventory
from adapters.resolving import addresses_of
from domain.collecting import says_the_same
from domain.events import DeviceConfigured, GivenSettings
from domain.fields import Problem
from domain.groups import group_branch
from domain.inventory import Entry, InventoryRefused, Judged, jump_problems

_AT_ONCE = 64
_UNREAD = "is registered by an event that can't be read"


class Plan(Struct, frozen=True, kw_only=True):
    """What an inventory changes. `absent` are registered devices that it does not name; where it
    has groups, `unused_groups` are registered ones that neither it nor a device of it names."""

    added: tuple[Entry, ...]
    changed: tuple[Entry, ...]
    unchanged: int
    absent: tuple[str, ...]
    groups: tuple[tuple[str, GivenSettings], ...] = ()
    unused_groups: tuple[str, ...] = ()


def plan_of(
    registered: Inventory,
    entries: Sequence[Entry],
    groups: Mapping[str, GivenSettings] | None = None,
    *,
    prune: bool = False,
    kept: Collection[str] = (),
) -> Plan:
    """The difference between what is registered and the entries, with the groups that come along.
    `prune`: registered devices that are no entries are to go, but for those that are `kept`.

    Raises `InventoryRefused` when a device leads nowhere with what its group is registered to give,
    and where something hangs on an event that can't be read.
    """
    now = {**registered.groups, **(groups or {})}
    entries = [one.within(now) for one in entries]
    there = {one.device_id for one in entries}
    told = registered.told
    known = [one for one in entries if one.device_id in told]
    changed = [one for one in known if not _is_so(told[one.device_id], one)]
    in_use = {one.settings.group for one in entries}
    in_use |= {told[one].settings.group for one in kept if one in told}
    plan = Plan(
        added=tuple(one for one in entries if one.device_id not in told),
        changed=tuple(changed),
        unchanged=len(known) - len(changed),
        absent=tuple(sorted(told.keys() - there - set(kept))),
        groups=tuple(
            (name, given)
            for name, given in (groups or {}).items()
            if registered.groups.get(name) != given
        ),
        unused_groups=tuple(registered.groups.keys() - groups.keys() - in_use) if groups else (),
    )
    staying = _without(registered, plan.absent) if prune else registered
    problems = [
        Problem(f"group {name}", "name", _unread(registered, group_branch(name)))
        for name in groups or {}
        if group_branch(name) in registered.left_out
    ]
    problems += _led_astray(staying, entries)
    if prune:
        problems += _stranded(staying, there, plan)
    if problems:
        raise InventoryRefused(problems)
    return plan


def _without(registered: Inventory, going: Collection[str]) -> Inventory:
    """What is registered, without the devices that go."""
    left, waiting = (
        {name: told for name, told in each.items() if name not in going}
        for each in (registered.devices, registered.waiting)
    )
    return replace(registered, devices=left, waiting=waiting)


def _stranded(staying: Inventory, there: Collection[str], plan: Plan) -> list[Problem]:
    """The problems of devices that stay, and are no entries: those that would lose their jump host,
    and those that may, or their group, since it can't be told."""
    going = frozenset(plan.absent)
    problems = [
        Problem(
            f"device {name}",
            "jump",
            f"is reached through {jump}, which would go: give it another jump host first",
        )
        for name, jump in staying.known("jump").items()
        if jump in going and name not in there
    ]
    unread = staying.unread("jump") if going else {}
    unread |= staying.unread_devices if plan.unused_groups else {}
    problems += [
        Problem(
            f"device {name}",
            "event",
            f"whether it needs what would go (--prune) can't be told: {why}",
        )
        for name, why in unread.items()
        if name not in there
    ]
    return problems


def refuse_if_led_astray(registered: Inventory, entries: Sequence[Entry]) -> None:
    """Raise `InventoryRefused` when entries are reached through devices that are neither among them
    nor registered, or through themselves, or hang on an event that can't be read."""
    problems = _led_astray(registered, entries)
    if problems:
        raise InventoryRefused(problems)


def _led_astray(registered: Inventory, entries: Sequence[Entry]) -> list[Problem]:
    there = {one.device_id for one in entries}
    unread = registered.unread()
    problems = []
    for one in entries:
        group, jump = group_branch(one.settings.group or ""), one.settings.jump
        if one.device_id in registered.left_out:
            problems.append(Problem(one.where, "name", _unread(registered, one.device_id)))
        if group in registered.left_out:
            problems.append(Problem(one.where, "group", _unread(registered, group)))
        if jump in unread and jump not in there:
            problems.append(Problem(one.where, "jump", f"{_UNREAD}: {unread[jump]}"))
    others = [
        Entry(name, settings, f"device {name}")
        for name, settings in registered.settings().items()
        if name not in there
    ]
    places = {one.where for one in entries}
    known = there | registered.devices.keys() | unread.keys()
    jumps = jump_problems([*entries, *others], known)
    return problems + [one for one in jumps if one.where in places]


def _unread(registered: Inventory, branch: str) -> str:
    return f"{_UNREAD}: {registered.left_out[branch]}"


def _is_so(told: DeviceConfigured, entry: Entry) -> bool:
    """Whether a device is registered as an entry has it."""
    return says_the_same(
        told,
        replace(told, settings=entry.settings, own=entry.own, fallback=entry.fallback),
    )


async def resolvable_entries(judged: Judged) -> list[Entry]:
    """The entries, when there is no problem with any, nor with finding out where they are, and
    collectors may have their credentials.

    Raises `InventoryRefused` with every problem, and every entry whose addresses are all unknown,
    also of those that have another problem.

    Those behind a jump host are left out: their names may only be known there.
    """
    turns = asyncio.Semaphore(_AT_ONCE)

    async def resolvable(address: str) -> bool:
        async with turns:
            try:
                return bool(await addresses_of(address))
            except (OSError, UnicodeError):
                return False

    told = {(one.where, one.field) for one in judged.problems}
    entries = [*judged.entries, *judged.spoilt]
    direct = [
        one for one in entries if one.settings.jump is None and (one.where, "address") not in told
    ]
    names = sorted({name for one in direct for name in one.settings.addresses})
    found = dict(zip(names, await asyncio.gather(*map(resolvable, names)), strict=True))
    problems = list(judged.problems)
    problems += [
        Problem(one.where, "credential", unfit)
        for one in entries
        if (unfit := unfit_for_collectors(one.settings.credential)) is not None
    ]
    problems += [
        Problem(one.where, "address", "can't be resolved")
        for one in direct
        if one.settings.addresses and not any(found[name] for name in one.settings.addresses)
    ]
    if problems:
        raise InventoryRefused(problems)
    return judged.entries
