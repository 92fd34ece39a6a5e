"""A cancellation that a library forgets is raised all the same."""

from __future__ import annotations

import asyncio

import pytest

from adapters.jetstream.connection import cancellable, outage_as_unavailable


async def forgetful() -> str:
    """As `asyncio.wait_for` before Python 3.12, when the answer comes at the same moment."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "an answer"
    raise AssertionError("nobody sets it")


async def test_a_forgotten_cancellation_is_raised() -> None:
    for guard in (cancellable, lambda: outage_as_unavailable("asking")):

        async def work(guard=guard) -> None:  # type: ignore[no-untyped-def]
            with guard():
                await forgetful()
            raise AssertionError("it went on")

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_one_that_came_as_an_outage_is_a_cancellation() -> None:
    async def work() -> None:
        with outage_as_unavailable("asking"):
            await forgetful()
            raise ConnectionResetError

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_is_done_after_a_cancellation_goes_on() -> None:
    done: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with cancellable():
                await asyncio.sleep(0)
                done.append("tidied up")

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["tidied up"]


async def test_a_timeout_inside_is_none_and_one_outside_is_one() -> None:
    with cancellable(), pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    async def bounded() -> None:
        async with asyncio.timeout(0.01):
            with cancellable():
                await forgetful()

    with pytest.raises(TimeoutError):
        await bounded()
