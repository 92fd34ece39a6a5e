"""The rules of an inventory: rows of raw fields become entries, or all their mistakes are told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import ConfigtrailError, InvalidInput
from domain.events import DeviceSettings, GivenSettings
from domain.fields import Problem, addresses_of, check_names, given_of
from domain.groups import NOTHING, check_group, effective
from domain.ids import check_device_id

_TOLD_MOST: Final = 50


class InventoryRefused(ConfigtrailError):
    """An inventory breaks rules, and nothing of it was taken. `problems` are all of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        told = [f"{one.where}: {one.field}: {one.rule}" for one in problems[:_TOLD_MOST]]
        if len(problems) > len(told):
            told.append(f"and {len(problems) - len(told)} more")
        super().__init__("\n  ".join(("the inventory is refused, and nothing was done:", *told)))
        self.problems = tuple(problems)


class Row(Struct, frozen=True):
    """A device as an inventory has it: raw fields, and where it stands. `fallback` is what the
    inventory says for all its devices. `broken`: but for its name its fields can't be judged."""

    where: str
    fields: Mapping[str, str]
    fallback: GivenSettings | None = None
    broken: bool = False


class Entry(Struct, frozen=True):
    """A device of an inventory that keeps the rules. `settings` is what `own`, its group and
    `fallback` come to."""

    device_id: str
    settings: DeviceSettings
    where: str
    own: GivenSettings = NOTHING
    fallback: GivenSettings | None = None

    def within(self, groups: Mapping[str, GivenSettings]) -> Entry:
        """The same with what these groups give."""
        here = self.settings
        layers = (self.own, groups.get(here.group or ""), self.fallback)
        return replace(self, settings=effective(here.addresses, here.group, layers))


class Judged(Struct, frozen=True):
    """The entries that keep the rules, and all problems of the others. `groups` are those that the
    inventory itself has; None: it says nothing of groups. `spoilt` are the others, without what
    breaks a rule: nobody may use them, but they may have more mistakes."""

    entries: list[Entry]
    problems: list[Problem]
    groups: Mapping[str, GivenSettings] | None = None
    spoilt: Sequence[Entry] = ()


def entries_of(
    rows: Iterable[Row],
    platforms: Sequence[str],
    problems: Sequence[Problem] = (),
    known: Collection[str] = (),
) -> list[Entry]:
    """The entries of all rows. Raises `InventoryRefused` with every problem, also the given ones.

    `platforms` are those that can be read; `known` are devices elsewhere that may be jumped over.
    """
    judged = judge(rows, platforms, problems, known)
    if judged.problems:
        raise InventoryRefused(judged.problems)
    return judged.entries


def judge(
    rows: Iterable[Row],
    platforms: Sequence[str],
    problems: Sequence[Problem] = (),
    known: Collection[str] = (),
    groups: Mapping[str, GivenSettings] | None = None,
) -> Judged:
    """As `entries_of`, for who has more to check: what keeps the rules, and what breaks them.
    `groups` are those of the inventory itself."""
    rows = list(rows)
    sound: list[Entry] = []
    spoilt: list[Entry] = []
    told = list(problems)
    for row in rows:
        if row.broken:
            continue
        before = len(told)
        entry = _entry(row, platforms, told).within(groups or {})
        (sound if len(told) == before else spoilt).append(entry)
    told += _doubles(rows)
    told += jump_problems([*sound, *spoilt], {_name(row) for row in rows} | set(known))
    return Judged(sound, told, groups, spoilt)


def jump_problems(found: Sequence[Entry], known: Collection[str]) -> list[Problem]:
    """The problems of ways over other devices: those that are unknown, those that lead back."""
    entries = {entry.device_id: entry for entry in found}
    told = []
    for entry in found:
        passed = {entry.device_id}
        at: Entry | None = entry
        while at is not None and at.settings.jump is not None:
            over = at.settings.jump
            if over in passed:
                told.append(Problem(entry.where, "jump", "leads back to the device itself"))
                break
            if over not in known:
                told.append(Problem(at.where, "jump", "must name a device of this inventory"))
                break
            passed.add(over)
            at = entries.get(over)
    return list(dict.fromkeys(told))


def _entry(row: Row, platforms: Sequence[str], told: list[Problem]) -> Entry:
    """The row as far as it keeps the rules; what breaks one is told."""
    name = _name(row)
    try:
        check_device_id(name)
    except InvalidInput as error:
        told.append(Problem(row.where, "name", error.rule))
    told += check_names(row.fields, row.where)
    addresses = addresses_of(row.fields, row.where, told)
    own = given_of(row.fields, platforms, row.where, told)
    group = row.fields.get("group", "").strip() or None
    if group is not None:
        try:
            check_group(group)
        except InvalidInput as error:
            told.append(Problem(row.where, "group", error.rule))
    settings = effective(addresses, group, (own, row.fallback))
    return Entry(name, settings, row.where, own, row.fallback)


def _doubles(rows: Sequence[Row]) -> list[Problem]:
    first: dict[str, Row] = {}
    told = []
    for row in rows:
        name = _name(row)
        before = first.setdefault(name, row) if name else row
        if before is not row:
            told.append(Problem(row.where, "name", f"is that of {before.where} too"))
    return told


def _name(row: Row) -> str:
    return row.fields.get("name", "").strip()
