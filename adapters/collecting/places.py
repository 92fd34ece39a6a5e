"""Places of a program's readings: a few are claimed ahead, so many are connected, and as many are
being sent. A device that is claimed, or whose text is on its way, needs no connection meanwhile.

Invariants: a reading holds one place at any time, and gives it back only once it has the next: so
what was read and is not sent yet is bounded, and where sending stands still, reading does as well.
No claim waits for long: where no connection gets free in time, the claim is given back, and the
readings after it are claimed once they have theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from domain.errors import ConfigtrailError

# So long a claimed device waits for a connection: other collectors may have one free, and somebody
# who asks for a backup would be told that one is under way.
PATIENCE_SECONDS: Final = 1.0


class NoPlace(ConfigtrailError):
    """All connections are taken, and none got free in time: nothing was read."""

    def __init__(self) -> None:
        super().__init__("all connections are taken, and none got free in time")


class Places:
    """For `at_once` connections. `patience`: in seconds; None where nobody else waits for what is
    claimed."""

    def __init__(self, at_once: int, *, patience: float | None = PATIENCE_SECONDS) -> None:
        self.ahead = asyncio.Semaphore(claimed_ahead(at_once))
        self.connections = asyncio.Semaphore(at_once)
        self.sending = asyncio.Semaphore(at_once)
        self.patience = patience
        self.is_crowded = False

    async def begin(self) -> Way:
        """The way of one more reading, once it may begin."""
        if self.is_crowded:
            loop = asyncio.get_running_loop()
            came = loop.time()
            await self.connections.acquire()
            self.is_crowded = self.patience is not None and loop.time() - came >= self.patience
            return Way(self, self.connections)
        await self.ahead.acquire()
        return Way(self, self.ahead)


class Way:
    """One reading on its way. Whoever began it must `leave`, whatever comes."""

    def __init__(self, places: Places, held: asyncio.Semaphore) -> None:
        self._places = places
        self._held = held

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """While the block runs it has a connection's place; after it, also when it failed, one of
        those that are sent. Raises `NoPlace`."""
        places = self._places
        if self._held is not places.connections:
            try:
                async with asyncio.timeout(places.patience):
                    await self._move(places.connections)
            except TimeoutError as error:
                places.is_crowded = True
                raise NoPlace from error
        try:
            yield
        except Exception:
            await self._move(places.sending)
            raise
        await self._move(places.sending)

    def leave(self) -> None:
        """It is done, or given up."""
        self._held.release()

    async def _move(self, to: asyncio.Semaphore) -> None:
        await to.acquire()
        self._held.release()
        self._held = to


def claimed_ahead(at_once: int) -> int:
    """How many are claimed and wait for a connection: as many as get done while one is claimed."""
    return 2 + at_once // 8
