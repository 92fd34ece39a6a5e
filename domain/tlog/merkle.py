"""The tree of RFC 6962: its hashes, its root as leaves come, and the check of proofs.

Proofs are checked by the algorithms of RFC 9162, 2.1.3.2 and 2.1.4.2, which don't share a line with
what builds them (`tiles`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
# Sizes are signed 64-bit numbers in every implementation that we meet.
MAX_SIZE: Final = 2**63 - 1


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree as its right edge: the roots of its perfect subtrees, largest first. At most 63."""

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def extend(self, leaves: Iterable[bytes]) -> None:
        """More leaves, by their hashes."""
        nodes, peaks, rest = list(leaves), self._peaks, self.size
        self.size += len(nodes)
        left: list[bytes] = []
        # Level by level: the peak of that height, if there is one, stands before the new nodes;
        # what has no neighbour then is the peak of that height.
        while nodes:
            if rest & 1:
                nodes.insert(0, peaks.pop())
            if len(nodes) & 1:
                left.append(nodes.pop())
            pairs = iter(nodes)
            nodes = [
                sha256(b"\x01" + one + two).digest() for one, two in zip(pairs, pairs, strict=True)
            ]
            rest >>= 1
        peaks += reversed(left)

    def copy(self) -> Frontier:
        """Another tree of the same leaves, which grows by itself."""
        other = Frontier()
        other.size, other._peaks = self.size, list(self._peaks)
        return other

    def root(self) -> bytes:
        """The tree's root as of now."""
        return joined(self._peaks)


def joined(nodes: Sequence[bytes]) -> bytes:
    """The root over neighbouring perfect subtrees, largest first; of none, the empty tree's."""
    if not nodes:
        return EMPTY_ROOT
    root = nodes[-1]
    for node in reversed(nodes[:-1]):
        root = node_hash(node, root)
    return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    tree = Frontier()
    tree.extend(leaves)
    return tree.root()


def inclusion_holds(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Whether `proof` shows that the leaf is at `index` of the tree of that size and root."""
    if not 0 <= index < size <= MAX_SIZE or not _are_hashes(leaf, root, *proof):
        return False
    here, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if here & 1 or here == last:
            node = node_hash(sibling, node)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        here, last = here >> 1, last >> 1
    return last == 0 and node == root


def consistency_holds(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether `proof` shows that the new tree begins with the old one's leaves.

    False from size 0: every tree extends the empty one, so there is nothing that could be shown.
    """
    if not 0 < old_size <= new_size <= MAX_SIZE:
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    if not _are_hashes(old_root, new_root, *proof):
        return False
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    here, last = old_size - 1, new_size - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    old = new = path[0]
    for node in path[1:]:
        if last == 0:
            return False
        if here & 1 or here == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            new = node_hash(new, node)
        here, last = here >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
