"""Which TCP connections stay open: when there are too many, the one that was quiet longest gives
way. Devices keep theirs open for days and say nothing, so silence alone ends none."""

from __future__ import annotations

import asyncio
from typing import Final

MOST: Final = 256
MOST_OF_ONE: Final = 8
"""Of one address: a device that opens one after the other takes none of another's."""


class Connections:
    """The open connections; at most `most`, and at most `most_of_one` of an address."""

    def __init__(self, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        self._most = most
        self._most_of_one = most_of_one
        # In the order of when they last said something.
        self._open: dict[asyncio.StreamWriter, str] = {}

    def opened(self, writer: asyncio.StreamWriter, address: str) -> None:
        """There is one more: make room for it."""
        own = [one for one, its in self._open.items() if its == address]
        if len(own) >= self._most_of_one:
            self.closed(own[0])
        elif len(self._open) >= self._most:
            self.closed(next(iter(self._open)))
        self._open[writer] = address

    def heard(self, writer: asyncio.StreamWriter) -> None:
        """It said something just now."""
        address = self._open.pop(writer, None)
        if address is not None:
            self._open[writer] = address

    def closed(self, writer: asyncio.StreamWriter) -> None:
        """Close it, unless it is closed already."""
        self._open.pop(writer, None)
        writer.close()

    def close_all(self) -> None:
        """Nobody listens any more."""
        for writer in list(self._open):
            self.closed(writer)
