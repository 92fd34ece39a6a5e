"""The normal order of lines as it was in version 2 of the rules: fingerprints hold it.

It took a quoted name with a blank for two words, `regexp=` in a comment for a pattern, and for none
the order of `/mpls interface`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from domain.routeros.spelling import DNS_STATIC, all_spelled, by_menu
from domain.routeros.vocabulary import ORDERED_3

_TARGET = re.compile(r"set (?:\[[^\]]*\]|[^ =]+(?= ))?")
_ORDERED = ORDERED_3 - {"/mpls interface"}


def normal(logical: Sequence[str]) -> list[str]:
    """All lines in normal spelling and order, each menu once, by path."""
    menus = by_menu(logical)
    found: list[str] = []
    for path in sorted(menus):
        if path:
            found.append(path)
        found += _ordered(path, menus[path])
    return found


def _ordered(path: str, lines: Sequence[str]) -> list[str]:
    lines = all_spelled(lines)
    settings = [line for line in lines if line[:4] == "set "]
    entries = [line for line in lines if line[:4] == "add "]
    if len(settings) + len(entries) < len(lines):
        return lines
    if len({_target(line) for line in settings}) < len(settings):
        return lines
    by_regexp = path == DNS_STATIC and any(" regexp=" in line for line in lines)
    if path not in _ORDERED and not by_regexp:
        entries.sort()
    return sorted(settings, key=_target) + entries


def _target(line: str) -> str:
    found = _TARGET.match(line)
    return found[0] if found else line
