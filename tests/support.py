"""Helpers of the tests."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar, overload

T = TypeVar("T")


def children_in(folder: Path) -> list[int]:
    """The processes, of whatever parent, that a command line connects with a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if os.fsencode(folder) in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def occurrences(folder: Path, wanted: bytes) -> int:
    """How often some bytes are in the files below a folder."""
    return sum(one.read_bytes().count(wanted) for one in folder.rglob("*") if one.is_file())


@overload
async def eventually(probe: Callable[[], Awaitable[T | None]], *, within: float = 20) -> T: ...


@overload
async def eventually(probe: Callable[[], T | None], *, within: float = 20) -> T: ...


async def eventually(
    probe: Callable[[], Awaitable[T | None] | T | None], *, within: float = 20
) -> T:
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


@contextlib.asynccontextmanager
async def answering(said: bytes) -> AsyncIterator[int]:
    """A port that says one and the same to whoever asks something."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                await reader.read(1)
                writer.write(said)
                writer.write_eof()
                await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
