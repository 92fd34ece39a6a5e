"""What an inventory would change, before anything is: the difference to what is registered, or all
that is wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from adapters.collecting.credentials import unfit_for_collectors
from adapters.collecting.grouping import named
from adapters.collecting.registered import Inventory
from domain.collecting import says_the_same
from domain.errors import InvalidInput
from domain.events import DeviceConfigured, GivenSettings
from domain.fields import Problem
from domain.inventory import Entry, InventoryRefused, Judged, jump_problems

_AT_ONCE = 64


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

    Raises `InventoryRefused` when a device leads nowhere with what its group is registered to give.
    """
    now = {**registered.groups, **(groups or {})}
    entries = [one.within(now) for one in entries]
    there = {one.device_id for one in entries}
    staying = _without(registered, there.union(kept)) if prune else registered
    refuse_if_led_astray(staying, entries)
    if prune:
        _refuse_if_stranded(staying, there)
    in_use = {one.settings.group for one in entries}
    in_use |= {registered.devices[one].settings.group for one in kept if one in registered.devices}
    known = [one for one in entries if one.device_id in registered.devices]
    changed = [one for one in known if not _is_so(registered.devices[one.device_id], one)]
    return Plan(
        added=tuple(one for one in entries if one.device_id not in registered.devices),
        changed=tuple(changed),
        unchanged=len(known) - len(changed),
        absent=tuple(sorted(registered.devices.keys() - there - set(kept))),
        groups=tuple(
            (name, given)
            for name, given in (groups or {}).items()
            if registered.groups.get(name) != given
        ),
        unused_groups=tuple(registered.groups.keys() - groups.keys() - in_use) if groups else (),
    )


def _without(registered: Inventory, staying: Collection[str]) -> Inventory:
    """What is registered, without the devices that go."""
    left = {name: told for name, told in registered.devices.items() if name in staying}
    return Inventory(left, registered.groups)


def _refuse_if_stranded(staying: Inventory, there: Collection[str]) -> None:
    """Raise `InventoryRefused` when devices that stay, and are no entries, lose their jump host."""
    problems = [
        Problem(
            f"device {name}",
            "jump",
            f"is reached through {settings.jump}, which would go: give it another jump host first",
        )
        for name, settings in staying.settings().items()
        if settings.jump is not None
        and name not in there
        and settings.jump not in staying.devices.keys() | there
    ]
    if problems:
        raise InventoryRefused(problems)


def refuse_if_led_astray(registered: Inventory, entries: Sequence[Entry]) -> None:
    """Raise `InventoryRefused` when entries are reached through devices that are neither among them
    nor registered, or through themselves."""
    there = {one.device_id for one in entries}
    others = [
        Entry(name, settings, f"device {name}")
        for name, settings in registered.settings().items()
        if name not in there
    ]
    places = {one.where for one in entries}
    known = there | registered.devices.keys()
    problems = [one for one in jump_problems([*entries, *others], known) if one.where in places]
    if problems:
        raise InventoryRefused(problems)


def refuse_if_jumped_over(inventory: Inventory, device_id: str) -> None:
    """Raise `InvalidInput` while devices are reached through one: they could not be read."""
    over = [name for name, one in inventory.settings().items() if one.jump == device_id]
    if over:
        rule = f"others are reached through it: {named(over)}; give them another jump host first"
        raise InvalidInput("device", rule)


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
    loop = asyncio.get_running_loop()

    async def resolvable(address: str) -> bool:
        async with turns:
            try:
                return bool(await loop.getaddrinfo(address, None))
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
