"""A difference applied: old configuration and difference give the new one.

This is what holds the comparison to its word: whatever it does not tell would be missing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from domain.errors import NotUnderstood
from domain.routeros.spelling import all_spelled, is_plain, keeps_order, set_target
from domain.routeros.statements import Property, Statement, parse, render
from domain.semantic.changes import Change, PropertyChange


def apply(menus: Mapping[str, Sequence[str]], changes: Iterable[Change]) -> dict[str, list[str]]:
    """The lines of each menu after the changes. Order is right where it is configuration."""
    by_section: dict[str, list[Change]] = {}
    for one in changes:
        by_section.setdefault(one.section, []).append(one)
    found = {
        section: _applied(section, all_spelled(lines), by_section.pop(section, []))
        for section, lines in menus.items()
    }
    for section, added in by_section.items():
        found[section] = _applied(section, [], added)
    return {section: lines for section, lines in found.items() if lines}


def _applied(section: str, lines: list[str], changes: list[Change]) -> list[str]:
    by_place: dict[int, str | None] = dict(enumerate(lines))
    arrivals: dict[int, str] = {}
    for one in changes:
        here = one.before_place
        if here is not None and one.properties:
            by_place[here.line] = _changed(by_place[here.line], one.properties)
    for one in changes:
        here, there = one.before_place, one.after_place
        if one.kind == "moved":
            assert here is not None
            assert there is not None
            line = by_place[here.line]
            assert line is not None
            arrivals[there.line] = line
            by_place[here.line] = None
        elif one.kind == "removed":
            assert here is not None
            by_place[here.line] = None
        elif one.kind == "added":
            assert there is not None
            assert one.after_line is not None
            arrivals[there.line] = one.after_line
    kept = [line for line in by_place.values() if line is not None]
    # Whether order counts was decided on the lines before and after together.
    both = [*kept, *arrivals.values()]
    if not (is_plain(lines) and is_plain(both)):
        return _woven(kept, arrivals)
    if not keeps_order(section, [*lines, *both]):
        return both
    # The places of entries count settings in: those keep to themselves, so entries close up.
    settings = [line for line in both if line[0] == "s"]
    entries = [line for line in kept if line[0] == "a"]
    places = {one.after_place.line: one.after_place.position for one in changes if one.after_place}
    positions = {(places[at] or 1) - 1: line for at, line in arrivals.items() if line[0] == "a"}
    return settings + _woven(entries, positions)


def _woven(kept: Sequence[str], arrivals: Mapping[int, str]) -> list[str]:
    """The kept lines in their order, with each arrival at its place."""
    found: list[str] = []
    rest = iter(kept)
    for at in range(len(kept) + len(arrivals)):
        found.append(arrivals[at] if at in arrivals else next(rest))
    return found


def _changed(line: str | None, properties: Sequence[PropertyChange]) -> str:
    assert line is not None
    statement = parse(line)
    new = {one.name: one for one in properties}
    kept = []
    for one in statement.properties:
        change = new.pop(one.name, None)
        if change is None:
            kept.append(Property(one.lead, one.name, one.name, one.value))
        elif change.after is not None:
            kept.append(_property(change.name, change.after))
    kept += [_property(one.name, one.after) for one in new.values() if one.after is not None]
    return render(Statement(statement.path, statement.verb, statement.selector, tuple(kept)))


def _property(name: str, value: str) -> Property:
    return Property(" ", name, name, value or None)


def meaning(menus: Mapping[str, Sequence[str]]) -> dict[str, list[object]]:
    """What the lines of each menu mean, in an order that only counts where it is configuration."""
    found: dict[str, list[object]] = {}
    for section, given in menus.items():
        lines = all_spelled(given)
        if not is_plain(lines):
            found[section] = [_meaning(line) for line in lines]
            continue
        entries = [_meaning(line) for line in lines if line[0] == "a"]
        if not keeps_order(section, lines):
            entries.sort(key=repr)
        settings = sorted((line for line in lines if line[0] == "s"), key=set_target)
        found[section] = [*map(_meaning, settings), *entries]
    return {section: meant for section, meant in found.items() if meant}


def _meaning(line: str) -> object:
    try:
        return parse(line).meaning()
    except NotUnderstood:
        return line
