"""A program's part in collecting, while it reads any device: one lease for all of its readings.

Which devices it reads, their records say; whose session is over reads none of them. To prove that
the lease is still there costs one write for all who ask at the same time.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from adapters.jetstream.leases import Hold, Leases
from domain.errors import LeaseLost

log = logging.getLogger(__name__)

# So long a proof waits for others who want one.
_GATHER_SECONDS: Final = 0.01


def session_lease(token: str) -> str:
    """The lease of a session. Of another number of parts than the name of a device's record, beside
    which it is kept."""
    return f"session.{token}.lease"


class Session:
    """One session. Its token is never used again: once over, it stays so."""

    def __init__(self, leases: Leases, seconds: float) -> None:
        self.token = uuid.uuid4().hex
        self.members = 0
        self.turns = 0
        self.is_over = False
        self._leases = leases
        self._seconds = seconds
        self._left = asyncio.Event()
        self._limits: set[asyncio.Timeout] = set()
        self._proving = asyncio.Lock()
        self._asked = self._proven = 0
        self._proven_until = 0.0
        loop = asyncio.get_running_loop()
        self._hold: asyncio.Future[Hold] = loop.create_future()
        self._held = loop.create_task(self._run(), name=f"session {self.token}")
        self._lost = "it could not be renewed in time"

    async def confirm(self) -> None:
        """Prove, to the server, that the session goes on, by what is sent after this was asked for.
        Raises `LeaseLost`, and `Unavailable` when it can't be proven now."""
        self._asked += 1
        mine = self._asked
        loop = asyncio.get_running_loop()
        async with self._proving:
            # Of a proof from before this program stood still, others may know better.
            if self._proven >= mine and loop.time() < self._proven_until:
                return
            await asyncio.sleep(_GATHER_SECONDS)
            asked, until = self._asked, loop.time() + self._seconds / 2
            try:
                await self._hold.result().confirm()
            except LeaseLost:
                self.is_over = True
                raise
            self._proven, self._proven_until = asked, until

    @asynccontextmanager
    async def bound(self, name: str) -> AsyncIterator[None]:
        """While the block runs it has part in the session: if that is lost, the block is cancelled
        and `LeaseLost` raised, under this name."""
        await asyncio.shield(self._hold)
        limit: asyncio.Timeout | None = None
        try:
            async with asyncio.timeout(None) as limit:
                self._limits.add(limit)
                if self._held.done():
                    limit.reschedule(0)
                yield
            if limit.expired():
                raise LeaseLost(name, self._lost)
        except TimeoutError as error:
            if limit is None or not limit.expired():
                raise
            raise LeaseLost(name, self._lost) from error
        finally:
            if limit is not None:
                self._limits.discard(limit)

    async def end(self) -> None:
        """Nobody has part in it any more."""
        self.is_over = True
        self._left.set()
        await asyncio.wait([self._held])

    async def _run(self) -> None:
        try:
            async with self._leases.hold(session_lease(self.token), self._seconds) as hold:
                self._hold.set_result(hold)
                await self._left.wait()
        except LeaseLost as error:
            self._lost = error.reason
        except Exception as error:
            if self._hold.done():
                log.error("the session %s ended unexpectedly", self.token, exc_info=error)
                self._lost = type(error).__name__
            else:
                self._hold.set_exception(error)
                self._hold.exception()  # counts as looked at: all who asked may be gone
        finally:
            self.is_over = True
            self._hold.cancel()
            for limit in self._limits:
                limit.reschedule(0)


class Sessions:
    """The sessions of one program, one after the other."""

    def __init__(self, leases: Leases, seconds: float) -> None:
        self._leases = leases
        self._seconds = seconds
        self._current: Session | None = None

    @asynccontextmanager
    async def joined(self, name: str) -> AsyncIterator[Session]:
        """Have part in the session that goes on, or in a new one; `name` as for `Session.bound`.
        Raises `Unavailable` when none can begin."""
        session = self._current
        if session is None or session.is_over:
            session = self._current = Session(self._leases, self._seconds)
        session.members += 1
        try:
            async with session.bound(name):
                yield session
        finally:
            session.members -= 1
            if not session.members:
                await session.end()
