"""Places of readings: bounded at every stage, none lost, and no claim waits for long."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.collecting.places import NoPlace, Places, Way, claimed_ahead
from tests.support import eventually

Step = Literal["begin", "read", "break", "send", "cancel"]


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


class Reading:
    """A reading that goes on when it is told to."""

    def __init__(self, places: Places) -> None:
        self.stage = "waiting"
        self.read = asyncio.Event()
        self.sent = asyncio.Event()
        self.breaks = False
        self.task = asyncio.create_task(self._run(places))

    async def _run(self, places: Places) -> None:
        way = await places.begin()
        self.stage = "claimed"
        try:
            await self._go(way)
        finally:
            self.stage = "done"
            way.leave()

    async def _go(self, way: Way) -> None:
        try:
            async with way.connected():
                self.stage = "connected"
                await self.read.wait()
                if self.breaks:
                    raise ConnectionError
        except ConnectionError:
            pass
        self.stage = "sending"
        await self.sent.wait()


@given(
    at_once=st.integers(1, 4),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["begin", "read", "break", "send", "cancel"]), st.integers(0, 40)
        ),
        max_size=60,
    ),
)
def test_every_stage_is_bounded_and_no_place_is_lost(
    at_once: int, steps: list[tuple[Step, int]]
) -> None:
    async def run() -> None:
        places = Places(at_once, patience=None)
        readings: list[Reading] = []
        for step, number in steps:
            if step == "begin":
                readings.append(Reading(places))
            elif readings:
                _step(readings[number % len(readings)], step)
            await settle()
            now = Counter(one.stage for one in readings)
            assert now["claimed"] <= claimed_ahead(at_once)
            # Who has read keeps its connection's place until it may send.
            assert now["connected"] <= at_once
            assert now["sending"] <= at_once
        for one in readings:
            one.read.set()
            one.sent.set()
        await asyncio.gather(*(one.task for one in readings), return_exceptions=True)
        again = [Reading(places) for _ in range(2 * at_once + claimed_ahead(at_once))]
        await settle()
        assert Counter(one.stage for one in again)["connected"] == at_once
        for one in again:
            one.read.set()
        await settle()
        now = Counter(one.stage for one in again)
        assert now == {"sending": at_once, "connected": at_once, "claimed": claimed_ahead(at_once)}
        for one in again:
            one.sent.set()
        await asyncio.gather(*(one.task for one in again))

    asyncio.run(run())


def _step(reading: Reading, step: Step) -> None:
    match step:
        case "read":
            reading.read.set()
        case "break":
            reading.breaks = True
            reading.read.set()
        case "send":
            reading.sent.set()
        case "cancel":
            reading.task.cancel()
        case "begin":
            raise AssertionError("a reading begins once")


async def test_a_claim_without_a_connection_in_time_is_given_back_and_the_next_wait_first() -> None:
    places = Places(1, patience=0.01)
    first = Reading(places)
    await settle()
    late = Reading(places)
    with pytest.raises(NoPlace):
        await late.task
    next_one = Reading(places)
    await settle()
    assert next_one.stage == "waiting"
    first.read.set()
    first.sent.set()
    await eventually(lambda: next_one.stage == "connected")
    next_one.read.set()
    next_one.sent.set()
    await asyncio.gather(first.task, next_one.task)
