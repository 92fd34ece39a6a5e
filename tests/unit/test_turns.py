"""Turns at what is scarce: bounded, and fair between tenants whatever one of them asks for."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.turns import Turns
from domain.errors import Unavailable


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


class Asking:
    """Requests that hold their turn until they are told to end."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.served: list[str] = []
        self.holding: list[tuple[str, asyncio.Event]] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def ask(self, tenant: str) -> asyncio.Task[None]:
        task = asyncio.create_task(self._run(tenant))
        self.tasks.append(task)
        await settle()
        return task

    async def _run(self, tenant: str) -> None:
        async with self.turns.turn(tenant):
            self.served.append(tenant)
            end = asyncio.Event()
            self.holding.append((tenant, end))
            await end.wait()

    async def end(self, at: int = 0) -> None:
        self.holding.pop(at)[1].set()
        await settle()

    async def end_all(self) -> None:
        while self.holding:
            await self.end()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_who_comes_with_one_request_is_next_however_many_another_has_waiting() -> None:
    asking = Asking(Turns("it", 2))
    for _ in range(20):
        await asking.ask("busy")
    await asking.ask("quiet")
    assert asking.served == ["busy", "busy"]
    await asking.end()
    assert asking.served[2:] == ["quiet"]
    await asking.end_all()
    assert Counter(asking.served) == {"busy": 20, "quiet": 1}


async def test_one_tenant_never_has_all_turns_where_that_is_said() -> None:
    asking = Asking(Turns("it", 4, of_one=3))
    for _ in range(9):
        await asking.ask("busy")
    assert len(asking.served) == 3
    await asking.ask("quiet")
    assert asking.served[3:] == ["quiet"]
    await asking.end_all()


async def test_tenants_that_all_wait_take_turns() -> None:
    asking = Asking(Turns("it", 1))
    await asking.ask("a")
    for tenant in ("b", "b", "b", "c", "c", "a", "d"):
        await asking.ask(tenant)
    while asking.holding:
        await asking.end()
    assert asking.served == ["a", "b", "c", "a", "d", "b", "c", "b"]
    await asking.end_all()


async def test_who_waits_too_long_or_behind_too_many_is_told() -> None:
    asking = Asking(Turns("it", 1, waiting=1, seconds=0.01))
    await asking.ask("a")
    late = await asking.ask("a")
    with pytest.raises(Unavailable, match="1 requests of the tenant's wait"):
        await asking.turns.turn("a").__aenter__()
    with pytest.raises(Unavailable, match=r"no turn within 0\.01 s"):
        await late
    await asking.end_all()


async def test_who_gives_up_leaves_nothing_behind() -> None:
    asking = Asking(Turns("it", 1))
    await asking.ask("a")
    waiting = await asking.ask("b")
    waiting.cancel()
    await settle()
    # Given a turn and cancelled in the same moment: the turn must not be lost.
    both = await asking.ask("c")
    asking.holding.pop(0)[1].set()
    await asyncio.sleep(0)
    both.cancel()
    await settle()
    await asking.end_all()
    await asking.ask("d")
    assert asking.served[-1] == "d"
    await asking.end_all()


steps = st.lists(st.one_of(st.sampled_from("abc"), st.integers(0, 5)), max_size=40)


@given(steps=steps, at_once=st.integers(1, 3), of_one=st.integers(1, 3))
def test_no_turn_is_lost_or_doubled(steps: list[str | int], at_once: int, of_one: int) -> None:
    async def run() -> None:
        asking = Asking(Turns("it", at_once, of_one=of_one))
        asked = 0
        for step in steps:
            if isinstance(step, str):
                asked += 1
                await asking.ask(step)
            elif asking.holding:
                await asking.end(step % len(asking.holding))
            held = Counter(tenant for tenant, _ in asking.holding)
            assert held.total() <= at_once
            assert max(held.values(), default=0) <= of_one
        await asking.end_all()
        assert len(asking.served) == asked

    asyncio.run(run())
