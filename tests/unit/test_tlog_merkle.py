"""The tree against published vectors, against its definition, and against itself."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.tlog.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_holds,
    inclusion_holds,
    joined,
    leaf_hash,
    node_hash,
    root_of,
)
from domain.tlog.tiles import (
    WIDTH,
    Node,
    Place,
    TileReader,
    TileTree,
    consistency_plan,
    inclusion_plan,
    places,
    root_plan,
    tile_path,
)
from tests.vectors import vectors

MOST = 130
# The eight leaves of the reference implementation of Certificate Transparency, and its roots.
REFERENCE = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
REFERENCE_ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
LEAVES = [leaf_hash(str(number).encode()) for number in range(1200)]


def defined_root(leaves: Sequence[bytes]) -> bytes:
    """The root as RFC 6962, 2.1 defines it."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return node_hash(defined_root(leaves[:half]), defined_root(leaves[half:]))


class Kept:
    """Tiles as a table keeps them, filled in pieces."""

    def __init__(self, leaves: Sequence[bytes], *, pieces: random.Random | None = None) -> None:
        self.tiles: dict[Place, bytes] = {}
        tree, at = TileTree(), 0
        while at < len(leaves):
            end = min(len(leaves), at + pieces.randrange(1, 400)) if pieces else len(leaves)
            tree.extend(leaves[at:end])
            self.tiles |= tree.taken()
            # As after a restart: from what was kept.
            edge = {level: tile for level in range(4) if (tile := self.edge(level, end))}
            tree, at = TileTree(end, edge), end
        self.tree = tree

    def edge(self, level: int, size: int) -> bytes | None:
        return self.tiles.get((level, (size >> (8 * level)) // WIDTH))

    def proof(self, plan: list[list[Node]]) -> list[bytes]:
        assert places(plan) <= self.tiles.keys()
        reader = TileReader(self.tiles)
        return [reader.join(nodes) for nodes in plan]


def test_roots_are_those_of_the_reference_implementation() -> None:
    tree = Frontier()
    assert tree.root() == EMPTY_ROOT == defined_root([])
    for data, root in zip(REFERENCE, REFERENCE_ROOTS, strict=True):
        tree.extend((leaf_hash(data),))
        assert tree.root().hex() == root


@given(st.lists(st.integers(0, 40), max_size=8))
def test_leaves_make_the_same_tree_however_many_come_at_once(counts: list[int]) -> None:
    tree = Frontier()
    for count in counts:
        tree.extend(LEAVES[tree.size : tree.size + count])
        assert tree.root() == defined_root(LEAVES[: tree.size])


def test_roots_are_as_defined_for_every_small_size() -> None:
    for size in range(MOST + 1):
        assert root_of(LEAVES[:size]) == defined_root(LEAVES[:size])
        assert Kept(LEAVES[:size]).tree.root() == defined_root(LEAVES[:size])


def test_every_inclusion_proof_of_every_small_tree_holds_and_only_there() -> None:
    kept = Kept(LEAVES[:MOST])
    for size in range(1, MOST + 1):
        root = root_of(LEAVES[:size])
        assert TileReader(kept.tiles).join(root_plan(size)) == root
        for index in range(size):
            proof = kept.proof(inclusion_plan(index, size))
            assert inclusion_holds(LEAVES[index], index, size, proof, root)
            assert not inclusion_holds(LEAVES[index + 1], index, size, proof, root)
            assert not inclusion_holds(LEAVES[index], (index + 1) % size, size, proof, root) or (
                size == 1
            )


def test_every_consistency_proof_of_every_small_pair_holds_and_only_there() -> None:
    kept = Kept(LEAVES[:MOST])
    roots = [root_of(LEAVES[:size]) for size in range(MOST + 1)]
    for new in range(1, MOST + 1):
        for old in range(1, new + 1):
            proof = kept.proof(consistency_plan(old, new))
            assert consistency_holds(old, roots[old], new, roots[new], proof)
            if old < new:
                assert not consistency_holds(old, roots[old - 1], new, roots[new], proof)
                assert not consistency_holds(old, roots[old], new, roots[new - 1], proof)


def test_nothing_is_consistent_with_the_empty_tree() -> None:
    assert not consistency_holds(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    assert not consistency_holds(0, EMPTY_ROOT, 1, LEAVES[0], [])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 1200), st.data())
def test_larger_trees_kept_in_pieces_prove_as_well(size: int, data: st.DataObject) -> None:
    kept = Kept(LEAVES[:size], pieces=random.Random(size))
    root = root_of(LEAVES[:size])
    assert kept.tree.root() == root
    # A proof about a smaller tree comes from the same, fuller tiles.
    smaller = data.draw(st.integers(1, size))
    index = data.draw(st.integers(0, smaller - 1))
    small_root = joined([TileReader(kept.tiles).join(root_plan(smaller))])
    assert small_root == root_of(LEAVES[:smaller])
    proof = kept.proof(inclusion_plan(index, smaller))
    assert inclusion_holds(LEAVES[index], index, smaller, proof, small_root)
    path = kept.proof(consistency_plan(smaller, size))
    assert consistency_holds(smaller, small_root, size, root, path)
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        path[at] = bytes((path[at][0] ^ 1,)) + path[at][1:]
        assert not consistency_holds(smaller, small_root, size, root, path)


@pytest.mark.parametrize("kind", ["inclusion", "consistency"])
def test_published_proofs_are_accepted_and_broken_ones_refused(kind: str) -> None:
    files = sorted(vectors("merkle").glob(f"{kind}/**/*.json"))
    assert len(files) >= 90
    for file in files:
        given = json.loads(file.read_text())
        proof = [base64.b64decode(one) for one in given["proof"] or []]

        def raw(name: str, given: dict[str, str] = given) -> bytes:
            return base64.b64decode(given[name] or "")

        if kind == "inclusion":
            holds = inclusion_holds(
                raw("leafHash"), given["leafIdx"], given["treeSize"], proof, raw("root")
            )
        else:
            holds = consistency_holds(
                given["size1"], raw("root1"), given["size2"], raw("root2"), proof
            )
        assert holds == (not given["wantErr"]), file


def test_tiles_are_where_the_standard_says() -> None:
    assert tile_path(0, 0) == "0/000"
    assert tile_path(1, 1234067) == "1/x001/x234/067"
    tree = TileTree()
    tree.extend(LEAVES[:600])
    assert {place: len(tile) // 32 for place, tile in tree.taken().items()} == {
        (0, 0): 256,
        (0, 1): 256,
        (0, 2): 88,
        (1, 0): 2,
    }
