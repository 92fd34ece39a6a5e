"""The rules of an inventory: what may stand in it, and what the fields come to.

Every mistake is told, not only the first, with its place; and never quoted, since what stands in
the wrong column may be a password.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from domain.errors import ConfigtrailError, InvalidInput
from domain.events import DeviceSettings
from domain.ids import check_device_id

FIELDS: Final = (
    "name",
    "address",
    "platform",
    "port",
    "username",
    "credential",
    "group",
    "jump",
    "interval",
    "timeout",
    "window",
    "secrets",
    "enabled",
    "history",
    "legacy",
)
JUMP_PLATFORM: Final = "jump"
"""The platform of a host that others are reached through, and that is never read itself."""

_SECRET_FIELDS: Final = frozenset(
    ("password", "passwd", "pass", "secret", "enable", "key", "private_key", "passphrase", "token")
)
_CREDENTIAL = re.compile(r"(?:(?:env|file|store|vault):\S(?:[^\n]{0,250}\S)?|agent)\Z")
_ADDRESS = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z.:_%-]{0,252}[0-9A-Za-z])?\Z|::[0-9A-Fa-f:]*\Z")
_DURATION = re.compile(r"([1-9]\d{0,7})\s*(s|m|h|d)?\Z", re.ASCII)
_UNITS: Final = {None: 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)\Z", re.ASCII)
_TRUTHS: Final = {
    **dict.fromkeys(("yes", "true", "on", "1"), True),
    **dict.fromkeys(("no", "false", "off", "0"), False),
}
_SWITCHES: Final = {"secrets": "yes", "enabled": "yes", "history": "no", "legacy": "no"}
_SEPARATORS = re.compile(r"[\s,;]+")
_TOLD_MOST: Final = 50


class Problem(Struct, frozen=True):
    """A rule that a place of an inventory breaks. `where` names file and line."""

    where: str
    field: str
    rule: str


class InventoryRefused(ConfigtrailError):
    """An inventory breaks rules, and nothing of it was taken. `problems` are all of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        told = [f"{one.where}: {one.field}: {one.rule}" for one in problems[:_TOLD_MOST]]
        if len(problems) > len(told):
            told.append(f"and {len(problems) - len(told)} more")
        super().__init__("\n  ".join(("the inventory is refused, and nothing was done:", *told)))
        self.problems = tuple(problems)


class Row(Struct, frozen=True):
    """A device as an inventory has it: raw fields, and where it stands."""

    where: str
    fields: Mapping[str, str]


class Entry(Struct, frozen=True):
    """A device of an inventory that keeps the rules."""

    device_id: str
    settings: DeviceSettings
    where: str


class Judged(Struct, frozen=True):
    """The entries that keep the rules, and all problems of the others."""

    entries: list[Entry]
    problems: list[Problem]


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
) -> Judged:
    """As `entries_of`, for who has more to check: what keeps the rules, and what breaks them."""
    rows = list(rows)
    found: list[Entry] = []
    told = list(problems)
    for row in rows:
        entry = _entry(row, platforms, told)
        if entry is not None:
            found.append(entry)
    told += _doubles(rows)
    told += _jumps(found, {_name(row) for row in rows} | set(known))
    return Judged(found, told)


