"""What of a difference may be in an event: counts, menus, names of properties, tags of risks.

Entries, values and sentences are configuration text, redacted or not: a name, an address or a
comment may be a secret of its own, and nobody can take it out of an event again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from domain.events import ChangeSummary
from domain.routeros.menus import publishable_menu
from domain.routeros.properties import name_for_event
from domain.semantic.told import ToldChange, ToldDiff

MOST_SUMMARIES: Final = 200
_MOST_NAMES: Final = 20
_ELSEWHERE: Final = ""


def summaries(
    told: ToldDiff, section_of: Callable[[str], str | None] = publishable_menu
) -> tuple[tuple[ChangeSummary, ...], int]:
    """The changes by section, kind and level, and how many are in none of them.

    `section_of` gives what of a section's path may be in an event.
    """
    groups: dict[tuple[str, str, str, bool], list[ToldChange]] = {}
    for one in told.changes:
        section = section_of(one.section) or _ELSEWHERE
        key = (section, one.kind, one.level, one.after_upgrade)
        groups.setdefault(key, []).append(one)
    kept = list(groups.items())[:MOST_SUMMARIES]
    found = tuple(
        ChangeSummary(
            section=section,
            kind=kind,
            count=len(changes),
            properties=_names(changes),
            risks=tuple(dict.fromkeys(risk.tag for one in changes for risk in one.risks)),
            level=level,
            after_upgrade=after_upgrade,
        )
        for (section, kind, level, after_upgrade), changes in kept
    )
    return found, told.more + len(told.changes) - sum(one.count for one in found)


def _names(changes: Iterable[ToldChange]) -> tuple[str, ...]:
    """The names of the properties that changed, where the entry was there before and after."""
    names = {
        name_for_event(one.name)
        for change in changes
        if change.kind not in ("added", "removed")
        for one in change.properties
    }
    return tuple(sorted(names)[:_MOST_NAMES])
