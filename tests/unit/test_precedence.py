"""Readers give way to who writes, for a moment."""

from __future__ import annotations

import asyncio

import pytest

from projections import precedence
from projections.precedence import Precedence


async def gone_on(waiting: asyncio.Task[None]) -> bool:
    """Whether it is over after the loop had some turns."""
    for _ in range(5):
        await asyncio.sleep(0)
    return waiting.done()


async def test_a_reader_waits_for_all_who_are_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precedence, "MOST_SECONDS", 60.0)
    one = Precedence()
    with one.ahead():
        with one.ahead():
            waiting = asyncio.create_task(one.give_way())
            assert not await gone_on(waiting)
        assert not await gone_on(waiting)
    assert await gone_on(waiting)
    await one.give_way()


async def test_nobody_waits_for_one_who_is_ahead_for_long() -> None:
    one = Precedence()
    with one.ahead():
        async with asyncio.timeout(30):
            await one.give_way()
            await one.give_way()


async def test_who_begins_anew_is_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precedence, "MOST_SECONDS", 0.0)
    one = Precedence()
    with one.ahead() as still_ahead:
        await one.give_way()
        monkeypatch.setattr(precedence, "MOST_SECONDS", 60.0)
        still_ahead()
        waiting = asyncio.create_task(one.give_way())
        assert not await gone_on(waiting)
    assert await gone_on(waiting)


async def test_one_who_fails_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precedence, "MOST_SECONDS", 60.0)
    one = Precedence()
    with pytest.raises(LookupError), one.ahead():
        raise LookupError
    await one.give_way()
