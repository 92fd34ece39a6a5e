"""Stopping: what is under way ends, who listens comes again, and nobody new is let in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.serving import HOME, TEXTS, Api
from tests.support import eventually


async def test_a_request_under_way_is_answered_while_nobody_new_is_let_in(api: Api) -> None:
    begun, rest = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield TEXTS[0].encode()
        begun.set()
        await rest.wait()

    upload = asyncio.create_task(api.http.put(f"{HOME}/r1/config", content=body()))
    await begun.wait()
    stopping = asyncio.create_task(api.stop())

    async def refused() -> bool:
        async with httpx.AsyncClient(base_url=api.address) as other:
            try:
                await other.get("/healthz")
            except httpx.TransportError:
                return True
        return False

    await eventually(refused)
    assert not stopping.done()
    rest.set()
    answer = await upload
    assert (answer.status_code, answer.json()["outcome"]) == (201, "created")
    await stopping


async def test_who_listens_is_told_when_to_come_again_and_gets_a_whole_end(api: Api) -> None:
    async with api.http.stream("GET", "/api/tenants/acme/events") as feed:
        lines = feed.aiter_lines()
        assert await anext(lines) == "retry: 2000"
        await api.stop()
        # Without its last chunk this would raise.
        rest = [line async for line in lines]
    assert [line for line in rest if line.startswith("id: ")]
    with pytest.raises(httpx.TransportError):
        await api.http.get("/healthz")


async def test_what_does_not_end_is_cut_off_in_time(api: Api) -> None:
    port = int(api.address.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = api.http.headers["Authorization"]
    writer.write(
        f"PUT {HOME}/r1/config HTTP/1.1\r\nHost: localhost\r\nAuthorization: {key}\r\n"
        "Content-Length: 100\r\nExpect: 100-continue\r\n\r\n".encode()
    )
    # Asked for by who reads the body: it is under way.
    await reader.readuntil(b"100 Continue\r\n\r\n")
    writer.write(b"/system identity\n")
    await api.stop()
    assert b" 201 " not in await reader.read()
    writer.close()
