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

_ESCAPE: Final = re.compile(r"\\([0-9A-F]{2}|.)", re.DOTALL)


class Decoded:
    """What stands between the quotes of a string, each escape as the character that it means."""

    def __init__(self, written: str) -> None:
        self._written = written
        self.text = _ESCAPE.sub(meant, written) if "\\" in written else written

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
