r"""Text under its escapes, and where each of its characters is written.

A script is the value of a property, a header a string in that script: each level has its escapes.
Secrets are looked for in what a level means, and taken out where they are written.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

from domain.routeros.strings import meant

_ESCAPE: Final = re.compile(r"\\([0-9A-F]{2}|.)", re.DOTALL)


class Decoded:
    """What stands between the quotes of a string, each escape as the character that it means."""

    def __init__(self, written: str) -> None:
        self._starts = [0]  # of pieces, in the meaning
        self._places = [0]  # of the same pieces, as written
        if "\\" not in written:
            self.text = written
            return
        parts: list[str] = []
        length = done = 0
        for escape in _ESCAPE.finditer(written):
            if escape.start() > done:
                parts.append(written[done : escape.start()])
                length += escape.start() - done
            parts.append(meant(escape))
            self._starts += (length, length + 1)
            self._places += (escape.start(), escape.end())
            length += 1
            done = escape.end()
        parts.append(written[done:])
        self.text = "".join(parts)

    def place(self, at: int) -> int:
        """Where the character at a place of the meaning is written."""
        piece = bisect_right(self._starts, at) - 1
        return self._places[piece] + at - self._starts[piece]
