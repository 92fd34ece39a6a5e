"""Proofs as texts that anybody can check offline: inclusion (C2SP tlog-proof) and consistency.

The consistency proof has the form of a request to a witness (C2SP tlog-witness), after the older
checkpoint in a text of its own:

    configtrail/consistency-proof@v1
    old <size>
    <root of the old size, base64>
    <proof hashes, base64, one a line>

    <newer checkpoint, a signed note>
"""

from __future__ import annotations

import base64

from msgspec import Struct

from domain.errors import NotVerified
from domain.tlog.checkpoint import Checkpoint, parse_checkpoint, parse_number
from domain.tlog.merkle import HASH_BYTES, consistency_holds, inclusion_holds
from domain.tlog.note import MAX_NOTE, Check, Note, VerifierKey, parse_note, strict_base64, verified

INCLUSION = "c2sp.org/tlog-proof@v1"
CONSISTENCY = "configtrail/consistency-proof@v1"
MAX_PROOF = 2 * MAX_NOTE
_MOST_HASHES = 63


class InclusionProof(Struct, frozen=True):
    """That a leaf is in the log. `extra` is the leaf's data: convenient, and not to be trusted."""

    index: int
    hashes: tuple[bytes, ...]
    note: Note
    extra: bytes | None = None

    def __str__(self) -> str:
        extra = [] if self.extra is None else [f"extra {_encoded(self.extra)}"]
        lines = [INCLUSION, *extra, f"index {self.index}", *map(_encoded, self.hashes), ""]
        return "\n".join(lines) + f"\n{self.note}"


class ConsistencyProof(Struct, frozen=True):
    """That a log only grew since it had this size and root."""

    old_size: int
    old_root: bytes
    hashes: tuple[bytes, ...]
    note: Note

    def __str__(self) -> str:
        head = [CONSISTENCY, f"old {self.old_size}", _encoded(self.old_root)]
        return "\n".join([*head, *map(_encoded, self.hashes), ""]) + f"\n{self.note}"


def parse_proof(raw: bytes) -> InclusionProof | ConsistencyProof:
    """The proof in a text. Its form is right then; whether it holds, `check_*` tell.

    Raises `NotVerified`.
    """
    if len(raw) > MAX_PROOF:
        raise NotVerified("the proof", "it is too long")
    try:
        head, blank, note = raw.decode().partition("\n\n")
    except UnicodeDecodeError as error:
        raise NotVerified("the proof", "it is not UTF-8") from error
    if not blank:
        raise NotVerified("the proof", "it has no checkpoint")
    kind, *lines = head.split("\n")
    parsed = parse_note(note.encode())
    if kind == INCLUSION:
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = _decoded(lines.pop(0).removeprefix("extra "))
        index, hashes = _numbered(lines, "index ")
        return InclusionProof(index, hashes, parsed, extra)
    if kind == CONSISTENCY:
        old, hashes = _numbered(lines, "old ")
        if not hashes:
            raise NotVerified("the proof", "it lacks the root of the old size")
        return ConsistencyProof(old, hashes[0], hashes[1:], parsed)
    raise NotVerified("the proof", "it is of no form that is known here")


def check_inclusion(
    proof: InclusionProof, leaf: bytes, keys: tuple[VerifierKey, ...], check: Check
) -> Checkpoint:
    """The checkpoint that the leaf is in. Raises `NotVerified` when the proof does not hold."""
    checkpoint = _checkpoint(proof.note, keys, check)
    if not inclusion_holds(leaf, proof.index, checkpoint.size, proof.hashes, checkpoint.root):
        raise NotVerified("the proof", f"the event is not entry {proof.index} of that checkpoint")
    return checkpoint


def check_consistency(
    proof: ConsistencyProof, keys: tuple[VerifierKey, ...], check: Check
) -> Checkpoint:
    """The newer checkpoint. Raises `NotVerified` when the proof does not hold."""
    new = _checkpoint(proof.note, keys, check)
    if not consistency_holds(proof.old_size, proof.old_root, new.size, new.root, proof.hashes):
        raise NotVerified("the proof", f"the log did not grow from size {proof.old_size} to that")
    return new


def _checkpoint(note: Note, keys: tuple[VerifierKey, ...], check: Check) -> Checkpoint:
    checkpoint = parse_checkpoint(note.text)
    # A key vouches for the log that has its name: another tenant's checkpoint is none of this log.
    own = [key for key in keys if key.name == checkpoint.origin]
    verified(note, own, check)
    return checkpoint


def _numbered(lines: list[str], word: str) -> tuple[int, tuple[bytes, ...]]:
    if not lines or not lines[0].startswith(word):
        raise NotVerified("the proof", f"the line '{word}…' is missing")
    number = parse_number(lines[0].removeprefix(word), "the proof")
    hashes = tuple(map(_decoded, lines[1:]))
    if len(hashes) > _MOST_HASHES + 1 or any(len(one) != HASH_BYTES for one in hashes):
        raise NotVerified("the proof", "it is not made of SHA-256 hashes")
    return number, hashes


def _decoded(text: str) -> bytes:
    try:
        return strict_base64(text)
    except ValueError as error:
        raise NotVerified("the proof", "a line is not base64") from error


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
