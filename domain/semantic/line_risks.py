"""Risks of changes on platforms with a profile, each with its reason."""

from __future__ import annotations

import re
from typing import Final

from domain.profiles.watching import OpenBlock, Watched
from domain.semantic.blocks import Block, BlockChange
from domain.semantic.told import Risk

_OPEN: Final = Risk("protection", "the rule lets in whatever comes to it")
# Of lines longer than this no rule of a device is.
_LONGEST: Final = 1_000
# A rule that looks at so many things is open to nobody.
_MOST_LINES: Final = 50


class LineRisks:
    """What changed lines may do to a device's safety, by what is watched on its platform."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._open: dict[int, bool] = {}
        self._of_path: dict[tuple[str, ...], str] = {}

    def of(self, change: BlockChange) -> tuple[Risk, ...]:
        """The risks of a change, in words of ours."""
        line = change.block.title[:_LONGEST]
        path = " > ".join(one[:_LONGEST] for one in change.block.path)
        kind = "removed" if change.kind == "removed" else "added"
        found = dict.fromkeys(
            Risk(one.tag, one.reason)
            for one in self._watched.risks
            if one.kind in (None, kind)
            and (one.path is None or one.path.search(path))
            and one.line.match(line)
        )
        if change.kind == "added" and any(map(self._is_open, change.block.around())):
            found[_OPEN] = None
        return tuple(found)

    def _is_open(self, block: Block) -> bool:
        if id(block) not in self._open:
            path = " > ".join(block.path)
            self._open[id(block)] = any(
                _fits(one, block, path) for one in self._watched.open_blocks
            )
        return self._open[id(block)]


def _fits(rule: OpenBlock, block: Block, path: str) -> bool:
    begun = rule.begins.match(block.line or block.title)
    if begun is None or (rule.path is not None and not rule.path.search(path)):
        return False
    lines = _lines(block, begun)
    if len(lines) > _MOST_LINES:
        return False
    if rule.lacks is not None and any(map(rule.lacks.match, lines)):
        return False
    return all(any(map(one.match, lines)) for one in rule.has)


def _lines(block: Block, begun: re.Match[str]) -> list[str]:
    """The lines of a rule: those in its block, or, where each line has all of its path, those that
    begin as it does."""
    if block.inside or block.parent is None:
        return [one.line for one in block.all_inside()]
    return [one.line for one in block.parent.inside if one.line.startswith(begun[0])]
