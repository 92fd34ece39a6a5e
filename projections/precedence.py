"""Who writes goes first: short ways to Postgres and back are not waited for behind decoding.

A batch begins and ends with some statements that Postgres answers in a tenth of a millisecond.
Decoding goes on in between, by portions that take ten times as long and in which nobody else has a
turn: on a quiet machine Postgres did nothing meanwhile for a tenth of the time. So decoding waits
for these answers, but never long: a table that others lock must hold up nobody's reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

# Where nothing else hinders, what is waited for takes a third of this.
MOST_SECONDS = 0.003


class Precedence:
    """What readers and writers of one program agree by."""

    def __init__(self) -> None:
        self._ahead = 0
        self._until = 0.0
        self._free = asyncio.Event()

    @contextmanager
    def ahead(self) -> Iterator[Callable[[], None]]:
        """Until the block ends, but for `MOST_SECONDS` at most, readers give way. What it gives
        makes that time begin anew."""
        self._ahead += 1
        self._begin()
        try:
            yield self._begin
        finally:
            self._ahead -= 1
            if not self._ahead:
                self._free.set()

    async def give_way(self) -> None:
        """Return when nobody is ahead any more, or has been for too long."""
        left = self._until - asyncio.get_running_loop().time()
        if not self._ahead or left <= 0:
            return
        self._free.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._free.wait()

    def _begin(self) -> None:
        self._until = asyncio.get_running_loop().time() + MOST_SECONDS
