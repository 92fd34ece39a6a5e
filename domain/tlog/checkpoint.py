"""Checkpoints (C2SP tlog-checkpoint): a log's name, size and root, as the text of a note.

Strict, and without extension lines: witnesses may refuse them, and none of ours has any.
"""

from __future__ import annotations

import base64
import re

from msgspec import Struct

from domain.errors import NotVerified
from domain.tlog.merkle import HASH_BYTES, MAX_SIZE
from domain.tlog.note import is_key_name, parse_note, strict_base64

# The group matters: without it the anchor would bind only to one of the alternatives.
_SIZE = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z", re.ASCII)


class Checkpoint(Struct, frozen=True):
    """What a log's operator says: so many leaves, with this root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text to sign."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint in a note's text. Raises `NotVerified`."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise NotVerified("the checkpoint", "it is not three lines: origin, size, root")
    origin, size, root = lines[:3]
    if not is_key_name(origin):
        raise NotVerified("the checkpoint", "its origin is not a name")
    try:
        raw = strict_base64(root)
    except ValueError as error:
        raise NotVerified("the checkpoint", "its root is not base64") from error
    if len(raw) != HASH_BYTES:
        raise NotVerified("the checkpoint", "its root is not a SHA-256")
    return Checkpoint(origin, parse_number(size, "the checkpoint"), raw)


def checkpoint_in(raw: bytes) -> Checkpoint:
    """The checkpoint in a note, whoever signed that. Raises `NotVerified`."""
    return parse_checkpoint(parse_note(raw).text)


def parse_number(text: str, what: str) -> int:
    """A size or an index in its only form. Raises `NotVerified`."""
    if not _SIZE.match(text) or int(text) > MAX_SIZE:
        raise NotVerified(what, "a number in it is not a decimal without sign, zeros or spaces")
    return int(text)
