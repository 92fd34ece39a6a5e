"""Merkle trees (RFC 6962): roots of stretches, inclusion, growth."""

from __future__ import annotations

import hashlib
from typing import Any


class Wrong(Exception):
    """The bundle does not verify."""


def need(holds: bool, otherwise: str) -> None:
    """Raise unless something holds."""
    if not holds:
        raise Wrong(otherwise)


def sha256(data: bytes) -> bytes:
    """The SHA-256 of bytes."""
    return hashlib.sha256(data).digest()


def are_hashes(values: list[Any]) -> bool:
    """Whether all are as long as a SHA-256: joined, others could be the same bytes."""
    return all(len(one) == 32 for one in values)


def node(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right)


def heights_before(start: int) -> list[Any]:
    """The heights of the perfect subtrees before a leaf."""
    return [height for height in range(62, -1, -1) if start >> height & 1]


def heights_after(end: int, size: int) -> list[Any]:
    """The heights of the perfect subtrees from a leaf on."""
    heights = []
    while end < size:
        height = 0
        while end % (2 << height) == 0 and end + (2 << height) <= size:
            height += 1
        heights.append(height)
        end += 1 << height
    return heights


def stretch_root(
    start: int, before: list[Any], leaves: list[Any], after: list[Any], size: int
) -> bytes:
    """The root of the tree that a stretch of leaves and the subtrees around it make up."""
    left, right = heights_before(start), heights_after(start + len(leaves), size)
    need(start + len(leaves) <= size, "the stretch goes beyond the checkpoint")
    need(are_hashes([*before, *leaves, *after]), "a proof is not made of hashes")
    need(len(left) == len(before) and len(right) == len(after), "the proof has a wrong length")
    parts = [*zip(left, before), *((0, leaf) for leaf in leaves), *zip(right, after)]  # noqa: B905
    stack: list[Any] = []
    for height, value in parts:
        while stack and stack[-1][0] == height:
            value, height = node(stack.pop()[1], value), height + 1
        stack.append((height, value))
    if not stack:
        return sha256(b"")
    root: bytes = stack.pop()[1]
    while stack:
        root = node(stack.pop()[1], root)
    return root


def grew(old: int, old_root: bytes, new: int, new_root: bytes, proof: list[Any]) -> bool:
    """Whether a consistency proof holds (RFC 9162, 2.1.4.2)."""
    if not 0 < old <= new or not are_hashes([old_root, new_root, *proof]):
        return False
    if old == new:
        return not proof and old_root == new_root
    path = ([old_root] if old & (old - 1) == 0 else []) + proof
    if not path:
        return False
    here, last = old - 1, new - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    first = second = path[0]
    for one in path[1:]:
        if last == 0:
            return False
        if here & 1 or here == last:
            first, second = node(one, first), node(one, second)
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            second = node(second, one)
        here, last = here >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def included(leaf: bytes, index: int, size: int, root: bytes, proof: list[Any]) -> bool:
    """Whether an inclusion proof holds (RFC 9162, 2.1.3.2)."""
    if not are_hashes([leaf, root, *proof]):
        return False
    here, last = index, size - 1
    for one in proof if index < size else []:
        if last == 0:
            return False
        if here & 1 or here == last:
            leaf = node(one, leaf)
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            leaf = node(leaf, one)
        here, last = here >> 1, last >> 1
    return index < size and last == 0 and leaf == root
