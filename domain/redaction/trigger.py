"""What text that has a secret must have in it. Nearly all text has none of it, and is passed over.

Passing over is for speed alone: it never changes what is found.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

import re2  # type: ignore[import-untyped]

from domain.redaction import modems, names, patterns, properties


def compiled(pattern: str) -> Any:
    """An expression of RE2, for bytes and in any case of letters."""
    options = re2.Options()
    options.case_sensitive = False
    return re2.compile(pattern, options=options)


# Escapes that RouterOS does not write, of letters that need none: what they mean may be any of it.
_ODD_ESCAPES: Final = (
    r'(?-i:\\(?:[2-7][0-9A-F]|[0-9A-F](?:[^0-9A-F]|\z)|[^"\\$?nrtabfv_\r\n0-9A-F]))'
)
_TRIGGER: Final = compiled(
    "|".join((names.STEMS, modems.STEMS, patterns.STEMS, properties.STEMS, _ODD_ESCAPES)),
)


def triggers(text: str) -> bool:
    """Whether a text may have a secret, wherever it stands."""
    return _TRIGGER.search(text.encode("utf-8", "surrogatepass")) is not None


def loud(lines: Sequence[str]) -> set[int]:
    """Which of the lines may have a secret, by number; no line is looked at on its own."""
    raw = "\n".join(lines).encode("utf-8", "surrogatepass")
    # A line may hold newlines of its own: of each newline, whose line begins behind it.
    firsts = list(accumulate((line.count("\n") + 1 for line in lines), initial=0))
    found: set[int] = set()
    at = number = 0
    while (hit := _TRIGGER.search(raw, at)) is not None:
        number += raw.count(b"\n", at, hit.start())
        found.add(bisect_right(firsts, number) - 1)
        end = raw.find(b"\n", hit.start())
        if end < 0:
            break
        number += 1
        at = end + 1
    return found
