"""Room for work at once, shared by parties: nobody waits behind all that another one brings.

Invariants: what a party brings begins in the order in which it came; at most `limit` units are
under way, or one piece that is heavier. Room that gets free goes to the party that has the least
under way, and among those to the one whose turn was longest ago.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")

# What may wait. All of it is held in memory, most of it twice, and comes again if this program
# dies. Who comes behind so much in the stream is not seen before.
WAITING: Final = 256
WAITING_BYTES: Final = 16 * 1024 * 1024


class _Piece(Struct, Generic[T], frozen=True):
    item: T
    weight: int
    size: int


class Shares(Generic[T]):
    """Pieces of work that wait, and room for those under way."""

    def __init__(
        self, limit: int, *, waiting: int = WAITING, waiting_bytes: int = WAITING_BYTES
    ) -> None:
        self._limit = limit
        self._most_waiting = waiting
        self._most_bytes = waiting_bytes
        self._count = 0
        self._bytes = 0
        self._used: Counter[Hashable] = Counter()
        # By party; the one whose turn was longest ago comes first.
        self._queues: OrderedDict[Hashable, deque[_Piece[T]]] = OrderedDict()
        self._changed = asyncio.Event()

    def put(self, party: Hashable, item: T, weight: int, size: int) -> None:
        """Let a piece wait that has so many bytes in memory."""
        self._queues.setdefault(party, deque()).append(_Piece(item, weight, size))
        self._count += 1
        self._bytes += size

    def next(self) -> T | None:
        """The piece that begins now, which has its room; None when there is none, or no room."""
        if not self._queues:
            return None
        party = min(self._queues, key=self._used.__getitem__)
        queue = self._queues[party]
        used = self._used.total()
        if used and used + queue[0].weight > self._limit:
            return None
        piece = queue.popleft()
        self._queues.move_to_end(party)
        if not queue:
            del self._queues[party]
        self._used[party] += piece.weight
        self._less_waiting(piece)
        return piece.item

    def give_back(self, party: Hashable, weight: int) -> None:
        """Free the room of a piece."""
        self._used[party] -= weight
        if not self._used[party]:
            del self._used[party]
        self._changed.set()

    def drop_waiting(self) -> list[T]:
        """Forget what waits; what it was."""
        dropped = [piece for queue in self._queues.values() for piece in queue]
        self._queues.clear()
        for piece in dropped:
            self._less_waiting(piece)
        return [piece.item for piece in dropped]

    async def room_to_wait(self) -> None:
        """Wait until one more may wait."""
        while self._count >= self._most_waiting or self._bytes >= self._most_bytes:
            await self._next_change()

    async def idle(self) -> None:
        """Wait until nothing waits and nothing is under way."""
        while self._queues or self._used:
            await self._next_change()

    def _less_waiting(self, piece: _Piece[T]) -> None:
        self._count -= 1
        self._bytes -= piece.size
        self._changed.set()

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
