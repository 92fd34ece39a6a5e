"""JSON over HTTP from servers that never come to an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from adapters.collecting.fetching import HttpFailed, get_json

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@asynccontextmanager
async def dripping(at_once: bytes) -> AsyncIterator[str]:
    """The URL of a server that says something, and then a byte now and then, for ever."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(at_once)
                while True:
                    writer.write(b" ")
                    await writer.drain()
                    await asyncio.sleep(0.02)
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/secret"
    finally:
        server.close()


@pytest.mark.parametrize(
    "at_once",
    [
        HEAD + b"Content-Length: 1000000\r\n\r\n{",
        HEAD + b"Connection: close\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n{",
        b"HTTP/1.1 200 OK\r\nX-Long:",
        b"",
    ],
    ids=["body", "body to its end", "chunk", "head", "first line"],
)
async def test_one_that_drips_is_given_up(at_once: bytes) -> None:
    async with dripping(at_once) as url:
        with pytest.raises(HttpFailed, match=r"has not answered within 0\.5 s"):
            await asyncio.to_thread(get_json, url, {}, 0.5)
