"""Helpers of the tests."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(probe: Callable[[], Awaitable[T] | T], *, within: float = 20) -> T:
    """Ask `probe` until its answer is truthy, and return that.

    Fails with the last answer after `within` seconds. What the probe raises goes straight out.
    """
    deadline = asyncio.get_running_loop().time() + within
    while True:
        answer = probe()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not so after {within:g} s; last seen: {value!r}")
        await asyncio.sleep(0.02)
