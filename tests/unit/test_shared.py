"""One reading for several followers: each gets everything, in order, at its own pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest

from domain.errors import StreamGap
from projections import shared
from projections.shared import SharedSource
from projections.source import Batch, Delivered
from tests.generators import played
from tests.listed import Listed
from tests.support import eventually

EVENTS = played(1, 1000).events[:700]


class Counting(Listed):
    """Counts how often it is read."""

    def __init__(self, events: Sequence[Delivered]) -> None:
        super().__init__(events)
        self.readings = 0
        self.given = 0

    async def follow(self, after: int = 0) -> AsyncGenerator[Sequence[Delivered], None]:
        self.readings += 1
        async with aclosing(super().follow(after)) as batches:
            async for batch in batches:
                self.given = max(self.given, batch[-1].position)
                yield batch


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "MOST_KEPT", 200)
    monkeypatch.setattr(shared, "LATE_KEPT", 100)
    monkeypatch.setattr(shared, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(shared, "LEAST_PACE", 1)


class Large(Counting):
    """Its events count as ten each."""

    async def follow(self, after: int = 0) -> AsyncGenerator[Sequence[Delivered], None]:
        async with aclosing(super().follow(after)) as batches:
            async for batch in batches:
                yield Batch(batch, 10 * len(batch))


class Follower:
    """Follows until it has had all; `gate` holds it up."""

    def __init__(self, source: SharedSource, after: int = 0) -> None:
        self.seen: list[Delivered] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._source = source
        self._after = after
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async with aclosing(self._source.follow(self._after)) as batches:
            async for batch in batches:
                self.seen += batch
                await self.gate.wait()
                await asyncio.sleep(0)
                if self.seen[-1].position == len(EVENTS):
                    return


async def test_followers_at_one_pace_share_one_reading() -> None:
    source = Counting(EVENTS)
    followers = [Follower(together) for together in [SharedSource(source)] for _ in range(4)]
    await asyncio.gather(*(one.task for one in followers))
    assert all(one.seen == EVENTS for one in followers)
    assert source.readings == 1


async def test_who_comes_near_joins_and_who_comes_far_reads_alone() -> None:
    source = Counting(EVENTS)
    together = SharedSource(source)
    first = Follower(together, 0)
    first.gate.clear()
    await eventually(lambda: len(first.seen) == 100)
    near, far = Follower(together, 50), Follower(together, 600)
    await far.task
    assert source.readings == 2
    first.gate.set()
    await asyncio.gather(first.task, near.task)
    assert (first.seen, near.seen, far.seen) == (EVENTS, EVENTS[50:], EVENTS[600:])
    assert source.readings == 2


async def test_one_that_holds_the_others_up_is_left_behind_and_still_gets_all() -> None:
    source = Counting(EVENTS)
    together = SharedSource(source)
    slow, quick = Follower(together), Follower(together)
    slow.gate.clear()
    await asyncio.wait_for(quick.task, 20)
    assert quick.seen == EVENTS
    assert len(slow.seen) == 100
    slow.gate.set()
    await asyncio.wait_for(slow.task, 20)
    assert slow.seen == EVENTS


async def test_one_that_keeps_the_least_pace_is_waited_for_however_slow_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared, "LEAST_PACE", 0)
    judged: list[object] = []
    leave_behind = shared._Train._leave_behind

    def counted(train: shared._Train, begun: dict[shared._Rider, int]) -> None:
        judged.append(train)
        leave_behind(train, begun)

    monkeypatch.setattr(shared._Train, "_leave_behind", counted)
    source = Counting(EVENTS)
    together = SharedSource(source)
    slow, quick = Follower(together), Follower(together)
    slow.gate.clear()
    await eventually(lambda: len(judged) >= 3)
    assert len(slow.seen) == 100
    assert len(quick.seen) < len(EVENTS)
    slow.gate.set()
    await asyncio.gather(slow.task, quick.task)
    assert slow.seen == quick.seen == EVENTS
    assert source.readings == 1


async def test_what_is_kept_is_bounded_when_all_are_slow() -> None:
    source = Counting(EVENTS)
    together = SharedSource(source)
    followers = [Follower(together) for _ in range(3)]
    for one in followers:
        one.gate.clear()
    await eventually(lambda: all(len(one.seen) == 100 for one in followers))
    assert source.given <= 100 + 200 + 100
    for one in followers:
        one.gate.set()
    await asyncio.gather(*(one.task for one in followers))
    assert all(one.seen == EVENTS for one in followers)


async def test_what_all_had_is_kept_for_late_ones_only_while_it_is_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = Counting(EVENTS)
    monkeypatch.setattr(shared, "LATE_SECONDS", 0.0)
    together = SharedSource(source)
    first = Follower(together, 0)
    first.gate.clear()
    await eventually(lambda: len(first.seen) == 100)
    first.gate.set()
    await eventually(lambda: len(first.seen) > 100)
    await asyncio.gather(first.task, Follower(together, 50).task)
    assert source.readings == 2


async def test_leaving_ends_the_reading_when_nobody_is_left() -> None:
    together = SharedSource(Counting(EVENTS[:100]))
    followers = [Follower(together) for _ in range(2)]
    await eventually(lambda: all(len(one.seen) == 100 for one in followers))
    for one in followers:
        one.task.cancel()
    await asyncio.gather(*(one.task for one in followers), return_exceptions=True)
    assert len(asyncio.all_tasks()) == 1


async def test_all_hear_of_a_reading_that_fails_after_what_it_gave() -> None:
    class Broken(Listed):
        async def follow(self, after: int = 0) -> AsyncGenerator[Sequence[Delivered], None]:
            yield EVENTS[after:100]
            raise StreamGap("EVENTS", 101, 102)

    together = SharedSource(Broken(EVENTS))
    followers = [Follower(together) for _ in range(2)]
    ended = await asyncio.gather(*(one.task for one in followers), return_exceptions=True)
    assert [type(one) for one in ended] == [StreamGap, StreamGap]
    assert all(one.seen == EVENTS[:100] for one in followers)


async def test_of_large_events_fewer_are_kept_and_who_holds_the_others_up_is_left_behind() -> None:
    source = Large(EVENTS)
    together = SharedSource(source)
    followers = [Follower(together) for _ in range(3)]
    for one in followers:
        one.gate.clear()
    await eventually(lambda: all(len(one.seen) == 100 for one in followers))
    assert source.given <= 200
    for one in followers[1:]:
        one.gate.set()
    await asyncio.wait_for(asyncio.gather(*(one.task for one in followers[1:])), 20)
    assert len(followers[0].seen) == 100
    followers[0].gate.set()
    await asyncio.wait_for(followers[0].task, 20)
    assert all(one.seen == EVENTS for one in followers)
