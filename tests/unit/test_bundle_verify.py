"""The verifier that travels with a bundle agrees with the rules, and with OpenSSL's signatures."""

from __future__ import annotations

import ast
import hashlib
import json
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.crypto.signing import SigningKey, check_ed25519
from adapters.tlog.offline.bundle import Bundle
from adapters.tlog.offline.ed25519 import signed_by
from adapters.tlog.offline.joined import verifier
from adapters.tlog.offline.trees import Wrong, grew, included, node, stretch_root
from domain.tlog.merkle import leaf_hash, root_of
from domain.tlog.ranges import RangeRoot, after_plan, before_plan
from domain.tlog.tiles import TileReader, TileTree, consistency_plan, inclusion_plan
from tests.vectors import vectors

LEAVES = [leaf_hash(str(number).encode()) for number in range(700)]
_tree = TileTree()
_tree.extend(LEAVES)
TILES = TileReader(_tree.taken())


def test_signatures_are_judged_as_by_openssl_on_published_edge_cases() -> None:
    given = json.loads((vectors("ed25519") / "ed25519vectors.json").read_text())
    accepted = 0
    for one in given:
        key, signature = bytes.fromhex(one["key"]), bytes.fromhex(one["sig"])
        message = one["msg"].encode()
        verdict = signed_by(key, message, signature)
        assert verdict == check_ed25519(key, message, signature), one["number"]
        accepted += verdict
    assert accepted == 208


def test_true_signatures_hold_and_altered_ones_do_not() -> None:
    choice = random.Random(1)
    for _ in range(20):
        key, message = SigningKey(choice.randbytes(32)), choice.randbytes(90)
        signature = key._private.sign(message)
        assert signed_by(key.public, message, signature)
        assert not signed_by(key.public, message + b"x", signature)
        assert not signed_by(key.public, message, signature[:-1] + bytes((signature[-1] ^ 1,)))
    assert not signed_by(key.public, message, signature[:63])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_stretch_of_leaves_gives_the_root_and_no_other_does(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 700))
    start = data.draw(st.integers(0, size))
    end = data.draw(st.integers(start, size))
    before = [TILES.node(one) for one in before_plan(start)]
    after = [TILES.node(one) for one in after_plan(end, size)]
    leaves = LEAVES[start:end]
    root = root_of(LEAVES[:size])
    made = RangeRoot(start, before)
    for leaf in leaves:
        made.add(leaf)
    assert made.root(after, size) == root
    assert stretch_root(start, before, leaves, after, size) == root
    if leaves:
        at = data.draw(st.integers(0, len(leaves) - 1))
        altered = [*leaves[:at], leaf_hash(b"other"), *leaves[at + 1 :]]
        assert stretch_root(start, before, altered, after, size) != root


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700))
def test_growth_is_judged_as_by_the_rules(one: int, two: int) -> None:
    old, new = sorted((one, two))
    proof = [TILES.join(nodes) for nodes in consistency_plan(old, new)]
    roots = root_of(LEAVES[:old]), root_of(LEAVES[:new])
    assert grew(old, roots[0], new, roots[1], proof)
    if old < new:
        assert not grew(old, roots[1], new, roots[1], proof)
        assert not grew(old, roots[0], new, roots[0], proof)


def test_hashes_of_other_lengths_prove_nothing() -> None:
    """A byte that one of two neighbours lacks may stand in the other: joined they are the same."""
    left, old_root, new_root = root_of(LEAVES[:2]), root_of(LEAVES[:3]), root_of(LEAVES[:4])
    assert grew(3, old_root, 4, new_root, [LEAVES[2], LEAVES[3], left])
    shorter, longer = left[:-1], left[-1:] + LEAVES[2]
    forged = node(shorter, node(longer, LEAVES[3]))
    assert node(shorter, longer) == old_root
    assert not grew(3, old_root, 4, forged, [longer, LEAVES[3], shorter])
    assert not included(longer, 2, 3, old_root, [shorter])
    with pytest.raises(Wrong, match="not made of hashes"):
        stretch_root(2, [shorter], [longer], [], 3)


@pytest.mark.parametrize("moved", [-7, 0, 7])
def test_what_is_hidden_in_the_salt_does_not_pass_for_the_text(tmp_path: Path, moved: int) -> None:
    """What is committed to is the salt and the text behind it, without anything in between."""
    both = bytes(range(32)) + b"/user add name=mallory\n/ip address\n"
    body = json.dumps({"content": {"commitment": hashlib.sha256(both).hexdigest()}}).encode()
    (tmp_path / "bundle.json").write_text("{}")
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "4.salt").write_text(both[: 32 + moved].hex() + "\n")
    (tmp_path / "content" / "4.txt").write_bytes(both[32 + moved :])
    bundle = Bundle(str(tmp_path), [], [], 0)
    if moved == 0:
        assert list(bundle.contents({4: body})) == [
            "ok: 1 texts are those that their events committed to"
        ]
        return
    with pytest.raises(Wrong, match=r"content/4\.salt is not a salt of 32 bytes"):
        list(bundle.contents({4: body}))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 700), st.data())
def test_inclusion_is_judged_as_by_the_rules(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = [TILES.join(nodes) for nodes in inclusion_plan(index, size)]
    root = root_of(LEAVES[:size])
    assert included(LEAVES[index], index, size, root, proof)
    for other in range(max(0, index - 3), index + 4):
        assert included(LEAVES[index], other, size, root, proof) == (other == index)
    assert not included(LEAVES[index], index, size, root, [*proof, root])
    assert not included(LEAVES[index], index + (1 << 62), size, root, proof)


def test_its_parts_make_one_file_of_plain_python() -> None:
    tree = ast.parse(verifier(), feature_version=(3, 8))
    imported: set[str] = set()
    for one in ast.walk(tree):
        if isinstance(one, ast.Import):
            imported.update(alias.name for alias in one.names)
        elif isinstance(one, ast.ImportFrom):
            imported.add((one.module or "").partition(".")[0])
    assert imported <= set(sys.stdlib_module_names)
    assert {"adapters", "domain"}.isdisjoint(imported)