def settings_of(
    fields: Mapping[str, str], platforms: Sequence[str], where: str, told: list[Problem]
) -> DeviceSettings | None:
    """The settings that fields come to; None when one breaks a rule, which is told."""
    before = len(told)

    def tell(field: str, rule: str) -> None:
        told.append(Problem(where, field, rule))

    told += check_names(fields, where)
    given = {name: value.strip() for name, value in fields.items() if value.strip()}
    addresses = tuple(filter(None, _SEPARATORS.split(given.get("address", ""))))
    if not addresses:
        tell("address", "is missing")
    if not all(_ADDRESS.match(one) for one in addresses):
        tell("address", "must be names or IP addresses, with blanks or commas between them")
    platform = given.get("platform", "routeros")
    if platform not in platforms and platform != JUMP_PLATFORM:
        tell("platform", f"must be one of {', '.join((*platforms, JUMP_PLATFORM))}")
    credential = given.get("credential")
    if credential is not None and not _CREDENTIAL.match(credential):
        tell(
            "credential",
            "must say where the secret lies: env:NAME, file:PATH, store:NAME, vault:PATH or agent",
        )
    for name in ("username", "group", "jump"):
        if not given.get(name, "").isprintable() or len(given.get(name, "")) > 128:
            tell(name, "must be at most 128 printable characters")
    window = given.get("window")
    if window is not None and not _WINDOW.match(window):
        tell("window", "must be two times of a day in UTC, such as 22:00-05:00")
    port = _number(given.get("port", "22"), 1, 65_535)
    if port is None:
        tell("port", "must be a whole number between 1 and 65535")
    interval = _duration(given.get("interval", "6h"), 60, 30 * 86_400)
    if interval is None:
        tell("interval", "must be a time between 1m and 30d, such as 6h")
    timeout = _duration(given.get("timeout", "5m"), 5, 3600)
    if timeout is None:
        tell("timeout", "must be a time between 5s and 1h, such as 5m")
    truths = {
        name: _TRUTHS.get(given.get(name, usual).lower()) for name, usual in _SWITCHES.items()
    }
    for name, truth in truths.items():
        if truth is None:
            tell(name, "must be yes or no")
    if len(told) > before or None in (port, interval, timeout):
        return None
    assert port is not None
    assert interval is not None
    assert timeout is not None
    return DeviceSettings(
        addresses=addresses,
        platform=platform,
        port=port,
        username=given.get("username"),
        credential=credential,
        group=given.get("group"),
        jump=given.get("jump"),
        interval_seconds=interval,
        timeout_seconds=timeout,
        window=window,
        secret_values=bool(truths["secrets"]),
        enabled=bool(truths["enabled"]),
        history=bool(truths["history"]),
        legacy=bool(truths["legacy"]),
    )


def check_names(names: Iterable[str], where: str) -> list[Problem]:
    """The problems of fields' names: those that are unknown, and those of secrets."""
    told = []
    for name in names:
        if name in _SECRET_FIELDS:
            rule = (
                "a secret must not stand in an inventory: name where it lies in the field "
                "credential (env:NAME, file:PATH, store:NAME, vault:PATH or agent)"
            )
            told.append(Problem(where, name, rule))
        elif name not in FIELDS:
            rule = f"is no field of an inventory: {', '.join(FIELDS)}"
            told.append(Problem(where, printable(name), rule))
    return told


def seconds_until_open(window: str | None, second_of_day: float) -> float:
    """How long until readings may begin: 0 within the window."""
    found = _WINDOW.match(window) if window is not None else None
    if found is None:
        return 0.0
    hour, minute, end_hour, end_minute = (int(one) for one in found.groups())
    opens, closes = hour * 3600 + minute * 60, end_hour * 3600 + end_minute * 60
    inside = (
        opens <= second_of_day < closes
        if opens < closes
        else second_of_day >= opens or second_of_day < closes
    )
    return 0.0 if inside else (opens - second_of_day) % 86_400


def printable(text: str) -> str:
    """A short form of a name from outside that can stand in a message."""
    line = "".join(one if one.isprintable() else "?" for one in text)
    return line if len(line) <= 40 else line[:39] + "…"


def _entry(row: Row, platforms: Sequence[str], told: list[Problem]) -> Entry | None:
    name = _name(row)
    before = len(told)
    try:
        check_device_id(name)
    except InvalidInput as error:
        told.append(Problem(row.where, "name", error.rule))
    settings = settings_of(row.fields, platforms, row.where, told)
    if settings is None or len(told) > before:
        return None
    return Entry(name, settings, row.where)


def _doubles(rows: Sequence[Row]) -> list[Problem]:
    first: dict[str, Row] = {}
    told = []
    for row in rows:
        name = _name(row)
        before = first.setdefault(name, row) if name else row
        if before is not row:
            told.append(Problem(row.where, "name", f"is that of {before.where} too"))
    return told


def _jumps(found: Sequence[Entry], known: Collection[str]) -> list[Problem]:
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


def _name(row: Row) -> str:
    return row.fields.get("name", "").strip()


def _number(text: str, least: int, most: int) -> int | None:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        return None
    return int(text) if least <= int(text) <= most else None


def _duration(text: str, least: int, most: int) -> int | None:
    found = _DURATION.match(text)
    if found is None:
        return None
    seconds = int(found[1]) * _UNITS[found[2]]
    return seconds if least <= seconds <= most else None
