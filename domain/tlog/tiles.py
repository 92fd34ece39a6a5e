"""A tree in tiles of 256 hashes (C2SP tlog-tiles), and proofs from them.

Tile (level, n) holds the roots of the perfect subtrees of height 8 · level, from number 256 · n on.
A tile only ever grows at its end: one that is fuller than a tree needs serves that tree as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final, TypeAlias

from domain.tlog.merkle import HASH_BYTES, joined

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT
TILE_BYTES: Final = WIDTH * HASH_BYTES

Node: TypeAlias = tuple[int, int]  # (height, number): a perfect subtree of 2^height leaves
Place: TypeAlias = tuple[int, int]  # (level, n): a tile


class TileTree:
    """A growing tree's unfinished tiles. `changed` holds what is to be kept of it."""

    def __init__(self, size: int = 0, edge: Mapping[int, bytes] | None = None) -> None:
        """`edge`: the last tile of each level, as they were kept when the tree had this size."""
        self.size = size
        self._levels: list[bytearray] = []
        for level, width in enumerate(_edge_widths(size)):
            kept = (edge or {}).get(level, b"")
            # A full last tile is no longer the edge; one that is fuller belongs to a larger tree.
            self._levels.append(bytearray(kept[: width * HASH_BYTES]))
            if len(self._levels[level]) != width * HASH_BYTES:
                raise ValueError(f"the last tile of level {level} is not that of size {size}")
        self.changed: dict[Place, bytes] = {}

    def extend(self, leaves: Iterable[bytes]) -> None:
        """More leaves, by their hashes."""
        for leaf in leaves:
            self._add(0, self.size, leaf)
            self.size += 1
        # Only the last state of a tile counts: filled ones were noted when they were full.
        for level, tile in enumerate(self._levels):
            if tile:
                self.changed[level, (self.size >> (HEIGHT * level)) // WIDTH] = bytes(tile)

    def _add(self, level: int, number: int, node: bytes) -> None:
        if level == len(self._levels):
            self._levels.append(bytearray())
        tile = self._levels[level]
        tile += node
        if len(tile) == TILE_BYTES:
            full = bytes(tile)
            tile.clear()
            self.changed[level, number // WIDTH] = full
            self._add(level + 1, number // WIDTH, _perfect(full))

    def taken(self) -> dict[Place, bytes]:
        """What changed since the last call."""
        changed, self.changed = self.changed, {}
        return changed

    def root(self) -> bytes:
        """The tree's root."""
        peaks: list[bytes] = []
        for tile in reversed(self._levels):
            at, width = 0, len(tile) // HASH_BYTES
            for height in range(HEIGHT - 1, -1, -1):
                if width & (1 << height):
                    end = at + (HASH_BYTES << height)
                    peaks.append(_perfect(tile[at:end]))
                    at = end
        return joined(peaks)


class TileReader:
    """The hashes of nodes from tiles. Raises `KeyError` when a tile lacks what a node needs."""

    def __init__(self, tiles: Mapping[Place, bytes]) -> None:
        self._tiles = tiles

    def node(self, node: Node) -> bytes:
        """The hash of a perfect subtree."""
        place, at, width = _inside(node)
        start, end = at * HASH_BYTES, (at + width) * HASH_BYTES
        hashes = self._tiles[place][start:end]
        if len(hashes) != end - start:
            raise KeyError(place)
        return _perfect(hashes)

    def join(self, nodes: Sequence[Node]) -> bytes:
        """The root over neighbouring perfect subtrees."""
        return joined([self.node(one) for one in nodes])


def places(plan: Iterable[Sequence[Node]]) -> set[Place]:
    """The tiles that the nodes of a plan lie in."""
    return {_inside(node)[0] for nodes in plan for node in nodes}


def root_plan(size: int) -> list[Node]:
    """The perfect subtrees that a tree of this size consists of."""
    return _cover(0, size)


def inclusion_plan(index: int, size: int) -> list[list[Node]]:
    """What each hash of the proof that `index` is in the tree joins: RFC 6962, 2.1.1."""
    if not 0 <= index < size:
        raise ValueError("there is no such leaf in the tree")
    plan: list[list[Node]] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            plan.append(_cover(middle, end))
            end = middle
        else:
            plan.append(_cover(start, middle))
            start = middle
    return plan[::-1]


def consistency_plan(old: int, new: int) -> list[list[Node]]:
    """What each hash of the proof that the tree grew from one size to the other joins: RFC 6962,
    2.1.2. Empty from size 0 and for equal sizes."""
    if not 0 <= old <= new:
        raise ValueError("a tree does not shrink")
    if old in (0, new):
        return []
    plan: list[list[Node]] = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            plan.append(_cover(middle, end))
            end = middle
        else:
            plan.append(_cover(start, middle))
            start, whole = middle, False
    if not whole:
        plan.append(_cover(start, end))
    return plan[::-1]


def tile_path(level: int, n: int) -> str:
    """A tile's path under `tile/`, without a width: `0/x001/234`."""
    groups = [f"{n % 1000:03d}"]
    while n >= 1000:
        n //= 1000
        groups.append(f"x{n % 1000:03d}")
    return f"{level}/{'/'.join(reversed(groups))}"


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _cover(start: int, end: int) -> list[Node]:
    """The perfect subtrees from `start` to `end`, largest first; `start` is a multiple of the
    largest, which holds for every part of a tree."""
    nodes: list[Node] = []
    while start < end:
        height = (end - start).bit_length() - 1
        nodes.append((height, start >> height))
        start += 1 << height
    return nodes


def _inside(node: Node) -> tuple[Place, int, int]:
    """The tile that a node lies in, and which of its hashes make it up: from where, how many."""
    height, number = node
    level, above = divmod(height, HEIGHT)
    first = number << above
    return (level, first // WIDTH), first % WIDTH, 1 << above


def _edge_widths(size: int) -> list[int]:
    widths: list[int] = []
    while size:
        widths.append(size % WIDTH)
        size //= WIDTH
    return widths


def _perfect(hashes: bytes | bytearray) -> bytes:
    """The root over a power of two of hashes."""
    row = [bytes(hashes[at : at + HASH_BYTES]) for at in range(0, len(hashes), HASH_BYTES)]
    while len(row) > 1:
        row = [sha256(b"\x01" + row[at] + row[at + 1]).digest() for at in range(0, len(row), 2)]
    return row[0]
