"""A request to a witness (C2SP tlog-witness): the size it knows, a proof, the new checkpoint."""

from __future__ import annotations

import base64

from msgspec import Struct

from domain.errors import NotVerified
from domain.tlog.checkpoint import parse_number
from domain.tlog.merkle import HASH_BYTES
from domain.tlog.note import MAX_NOTE, Note, parse_note, strict_base64

_MOST_HASHES = 63


class WitnessRequest(Struct, frozen=True):
    """That the log grew from `old_size` to the checkpoint in `note`."""

    old_size: int
    hashes: tuple[bytes, ...]
    note: Note

    def __str__(self) -> str:
        lines = [f"old {self.old_size}", *(base64.b64encode(one).decode() for one in self.hashes)]
        return "\n".join([*lines, ""]) + f"\n{self.note}"


def parse_request(raw: bytes) -> WitnessRequest:
    """The request in a body. Raises `NotVerified` for any other form."""
    if len(raw) > 2 * MAX_NOTE:
        raise NotVerified("the request", "it is too long")
    head, blank, note = raw.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
        hashes = tuple(strict_base64(line) for line in lines)
    except ValueError as error:
        raise NotVerified("the request", "a line is not base64") from error
    if not blank or not first.startswith("old "):
        raise NotVerified("the request", "it is not 'old N', a proof and a checkpoint")
    if len(hashes) > _MOST_HASHES or any(len(one) != HASH_BYTES for one in hashes):
        raise NotVerified("the request", "its proof is not made of at most 63 SHA-256 hashes")
    return WitnessRequest(
        parse_number(first.removeprefix("old "), "the request"), hashes, parse_note(note)
    )
