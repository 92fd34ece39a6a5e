"""Two configurations compared, menu by menu and entry by entry.

Menus whose lines are equal are not parsed, and of the others only the lines that differ are: the
time is linear in the size of the texts, and for the rest depends on the size of the change.
"""

from __future__ import annotations

from collections.abc import Sequence

from domain.canonical.extent import Extent, is_beginning, with_cuts
from domain.canonical.form import LogicalForm
from domain.errors import NotUnderstood
from domain.routeros.spelling import all_spelled, is_plain, keeps_order
from domain.routeros.statements import Statement, parse
from domain.semantic.changes import Change, ChangeKind, Place, PropertyChange, SemanticDiff
from domain.semantic.matching import Entry, pair
from domain.semantic.outside import outside
from domain.semantic.sequences import longest_increasing, same_in_any_order, same_in_order
from domain.semantic.upgrades import told_apart


def compare(before: LogicalForm, after: LogicalForm) -> SemanticDiff:
    """What changed from one RouterOS configuration to another."""
    before, after = with_cuts(before, after)
    old, new = Extent(before), Extent(after)
    old_menus, new_menus = before.by_section, after.by_section
    changes: list[Change] = []
    respelled: list[tuple[str, int]] = []
    line_based: list[str] = []
    # Nothing is told of the line in which a text was cut.
    unknown = [one for one in (old.last_section, new.last_section) if one is not None]
    for section in dict.fromkeys((*old_menus, *new_menus)):
        was, now = old_menus.get(section, []), new_menus.get(section, [])
        if was == now:
            continue
        found = _Section(section, was, now)
        if found.not_understood:
            line_based.append(section)
        if found.respelled:
            respelled.append((section, found.respelled))
        hidden: set[ChangeKind] = set()
        if not old.whole(section, new):
            hidden.add("added")
        if not new.whole(section, old):
            hidden.add("removed")
        told = [one for one in found.changes if one.kind not in hidden]
        if len(told) < len(found.changes):
            unknown.append(section)
        changes += told
    upgraded = None
    if before.os_version and after.os_version and before.os_version != after.os_version:
        upgraded = (before.os_version, after.os_version)
        changes = told_apart(changes)
    return SemanticDiff(
        changes=tuple(changes),
        respelled=tuple(respelled),
        line_based=tuple(line_based),
        unknown=tuple(dict.fromkeys(unknown)),
        upgraded=upgraded,
        beginning=is_beginning(after, before),
        outside=outside(old_menus, new_menus) if changes else frozenset(),
    )


