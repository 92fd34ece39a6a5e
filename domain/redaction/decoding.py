r"""Text under its escapes, and where each of its characters is written.

A script is the value of a property, a header a string in that script: each level has its escapes.
Secrets are looked for in what a level means, and taken out where they are written.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from typing import Final

from domain.routeros.strings import meant

# What a dollar is read as that an escape makes one: it begins no variable.
DOLLAR: Final = "\ufdd0"
_ESCAPE: Final = re.compile(r"\\([0-9A-F]{2}|.)", re.DOTALL)


class Decoded:
    """What stands between the quotes of a string, each escape as the character that it means.

    In a `script` a dollar begins a variable, with an escape too; in any other text it does not.
    """

    def __init__(self, written: str, *, script: bool) -> None:
        self._written = written
        read = meant if script else _read
        self.text = _ESCAPE.sub(read, written) if "\\" in written else written

    def place(self, at: int) -> int:
        """Where the character at a place of the meaning is written."""
        starts, places = self._pieces
        piece = bisect_right(starts, at) - 1
        return places[piece] + at - starts[piece]

    @cached_property
    def _pieces(self) -> tuple[list[int], list[int]]:
        """Where pieces begin, in the meaning and as written: each escape is one."""
        starts, places = [0], [0]
        saved = 0  # characters that escapes have more than what they mean
        for escape in _ESCAPE.finditer(self._written):
            begin, end = escape.span()
            starts += (begin - saved, begin - saved + 1)
            places += (begin, end)
            saved += end - begin - 1
        return starts, places


def with_dollars(text: str) -> str:
    """What a piece of such a text means."""
    return text.replace(DOLLAR, "$")


def _read(found: re.Match[str]) -> str:
    return DOLLAR if found[1] in ("$", "24") else meant(found)
