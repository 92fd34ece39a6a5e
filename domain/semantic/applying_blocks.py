"""A difference of lines in lines applied: the old configuration and what is told give the new one.

Only what is told is used: paths, lines and positions, never the new configuration. Blocks with
lines in them have to be known apart by their paths, as they have for whoever reads what is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from domain.profiles.profile import Path
from domain.profiles.watching import Ordered
from domain.semantic.blocks import Block, BlockChange, lists_in

Meaning: TypeAlias = tuple[object, ...]


def apply(root: Block, changes: Iterable[BlockChange], ordered: Sequence[Ordered]) -> Block:
    """The tree after the changes; the order of lines is right where it counts."""
    by_path: dict[Path, list[BlockChange]] = {}
    for one in changes:
        by_path.setdefault(one.block.path, []).append(one)
    return _applied(root, (), by_path, ordered)


def _applied(
    block: Block, path: Path, by_path: dict[Path, list[BlockChange]], ordered: Sequence[Ordered]
) -> Block:
    """A copy of a block with its changes. What came has nothing in it but what is told of it."""
    changes = by_path.get(path, [])
    told = _with(block, [one.block for one in changes])
    lists, told_lists = lists_in(block, ordered), lists_in(told, ordered)
    inside: list[Block] = []
    for name in dict.fromkeys((*lists, *told_lists)):
        kept = [one for one, _ in lists.get(name, ())]
        here = {id(one) for one, _ in told_lists.get(name, ())}
        of_it = [one for one in changes if id(one.block) in here]
        inside += _in_order(kept, of_it) if name else _in_any_order(kept, of_it)
    # Where each line has all of its path, nothing is told of the blocks of that path.
    depth = len(path)
    arrived = {
        below[depth]: None
        for below, of_it in by_path.items()
        if len(below) > depth
        and below[:depth] == path
        and any(one.kind == "added" for one in of_it)
    }
    titles = {one.title for one in inside}
    inside += [Block("", title, block) for title in arrived if title not in titles]
    return _with(block, [_applied(one, (*path, one.title), by_path, ordered) for one in inside])


def _with(block: Block, inside: list[Block]) -> Block:
    found = Block(block.line, block.title, block.parent)
    found.inside = inside
    return found


def _in_order(kept: Sequence[Block], told: Iterable[BlockChange]) -> Iterator[Block]:
    """The entries of a list whose order counts: what came or moved at its position, and between
    them all others as they were."""
    gone: set[int] = set()
    arrivals: dict[int, Block] = {}
    for one in told:
        there = one.block
        if one.before is not None:
            gone.add(one.before)
            here = kept[one.before - 1]
        if one.after is not None:
            arrivals[one.after] = Block(there.line, there.title, there.parent)
            if one.before is not None:
                arrivals[one.after].inside = here.inside
    rest = iter([one for at, one in enumerate(kept, 1) if at not in gone])
    for at in range(1, len(kept) - len(gone) + len(arrivals) + 1):
        yield arrivals[at] if at in arrivals else next(rest)


def _in_any_order(kept: Sequence[Block], told: Sequence[BlockChange]) -> Iterator[Block]:
    gone = Counter(one.block.title for one in told if one.kind == "removed")
    for one in kept:
        if gone[one.title]:
            gone[one.title] -= 1
        else:
            yield one
    for change in told:
        if change.kind == "added":
            yield Block(change.block.line, change.block.title, change.block.parent)


def meaning(block: Block, ordered: Sequence[Ordered]) -> Meaning:
    """What a block says, in an order that only counts where it is configuration, and without the
    numbers of entries."""
    found: list[object] = []
    for name, entries in sorted(lists_in(block, ordered).items()):
        meant = [
            (key, inside) for one, key in entries if (inside := meaning(one, ordered)) or one.line
        ]
        found += [(name, *meant)] if name else sorted(meant, key=repr)
    return tuple(found)
