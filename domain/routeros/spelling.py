r"""The normal spelling of a line, and the normal order of a menu's lines.

Two lines with one meaning that RouterOS itself may write become one: `\_` and a blank (which one is
written depends on where a line was wrapped), `\?` and `?`, `.mode=` for `configuration.mode=`, and
another order of a set's members. Quotes, other escapes and the order of properties stay: RouterOS
always writes them the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set
from typing import Final

from domain.errors import NotUnderstood
from domain.routeros.menus import split_path, whole_path
from domain.routeros.statements import SELECTOR, Property, Statement, parse, render
from domain.routeros.strings import members
from domain.routeros.vocabulary import ORDERED, SETS

_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_TARGET = re.compile(rf"set(?:{SELECTOR})?", re.DOTALL)
_ADDS: Final = frozenset(("add ",))
_PLAIN: Final = frozenset(("add ", "set "))
# Names are looked up in any order, but of patterns the first one that matches wins.
DNS_STATIC: Final = "/ip dns static"
_PATTERNS: Final = (" regexp=", " match-subdomain=yes")
# Faster than looking for the two characters, of which both are frequent.
_CONTINUED = re.compile(r" \.")


def spelled(line: str) -> str:
    """The normal spelling of a logical line without its menu."""
    if "\\" in line and ("\\_" in line or "\\?" in line):
        line = _ESCAPE.sub(_escaped, line)
    if " ." in line:
        return _parsed(line)
    if "," in line:
        return _with_sets(line)
    return line


def all_spelled(lines: Sequence[str]) -> list[str]:
    """Each line spelled normally. Most lines of most menus are already."""
    together = "\n".join(lines)
    # One character is found much faster than two.
    escapes = "\\" in together and ("\\_" in together or "\\?" in together)
    if escapes or _CONTINUED.search(together):
        return [spelled(line) for line in lines]
    if "," in together:
        return [_with_sets(line) if "," in line else line for line in lines]
    return list(lines)


def _with_sets(line: str) -> str:
    """The line with the members of its sets sorted."""
    words = line.split(" ")
    found = False
    for at, word in enumerate(words):
        if "," in word:
            name, _, value = word.partition("=")
            if name in SETS or name.rpartition(".")[2] in SETS:
                found = True
                words[at] = f"{name}={','.join(sorted(value.split(',')))}"
    if found and '"' in line:
        return _parsed(line)
    return " ".join(words) if found else line


def _escaped(found: re.Match[str]) -> str:
    char = found[1]
    return " " if char == "_" else "?" if char == "?" else found[0]


def _parsed(line: str) -> str:
    """The slow way, for lines in which a string might look like a property."""
    try:
        statement = parse(line)
    except NotUnderstood:
        return line
    return render(
        Statement(
            statement.path,
            statement.verb,
            statement.selector,
            tuple(_normal(one) for one in statement.properties),
        )
    )


def _normal(one: Property) -> Property:
    value = one.value
    bare = value is not None and '"' not in value and "," in value
    if value is not None and bare and one.name.rpartition(".")[2] in SETS:
        value = ",".join(members(value))
    return Property(one.lead, one.name, one.name, value)


def by_menu(logical: Sequence[str]) -> dict[str, list[str]]:
    """The lines of each menu, without the menu's path, in order of first appearance.

    It does not matter how often a menu is opened, and whether each line repeats it. Lines before
    the first menu are under the empty path.
    """
    marks = [at for at, line in enumerate(logical) if line[:1] == "/"]
    menus: dict[str, list[str]] = {"": list(logical[: marks[0] if marks else None])}
    known: dict[str, str | None] = {}
    current = ""
    for mark, end in zip(marks, [*marks[1:], len(logical)], strict=bool(marks)):
        line = logical[mark]
        at = line.find(" add ")
        if at < 0:
            at = line.find(" set ")
        prefix = line if at < 0 else line[:at]
        path = known[prefix] if prefix in known else known.setdefault(prefix, whole_path(prefix))
        command = line[at + 1 :] if at >= 0 else ""
        if path is None:
            split = split_path(line)
            path, command = split or (current, line)
        lines = menus.setdefault(path, [])
        if command:
            lines.append(command)
            lines = menus.setdefault(current, [])
        else:
            current = path
        if end > mark + 1:
            lines += logical[mark + 1 : end]
    return {path: lines for path, lines in menus.items() if lines}


def is_plain(lines: Sequence[str]) -> bool:
    """Whether lines only add, and set each thing once. If they don't, all their order counts."""
    commands = {line[:4] for line in lines}
    if commands <= _ADDS:
        return True
    settings = [set_target(line) for line in lines if line[:4] == "set "]
    return commands <= _PLAIN and len(set(settings)) == len(settings)


def keeps_order(path: str, lines: Iterable[str], among: Set[str] = ORDERED) -> bool:
    """Whether the order of a menu's entries is configuration, for lines that add and set.

    `among` are the menus in which it is whatever they hold.
    """
    return path in among or (path == DNS_STATIC and any(map(_has_pattern, lines)))


def _has_pattern(line: str) -> bool:
    """Whether a static name of the resolver is a pattern, or stands for the names below it."""
    if not any(one in line for one in _PATTERNS):
        return False
    try:
        statement = parse(line)
    except NotUnderstood:
        return True
    return statement.get("regexp") is not None or statement.get("match-subdomain") == "yes"


def ordered(path: str, lines: Sequence[str], among: Set[str] = ORDERED) -> list[str]:
    """A menu's lines, spelled and in normal order.

    Settings come first, by what they set. Entries keep their order where it is configuration.
    """
    lines = all_spelled(lines)
    if not is_plain(lines):
        return lines
    entries = [line for line in lines if line[0] == "a"]
    if not keeps_order(path, lines, among):
        entries.sort()
    if len(entries) == len(lines):
        return entries
    settings = [line for line in lines if line[0] == "s"]
    settings.sort(key=set_target)
    return settings + entries


def set_target(line: str) -> str:
    """What a line beginning with `set` sets."""
    found = _TARGET.match(line)
    return found[0] if found else line


def normal(logical: Sequence[str], among: Set[str] = ORDERED) -> list[str]:
    """All lines in normal spelling and order, each menu once, by path.

    `among` are the menus whose order counts.
    """
    menus = by_menu(logical)
    found: list[str] = []
    for path in sorted(menus):
        if path:
            found.append(path)
        found += ordered(path, menus[path], among)
    return found
