"""Commits as git stores them. Libraries refuse to read one whose author or date is malformed, and
with it the whole history behind it; here that costs no more than what it says."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from domain.intake import MAX_AUTHOR

_TREE = re.compile(rb"tree ([0-9a-f]{40})\n(?:parent ([0-9a-f]{40})\n)?")
_AUTHOR = re.compile(rb"\nauthor (.*?) ?<(.*?)>(?: (-?\d{1,19}) [+-]\d{4})?[^\n]*\n")
_HEAD_END: Final = b"\n\n"


class Commit(Struct, frozen=True):
    """What counts of a commit: its tree and first parent (hex), who made it, and when, in seconds
    since 1970; None where that is malformed."""

    tree: str
    parent: str | None
    author: str | None
    at: int | None


def parse_commit(raw: bytes) -> Commit | None:
    """The commit in an object of git's; None when it is no commit at all."""
    found = _TREE.match(raw)
    if found is None:
        return None
    end = raw.find(_HEAD_END)
    author = _AUTHOR.search(raw, 0, len(raw) if end < 0 else end + 1)
    return Commit(
        found[1].decode(),
        found[2].decode() if found[2] else None,
        _line(author[1], author[2]) if author else None,
        int(author[3]) if author and author[3] else None,
    )


def _line(name: bytes, address: bytes) -> str | None:
    told = f"{_text(name)} <{_text(address)}>" if address else _text(name)
    line = "".join(one if one.isprintable() else "?" for one in told).strip()
    return line[:MAX_AUTHOR].strip() or None


def _text(raw: bytes) -> str:
    """UTF-8, as git wants it, or else one character a byte."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
