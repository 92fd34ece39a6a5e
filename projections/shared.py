"""One reading of the stream for all projections of a program: pulled once, decoded once.

Whoever follows from about the same position rides on the same train: one reading, whose last events
are kept until all its riders had them. A rider that hardly moves while the others wait for it is
left behind and goes on by itself, until it is near enough to join again. One that is slow and moves
is waited for: a reading of its own would cost all more. What is kept is bounded either way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager, aclosing

from domain.envelope import StreamIdentity
from projections.source import Delivered, EventSource, weight_of

# As many events, of which large ones count as several, are kept for riders at most, and so many of
# those that they had for others who come later: workers of one program begin one after the other, a
# second or more apart on a busy machine. Not for longer than so: events that come slowly would fill
# the memory with what nobody asks for.
MOST_KEPT = 32_000
LATE_KEPT = 32_000
LATE_SECONDS = 10.0
# Who had fewer events than this in that time is left behind. A batch may take seconds to be written
# on a busy machine, and one that is stuck holds nobody up before so many events wait for it.
PATIENCE_SECONDS = 10.0
LEAST_PACE = 1_000


class SharedSource:
    """`EventSource` whose followers share what they can."""

    def __init__(self, source: EventSource) -> None:
        self._source = source
        self._trains: list[_Train] = []

    async def follow(self, after: int = 0) -> AsyncGenerator[Sequence[Delivered], None]:
        """See `EventSource.follow`."""
        position = after
        while True:
            train = self._train_at(position)
            rider = _Rider(position, train.weight_at(position))
            train.riders.append(rider)
            try:
                while not rider.left_behind:
                    batch, weight = await train.next(rider)
                    yield batch
                    position = rider.position = batch[-1].position
                    rider.weight = weight
                    train.make_room()
                    if len(train.riders) == 1 and self._others_at(train, position):
                        break
            finally:
                train.riders.remove(rider)
                train.make_room()
                if not train.riders:
                    self._trains.remove(train)
                    await train.stop()

    def _train_at(self, position: int) -> _Train:
        for train in self._trains:
            if train.passes(position):
                return train
        train = _Train(self._source, position)
        self._trains.append(train)
        return train

    def _others_at(self, own: _Train, position: int) -> bool:
        return any(train is not own and train.passes(position) for train in self._trains)

    async def at(self, position: int) -> Delivered:
        """See `EventSource.at`."""
        return await self._source.at(position)

    async def skipped(self, projection: str, event: Delivered) -> bool:
        """See `EventSource.skipped`."""
        return await self._source.skipped(projection, event)

    async def skipped_before(self, projection: str, event: Delivered, event_id: str) -> bool:
        """See `EventSource.skipped_before`."""
        return await self._source.skipped_before(projection, event, event_id)

    async def head(self) -> int:
        """See `EventSource.head`."""
        return await self._source.head()

    async def identity(self) -> StreamIdentity:
        """See `EventSource.identity`."""
        return await self._source.identity()

    def ahead(self) -> AbstractContextManager[Callable[[], None]]:
        """See `EventSource.ahead`."""
        return self._source.ahead()


class _Rider:
    """Somebody who follows, and has had all events up to `position`; `weight` is what all those of
    its train weigh up to there."""

    def __init__(self, position: int, weight: int) -> None:
        self.position = position
        self.weight = weight
        self.left_behind = False


class _Train:
    """One reading. It keeps the events after `begin` and up to `end`; those that it read weigh
    `weight` up to there."""

    def __init__(self, source: EventSource, after: int) -> None:
        self.riders: list[_Rider] = []
        self.begin = self.end = after
        self.weight = self._begin_weight = 0
        # Each with when it came, on the loop's clock, and what all weigh up to its end.
        self._batches: deque[tuple[float, int, Sequence[Delivered]]] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._reading = asyncio.create_task(self._read(source))
        self._reading.add_done_callback(lambda _: self._news.set())  # its end is news too

    def passes(self, position: int) -> bool:
        """Whether the next event after `position` is kept here, or comes next."""
        return self.begin <= position <= self.end and not self._reading.done()

    def weight_at(self, position: int) -> int:
        """What the events weigh that were read up to about this position."""
        weight = self._begin_weight
        for _, weighs, batch in self._batches:
            if batch[-1].position > position:
                break
            weight = weighs
        return weight

    async def next(self, rider: _Rider) -> tuple[Sequence[Delivered], int]:
        """What follows for the rider, as one batch was read, and its new weight; waits for it.
        Raises what the reading raised, after all that came before."""
        while rider.position >= self.end:
            if self._reading.done():
                self._reading.result()
                raise RuntimeError("the feed of events ended")
            self._news.clear()
            await self._news.wait()
        wanted = rider.position + 1
        for _, weight, batch in reversed(self._batches):  # nearly always the last one
            if batch[0].position == wanted:
                return batch, weight
            if batch[0].position < wanted:
                return batch[wanted - batch[0].position :], weight
        raise RuntimeError(f"position {wanted} is not kept for who follows")

    def make_room(self) -> None:
        """Forget what all riders had, but for the last of it, while it is new."""
        passed = self._passed()
        late = asyncio.get_running_loop().time() - LATE_SECONDS
        while self._batches:
            came, weight, batch = self._batches[0]
            if weight > passed or (weight > self.weight - LATE_KEPT and came > late):
                break
            self.begin, self._begin_weight = batch[-1].position, weight
            self._batches.popleft()
        if self.weight - passed < MOST_KEPT:
            self._room.set()

    async def stop(self) -> None:
        """End the reading; nobody follows any more."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self, source: EventSource) -> None:
        async with aclosing(source.follow(self.end)) as feed:
            async for batch in feed:
                self.weight += weight_of(batch)
                self._batches.append((asyncio.get_running_loop().time(), self.weight, batch))
                self.end = batch[-1].position
                self._news.set()
                # Decoding a batch holds up whoever awaits Postgres: they get their turn between
                # two, also where a long queue of messages is here already.
                await asyncio.sleep(0)
                while self.weight - self._passed() >= MOST_KEPT:
                    await self._wait_for_room()

    def _passed(self) -> int:
        """All riders had the events up to this weight."""
        return min((one.weight for one in self.riders if not one.left_behind), default=self.weight)

    async def _wait_for_room(self) -> None:
        self._room.clear()
        begun = {one: one.weight for one in self.riders}
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._room.wait()
        except TimeoutError:
            if any(one.position >= self.end for one in self.riders):
                self._leave_behind(begun)

    def _leave_behind(self, begun: dict[_Rider, int]) -> None:
        """Go on without those who hold the others up and have hardly moved since."""
        for one in self.riders:
            moved = one.weight - begun.get(one, one.weight)
            if self.weight - one.weight >= MOST_KEPT // 2 and moved < LEAST_PACE:
                one.left_behind = True
        self.make_room()