class _Section:
    """The changes of one menu."""

    def __init__(self, section: str, before: Sequence[str], after: Sequence[str]) -> None:
        self._section = section
        self._before = all_spelled(before)
        self._after = all_spelled(after)
        self._statements: dict[str, Statement | None] = {}
        self.changes: list[Change] = []
        self.respelled = 0
        self.not_understood = False
        both = [*self._before, *self._after]
        plain = is_plain(self._before) and is_plain(self._after)
        in_order = not plain or keeps_order(section, both)
        self._old_sequence = _entries(self._before, all_of=not plain) if in_order else []
        self._new_sequence = _entries(self._after, all_of=not plain) if in_order else []
        self._compare()

    def _compare(self) -> None:
        same = self._same()
        taken_old = {one for one, _ in same}
        taken_new = {two for _, two in same}
        old = self._parsed(self._before, taken_old)
        new = self._parsed(self._after, taken_new)
        pairs = pair(self._known(old), self._known(new))
        old_places = _places(self._old_sequence)
        new_places = _places(self._new_sequence)
        moved = self._moved([*same, *pairs])
        for one, two in sorted(pairs, key=lambda pair: pair[1]):
            before, after = old.pop(one), new.pop(two)
            assert before is not None
            assert after is not None
            if before.repeats or after.repeats:
                old[one], new[two] = before, after
                moved.discard((one, two))
                continue
            self._modified(
                before, after, Place(one, old_places.get(one)), Place(two, new_places.get(two))
            )
        for one, two in sorted(moved, key=lambda pair: pair[1]):
            self.changes.append(
                Change(
                    section=self._section,
                    kind="moved",
                    before_line=self._before[one],
                    after_line=self._after[two],
                    before=self._statement(self._before[one]),
                    after=self._statement(self._after[two]),
                    before_place=Place(one, old_places.get(one)),
                    after_place=Place(two, new_places.get(two)),
                )
            )
        self._gone_and_new(old, new, old_places, new_places)

    def _same(self) -> list[tuple[int, int]]:
        if not self._old_sequence and not self._new_sequence:
            return same_in_any_order(self._before, self._after)
        pairs = [
            (self._old_sequence[one], self._new_sequence[two])
            for one, two in same_in_order(
                [self._before[at] for at in self._old_sequence],
                [self._after[at] for at in self._new_sequence],
            )
        ]
        old_rest = _rest(self._before, self._old_sequence)
        new_rest = _rest(self._after, self._new_sequence)
        pairs += [
            (old_rest[one], new_rest[two])
            for one, two in same_in_any_order(
                [self._before[at] for at in old_rest], [self._after[at] for at in new_rest]
            )
        ]
        return pairs

    def _known(self, statements: dict[int, Statement | None]) -> list[Entry]:
        return [Entry(self._section, at, one) for at, one in statements.items() if one is not None]

    def _statement(self, line: str) -> Statement | None:
        """The statement in a line, None in one that is none. Lines may repeat, and move."""
        if line not in self._statements:
            self._statements[line] = _statement(line)
        return self._statements[line]

    def _parsed(self, lines: Sequence[str], taken: set[int]) -> dict[int, Statement | None]:
        found: dict[int, Statement | None] = {}
        for at, line in enumerate(lines):
            if at not in taken:
                found[at] = self._statement(line)
                self.not_understood |= found[at] is None
        return found

    def _moved(self, pairs: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
        """The pairs that are out of order, as few as can be."""
        if not self._old_sequence:
            return set()
        in_order = set(self._old_sequence)
        ordered = sorted(one for one in pairs if one[0] in in_order)
        kept = set(longest_increasing([two for _, two in ordered]))
        return {one for at, one in enumerate(ordered) if at not in kept}

    def _modified(self, before: Statement, after: Statement, here: Place, there: Place) -> None:
        changed = property_changes(before, after)
        if not changed:
            self.respelled += 1
        for kind, properties in _by_kind(changed):
            self.changes.append(
                Change(
                    section=self._section,
                    kind=kind,
                    before_line=self._before[here.line],
                    after_line=self._after[there.line],
                    before=before,
                    after=after,
                    before_place=here,
                    after_place=there,
                    properties=properties,
                )
            )

    def _gone_and_new(
        self,
        old: dict[int, Statement | None],
        new: dict[int, Statement | None],
        old_places: dict[int, int],
        new_places: dict[int, int],
    ) -> None:
        for at, statement in sorted(old.items()):
            self.changes.append(
                Change(
                    section=self._section,
                    kind="removed",
                    before_line=self._before[at],
                    before=statement,
                    before_place=Place(at, old_places.get(at)),
                )
            )
        for at, statement in sorted(new.items()):
            self.changes.append(
                Change(
                    section=self._section,
                    kind="added",
                    after_line=self._after[at],
                    after=statement,
                    after_place=Place(at, new_places.get(at)),
                )
            )


def property_changes(before: Statement, after: Statement) -> tuple[PropertyChange, ...]:
    """The properties in which two statements differ, by name."""
    old = {one.name: one for one in before.properties}
    new = {one.name: one for one in after.properties}
    found = []
    for name in sorted(old.keys() | new.keys()):
        was, now = old.get(name), new.get(name)
        if was is None or now is None or was.meaning != now.meaning:
            found.append(
                PropertyChange(
                    name,
                    None if was is None else was.value or "",
                    None if now is None else now.value or "",
                )
            )
    return tuple(found)


def _by_kind(
    changed: tuple[PropertyChange, ...],
) -> list[tuple[ChangeKind, tuple[PropertyChange, ...]]]:
    """Turning on and off, and renaming, are told apart from all else."""
    kinds: dict[ChangeKind, list[PropertyChange]] = {}
    for one in changed:
        kind: ChangeKind = "modified"
        if one.name == "disabled" and one.after == "yes":
            kind = "disabled"
        elif one.name == "disabled" and one.before == "yes":
            kind = "enabled"
        elif one.name == "name":
            kind = "renamed"
        kinds.setdefault(kind, []).append(one)
    return [(kind, tuple(properties)) for kind, properties in kinds.items()]


def _statement(line: str) -> Statement | None:
    try:
        return parse(line)
    except NotUnderstood:
        return None


def _entries(lines: Sequence[str], *, all_of: bool) -> list[int]:
    """The numbers of the lines whose order counts."""
    return [at for at, line in enumerate(lines) if all_of or line[0] == "a"]


def _rest(lines: Sequence[str], sequence: Sequence[int]) -> list[int]:
    taken = set(sequence)
    return [at for at in range(len(lines)) if at not in taken]


def _places(sequence: Sequence[int]) -> dict[int, int]:
    return {at: place for place, at in enumerate(sequence, 1)}
