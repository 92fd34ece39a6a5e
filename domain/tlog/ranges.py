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


def range_root(
    start: int, before: Sequence[bytes], leaves: Sequence[bytes], after: Sequence[bytes], size: int
) -> bytes:
    """The root over the three parts. Raises `ValueError` when they don't make up such a tree."""
    left, right = before_plan(start), after_plan(start + len(leaves), size)
    if len(left) != len(before) or len(right) != len(after) or start + len(leaves) > size:
        raise ValueError("the parts do not make up a tree of that size")
    parts = [(height, node) for (height, _), node in zip(left, before, strict=True)]
    parts += [(0, leaf) for leaf in leaves]
    parts += [(height, node) for (height, _), node in zip(right, after, strict=True)]
    stack: list[tuple[int, bytes]] = []
    for height, node in parts:
        while stack and stack[-1][0] == height:
            node = node_hash(stack.pop()[1], node)
            height += 1
        stack.append((height, node))
    return joined([node for _, node in stack])
