"""That a stretch of leaves is what a tree holds there, all of it: a proof for many at once.

The tree is cut into the perfect subtrees before the stretch, its leaves, and the perfect subtrees
after it. Put together from left to right they must give the root.
"""

from __future__ import annotations

from collections.abc import Sequence

from domain.tlog.merkle import joined, node_hash
from domain.tlog.tiles import Node, root_plan


def before_plan(start: int) -> list[Node]:
    """The subtrees before leaf `start`, from left to right."""
    return root_plan(start)


def after_plan(end: int, size: int) -> list[Node]:
    """The subtrees from leaf `end` on, from left to right."""
    nodes: list[Node] = []
    while end < size:
        height = (end & -end).bit_length() - 1 if end else size.bit_length() - 1
        while end + (1 << height) > size:
            height -= 1
        nodes.append((height, end >> height))
        end += 1 << height
    return nodes


class RangeRoot:
    """The root over the three parts, as the leaves come. Raises `ValueError` when the parts don't
    make up such a tree."""

    def __init__(self, start: int, before: Sequence[bytes]) -> None:
        self._end = start
        self._stack: list[tuple[int, bytes]] = []
        self._put(before_plan(start), before)

    def add(self, leaf: bytes) -> None:
        """The next leaf of the stretch, by its hash."""
        self._push(0, leaf)
        self._end += 1

    def root(self, after: Sequence[bytes], size: int) -> bytes:
        """The root of the tree of that size, once all leaves of the stretch are there."""
        if self._end > size:
            raise ValueError("the stretch goes beyond the tree")
        self._put(after_plan(self._end, size), after)
        return joined([node for _, node in self._stack])

    def _put(self, plan: Sequence[Node], nodes: Sequence[bytes]) -> None:
        if len(plan) != len(nodes):
            raise ValueError("the parts do not make up a tree of that size")
        for (height, _), node in zip(plan, nodes, strict=True):
            self._push(height, node)

    def _push(self, height: int, node: bytes) -> None:
        while self._stack and self._stack[-1][0] == height:
            node = node_hash(self._stack.pop()[1], node)
            height += 1
        self._stack.append((height, node))
