"""What a tenant wants to be told of values that machines write: report, low or ignore.

Recording does not know of it: every change is kept. A rule only says how a change is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from domain.canonical.platform import ROUTEROS
from domain.semantic.told import Level


class PolicyRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule holds for a menu and those below it, and for one of its properties or for all.

    On another platform it holds for what a `section` of its hierarchy begins: the lines around a
    line, and the line, with ` > ` between them.
    """

    section: str
    property: str | None = None
    level: Level
    platform: str = ROUTEROS


# Written by the device itself, or by scripts that most people have.
DEFAULT: Final = (
    PolicyRule(section="/system clock", level="low"),
    PolicyRule(section="/system note", level="low"),
    PolicyRule(section="/system scheduler", property="start-date", level="low"),
    PolicyRule(section="/system scheduler", property="start-time", level="low"),
    PolicyRule(section="/ip dhcp-server lease", level="low"),
)
_ORDER: Final[tuple[Level, ...]] = ("ignore", "low", "report")


def level(
    rules: Sequence[PolicyRule], section: str, properties: Iterable[str], entry: str
) -> Level:
    """How a change is told: by the first rule that holds for each property, and then the loudest.

    Dynamic entries, named `<…>`, are low unless a rule says otherwise.
    """
    fallback: Level = "low" if entry.startswith("<") and entry.endswith(">") else "report"
    names: list[str | None] = [*properties]
    found = [_first(rules, section, name, fallback) for name in names or [None]]
    return max(found, key=_ORDER.index)


def _first(rules: Sequence[PolicyRule], section: str, name: str | None, fallback: Level) -> Level:
    for rule in rules:
        if _holds(rule, ROUTEROS, section) and rule.property in (None, name):
            return rule.level
    return fallback


def line_level(rules: Sequence[PolicyRule], platform: str, path: str) -> Level:
    """How a change of a line of another platform is told: by the first rule that holds for it."""
    return next((rule.level for rule in rules if _holds(rule, platform, path)), "report")


def _holds(rule: PolicyRule, platform: str, section: str) -> bool:
    if rule.platform != platform:
        return False
    return section == rule.section or section.startswith(f"{rule.section} ")
