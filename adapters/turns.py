"""Turns at what there is little of, such that no tenant waits behind all that another one asks for.

Invariants: at most `at_once` turns are taken, at most `of_one` of them by one tenant; a turn that
gets free goes to the tenant that has the fewest, and among those to the one that had none longest.
Who waits, waits for a bounded time.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from domain.errors import Unavailable


class Turns:
    """Turns at `what`. A tenant has at most `waiting` requests waiting, each for `seconds`."""

    def __init__(
        self,
        what: str,
        at_once: int,
        *,
        of_one: int | None = None,
        waiting: int = 100,
        seconds: float = 30.0,
    ) -> None:
        self._what = what
        self._at_once = at_once
        self._of_one = at_once if of_one is None else of_one
        self._most_waiting = waiting
        self._seconds = seconds
        self._taken: Counter[str] = Counter()
        # By tenant; the one whose turn was longest ago comes first.
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, tenant_id: str) -> AsyncIterator[None]:
        """A turn of a tenant's, for the block. Raises `Unavailable` when none is to be had in
        time, or too many wait for one already."""
        await self._take(tenant_id)
        try:
            yield
        finally:
            self._give_back(tenant_id)

    async def _take(self, tenant_id: str) -> None:
        free = not self._queues and self._taken.total() < self._at_once
        if free and self._taken[tenant_id] < self._of_one:
            self._taken[tenant_id] += 1
            return
        queue = self._queues.setdefault(tenant_id, deque())
        if len(queue) >= self._most_waiting:
            raise Unavailable(self._what, f"{len(queue)} requests of the tenant's wait for it")
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(mine)
        self._hand_out()
        try:
            async with asyncio.timeout(self._seconds):
                await mine
        except BaseException as error:
            if mine.done() and not mine.cancelled():
                # It was given a turn just when it gave up.
                self._give_back(tenant_id)
            else:
                self._forget(tenant_id, mine)
            if isinstance(error, TimeoutError):
                raise Unavailable(self._what, f"no turn within {self._seconds:g} s") from error
            raise

    def _give_back(self, tenant_id: str) -> None:
        self._taken[tenant_id] -= 1
        if not self._taken[tenant_id]:
            del self._taken[tenant_id]
        self._hand_out()

    def _hand_out(self) -> None:
        while self._taken.total() < self._at_once:
            able = [one for one in self._queues if self._taken[one] < self._of_one]
            if not able:
                return
            chosen = min(able, key=self._taken.__getitem__)
            queue = self._queues[chosen]
            mine = queue.popleft()
            self._queues.move_to_end(chosen)
            if not queue:
                del self._queues[chosen]
            self._taken[chosen] += 1
            mine.set_result(None)

    def _forget(self, tenant_id: str, mine: asyncio.Future[None]) -> None:
        queue = self._queues.get(tenant_id)
        if queue is not None and mine in queue:
            queue.remove(mine)
            if not queue:
                del self._queues[tenant_id]
