"""Look-ups that hang: so many at once, the others in turn, and none is waited for at the end."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from adapters.lookups import LookUps
from tests.support import eventually

HANGS = """
import asyncio, threading
from adapters.lookups import LookUps

async def main():
    begun = threading.Event()
    def hang():
        begun.set()
        threading.Event().wait()
    looking = asyncio.create_task(LookUps(1, "test").run(hang))
    await asyncio.to_thread(begun.wait)
    looking.cancel()

asyncio.run(main())
"""


class Place:
    """Where one looks, and waits until it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.begun: list[int] = []

    def __call__(self, number: int) -> int:
        self.begun.append(number)
        self.let.wait()
        return number


async def test_what_is_too_many_waits_and_what_was_given_up_is_not_begun() -> None:
    place, threads = Place(), LookUps(2, "test")
    looking = [asyncio.create_task(threads.run(place, number)) for number in range(5)]
    await eventually(lambda: len(place.begun) == 2)
    looking[2].cancel()
    await asyncio.wait([looking[2]])
    place.let.set()
    assert await asyncio.gather(*looking[:2], *looking[3:]) == [0, 1, 3, 4]
    assert sorted(place.begun) == [0, 1, 3, 4]


async def test_an_error_comes_out_and_ends_no_thread() -> None:
    threads = LookUps(1, "test")
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            await threads.run(int, "x")
    assert await threads.run(int, "10", base=2) == 2


async def test_who_gives_up_what_was_begun_leaves_the_thread_to_the_next() -> None:
    place, threads = Place(), LookUps(1, "test")
    gone = asyncio.create_task(threads.run(place, 1))
    await eventually(lambda: place.begun)
    gone.cancel()
    await asyncio.wait([gone])
    after = asyncio.create_task(threads.run(place, 2))
    place.let.set()
    assert await after == 2


async def test_the_program_ends_while_a_look_up_hangs() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", HANGS)
    try:
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
