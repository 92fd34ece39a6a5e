"""A configuration as lines in lines, and two of them compared: what came, went and moved.

For platforms whose commands are not known one by one. Time is linear but for sorting, whatever
repeats: a block is the same one if all in it is, then by its line, and of several the first with
the first.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

from msgspec import Struct

from domain.profiles.profile import Path, Style
from domain.profiles.watching import Ordered
from domain.semantic.sequences import longest_increasing, same_in_any_order, same_in_order

_NAME: Final = re.compile(r"option name (\S.*)")


class Block:
    """A line with those that are nested in it, known by its `title`. Where paths are written in
    the lines themselves, a block of such a path has no line."""

    __slots__ = ("inside", "line", "parent", "title", "whole")

    def __init__(self, line: str, title: str, parent: Block | None) -> None:
        self.line = line
        self.title = title
        self.parent = parent
        self.inside: list[Block] = []
        self.whole = ""

    @property
    def path(self) -> tuple[str, ...]:
        """The titles of the lines around it, from the outermost."""
        found: list[str] = []
        above = self.parent
        while above is not None and above.parent is not None:
            found.append(above.title)
            above = above.parent
        return tuple(reversed(found))

    def around(self) -> Iterator[Block]:
        """The block and those that it is in, from the innermost."""
        one: Block = self
        while one.parent is not None:
            yield one
            one = one.parent

    def all_inside(self) -> Iterator[Block]:
        """The blocks in it, at any depth, in order."""
        for one in self.inside:
            yield one
            yield from one.all_inside()


class BlockChange(Struct, frozen=True):
    """A line that came, went or moved. In a list whose order counts it has a position, from 1,
    `before` and `after`; one that moved goes by its `name`, which has no number."""

    kind: Literal["added", "removed", "moved"]
    block: Block
    before: int | None = None
    after: int | None = None
    name: str = ""


class Found(Struct):
    """All changes, how many lines of unsure places are not told, and how many entries only have
    another number."""

    changes: list[BlockChange]
    unsure: int = 0
    renumbered: int = 0


def nested(lines: Iterable[tuple[Path, str]], style: Style) -> Block:
    """The tree of lines that come with their paths; its root has no line."""
    root = Block("", "", None)
    if style == "set":
        _grow_by_paths(root, lines)
    else:
        _grow(root, lines)
    if style == "flat":
        _name(root)
    _sign(root)
    return root


def _grow(root: Block, lines: Iterable[tuple[Path, str]]) -> None:
    stack = [root]
    for path, line in lines:
        del stack[len(path) + 1 :]
        one = Block(line, line.removesuffix("{").strip(), stack[-1])
        stack[-1].inside.append(one)
        stack.append(one)


def _grow_by_paths(root: Block, lines: Iterable[tuple[Path, str]]) -> None:
    known: dict[Path, Block] = {(): root}
    for path, line in lines:
        for depth in range(1, len(path) + 1):
            if path[:depth] not in known:
                above = known[path[: depth - 1]]
                known[path[:depth]] = Block("", path[depth - 1], above)
                above.inside.append(known[path[:depth]])
        known[path].inside.append(Block(line, line, known[path]))


def _name(root: Block) -> None:
    """Sections that have no name of their own go by their option `name`."""
    for package in root.inside:
        for section in package.inside:
            if len(section.line.split()) == 2:
                named = (_NAME.match(one.line) for one in section.inside)
                name = next((one[1] for one in named if one), None)
                section.title += f" {name}" if name else ""


def _sign(block: Block) -> None:
    """Note in each block what all of it is. Blocks are no deeper than paths are long."""
    for one in block.inside:
        _sign(one)
    inside = (str(hash(one.whole)) for one in block.inside)
    block.whole = "\n".join((block.line, block.title, *inside))


class Comparing:
    """Two trees compared. `gone` and `come` are, by their ids, the outermost blocks of the old one
    and of the new one of which the other text may lack some."""

    def __init__(self, ordered: Sequence[Ordered], gone: set[int], come: set[int]) -> None:
        self._ordered = ordered
        self._gone = gone
        self._come = come
        self.found = Found([])

    def compare(self, old: Block, new: Block) -> Found:
        """What became of the old one's lines, and which are new."""
        pairs = [(old, new)]
        while pairs:
            pairs += reversed(self._inside(*pairs.pop()))
        return self.found

    def _inside(self, old: Block, new: Block) -> list[tuple[Block, Block]]:
        """Compare the lines directly in two blocks; gives the pairs that differ in themselves."""
        lists = [lists_in(one, self._ordered) for one in (old, new)]
        pairs: list[tuple[Block, Block]] = []
        for name in dict.fromkeys((*lists[0], *lists[1])):
            was, now = lists[0].get(name, []), lists[1].get(name, [])
            pairs += self._list(was, now, in_order=bool(name))
        return [(one, two) for one, two in pairs if one.whole != two.whole]

    def _list(
        self, was: list[tuple[Block, str]], now: list[tuple[Block, str]], *, in_order: bool
    ) -> list[tuple[Block, Block]]:
        same = same_in_order if in_order else same_in_any_order
        pairs = same([one.whole for one, _ in was], [one.whole for one, _ in now])
        left = _left(len(was), [one for one, _ in pairs])
        left_new = _left(len(now), [two for _, two in pairs])
        pairs += [
            (left[one], left_new[two])
            for one, two in same([was[at][1] for at in left], [now[at][1] for at in left_new])
        ]
        if in_order:
            self._moved(was, now, sorted(pairs))
        for at in _left(len(was), [one for one, _ in pairs]):
            self._told("removed", was[at][0], at + 1 if in_order else None, self._gone)
        for at in _left(len(now), [two for _, two in pairs]):
            self._told("added", now[at][0], at + 1 if in_order else None, self._come)
        return [(was[one][0], now[two][0]) for one, two in sorted(pairs, key=lambda one: one[1])]

    def _moved(
        self,
        was: list[tuple[Block, str]],
        now: list[tuple[Block, str]],
        pairs: list[tuple[int, int]],
    ) -> None:
        kept = set(longest_increasing([two for _, two in pairs]))
        for at, (one, two) in enumerate(pairs):
            if at not in kept:
                self.found.changes.append(
                    BlockChange("moved", now[two][0], one + 1, two + 1, now[two][1])
                )
            elif was[one][0].line != now[two][0].line:
                self.found.renumbered += 1

    def _told(
        self,
        kind: Literal["added", "removed"],
        block: Block,
        position: int | None,
        unsure: set[int],
    ) -> None:
        """Tell of a block and of all in it."""
        outermost = [*block.around()][-1]
        for one, place in self._placed(block, position):
            if not one.line:
                continue
            if id(outermost) in unsure:
                self.found.unsure += 1
            elif kind == "added":
                self.found.changes.append(BlockChange(kind, one, after=place))
            else:
                self.found.changes.append(BlockChange(kind, one, before=place))

    def _placed(self, block: Block, position: int | None) -> Iterator[tuple[Block, int | None]]:
        """A block and those in it, each with its position if it is in a list whose order counts."""
        yield block, position
        places = {
            id(one): at
            for name, entries in lists_in(block, self._ordered).items()
            for at, (one, _) in enumerate(entries, 1)
            if name
        }
        for one in block.inside:
            yield from self._placed(one, places.get(id(one)))


def lists_in(block: Block, ordered: Sequence[Ordered]) -> dict[str, list[tuple[Block, str]]]:
    """The entries of each list in a block whose order counts, and under no name all other lines;
    with each the line by which it is known."""
    found: defaultdict[str, list[tuple[Block, str]]] = defaultdict(list)
    rules = [one for one in ordered if _stands(one, block)]
    for one in block.inside:
        for rule in rules:
            match = rule.entries.match(one.line)
            if match is not None:
                number = rule.number
                key = number.sub("", one.title, count=1) if number else one.title
                found[f"={match[0]}"].append((one, key))
                break
        else:
            found[""].append((one, one.title))
    return found


def _stands(rule: Ordered, block: Block) -> bool:
    if block.parent is None:
        return rule.within is None
    return rule.within is not None and rule.within.match(block.line) is not None


def _left(count: int, taken: Iterable[int]) -> list[int]:
    gone = set(taken)
    return [at for at in range(count) if at not in gone]
