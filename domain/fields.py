"""The fields of an inventory: what may stand in each, and what it comes to.

Every mistake is told, not only the first, with its place; and never quoted, since what stands in
the wrong column may be a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from domain.events import GivenSettings
from domain.user_names import USER_NAME_RULE, is_user_name

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
OF_ONE_DEVICE: Final = ("name", "address", "group")
"""The fields that say something of one device only, and that no group gives."""
JUMP_PLATFORM: Final = "jump"
"""The platform of a host that others are reached through, and that is never read itself."""
CREDENTIAL_RULE: Final = (
    "must say where the secret lies: env:NAME, file:PATH, store:NAME, vault:PATH or agent"
)

NO_TEXT: Final = "must be text: it holds half of a surrogate pair, which UTF-8 has not"
MOST_ADDRESSES: Final = 16

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
_SWITCHES: Final = ("secrets", "enabled", "history", "legacy")
_SEPARATORS = re.compile(r"[\s,;]+")


class Problem(Struct, frozen=True):
    """A rule that a place of an inventory breaks. `where` names file and line."""

    where: str
    field: str
    rule: str


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


def addresses_of(fields: Mapping[str, str], where: str, told: list[Problem]) -> tuple[str, ...]:
    """The addresses that fields name; what is wrong with them is told."""
    addresses = tuple(filter(None, _SEPARATORS.split(fields.get("address", ""))))
    if not addresses:
        told.append(Problem(where, "address", "is missing"))
    if not all(_is_address(one) for one in addresses):
        rule = (
            "must be host names (parts of 1 to 63 characters between their dots) or IP addresses, "
            "with blanks or commas between them"
        )
        told.append(Problem(where, "address", rule))
    if len(addresses) > MOST_ADDRESSES:
        told.append(Problem(where, "address", f"must be at most {MOST_ADDRESSES}"))
        return addresses[:MOST_ADDRESSES]
    return addresses


def given_of(
    fields: Mapping[str, str], platforms: Sequence[str], where: str, told: list[Problem]
) -> GivenSettings:
    """What fields give, but for name, addresses and group. What breaks a rule is told, and not
    given. An empty field is none."""

    def tell(field: str, rule: str) -> None:
        told.append(Problem(where, field, rule))
        given.pop(field, None)

    given = {name: value.strip() for name, value in fields.items() if value.strip()}
    for name in FIELDS:
        # Those of one device have rules of their own, which such a text breaks too.
        if name not in OF_ONE_DEVICE and not is_text(given.get(name, "")):
            tell(name, NO_TEXT)
    platform = given.get("platform")
    if platform is not None and platform not in (*platforms, JUMP_PLATFORM):
        tell("platform", f"must be one of {', '.join((*platforms, JUMP_PLATFORM))}")
    credential = given.get("credential")
    if credential is not None and not is_reference(credential):
        tell("credential", CREDENTIAL_RULE)
    for name in ("username", "jump"):
        if not is_label(given.get(name, "")):
            tell(name, "must be at most 128 printable characters")
    if not is_user_name(given.get("username", "")):
        tell("username", USER_NAME_RULE)
    window = given.get("window")
    if window is not None and not _WINDOW.match(window):
        tell("window", "must be two times of a day in UTC, such as 22:00-05:00")
    port = _number(given.get("port"), 1, 65_535)
    if port is None and "port" in given:
        tell("port", "must be a whole number between 1 and 65535")
    interval = _duration(given.get("interval"), 60, 30 * 86_400)
    if interval is None and "interval" in given:
        tell("interval", "must be a time between 1m and 30d, such as 6h")
    timeout = _duration(given.get("timeout"), 5, 3600)
    if timeout is None and "timeout" in given:
        tell("timeout", "must be a time between 5s and 1h, such as 5m")
    truths = {name: _TRUTHS.get(given.get(name, "").lower()) for name in _SWITCHES}
    for name, truth in truths.items():
        if truth is None and name in given:
            tell(name, "must be yes or no")
    return GivenSettings(
        platform=given.get("platform"),
        port=port,
        username=given.get("username"),
        credential=given.get("credential"),
        jump=given.get("jump"),
        interval_seconds=interval,
        timeout_seconds=timeout,
        window=given.get("window"),
        secret_values=truths["secrets"],
        enabled=truths["enabled"],
        history=truths["history"],
        legacy=truths["legacy"],
    )


def is_reference(text: str) -> bool:
    """Whether a text says where a secret lies."""
    # No place's name can have a NUL.
    return _CREDENTIAL.match(text) is not None and "\0" not in text and is_text(text)


def is_text(text: str) -> bool:
    """Whether UTF-8 can hold a text, and so an event can. Escapes of YAML and JSON, and bytes of
    the command line, may come to halves of surrogate pairs, which it can't."""
    return not any("\ud800" <= one <= "\udfff" for one in text)


def is_label(text: str) -> bool:
    """Whether a text can be a name that means something elsewhere only."""
    return text.isprintable() and len(text) <= 128


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


def printable(text: str, most: int = 40) -> str:
    """A short form of a name from outside that can stand in a message."""
    line = "".join(one if one.isprintable() else "?" for one in text)
    return line if len(line) <= most else line[: most - 1] + "…"


def _is_address(text: str) -> bool:
    parts = text.split(".")
    return _ADDRESS.match(text) is not None and all(0 < len(one) < 64 for one in parts)


def _number(text: str | None, least: int, most: int) -> int | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 9:
        return None
    return int(text) if least <= int(text) <= most else None


def _duration(text: str | None, least: int, most: int) -> int | None:
    found = _DURATION.match(text) if text is not None else None
    if found is None:
        return None
    seconds = int(found[1]) * _UNITS[found[2]]
    return seconds if least <= seconds <= most else None
