"""The connection to NATS: what is lost with it is given up at once, not waited for."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.msg import Msg

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.connection import connect, outage_as_unavailable
from domain.errors import Unavailable
from tests.support import eventually


async def test_a_request_whose_answer_is_lost_is_an_outage_at_once(
    nats_server: EmbeddedNats,
) -> None:
    client = await connect(nats_server.url, name="test")
    asked: list[Msg] = []

    async def silent(msg: Msg) -> None:
        asked.append(msg)

    async def ask() -> None:
        with outage_as_unavailable("asking"):
            await client.request("a.question", b"", timeout=3600)

    try:
        await client.subscribe("a.question", cb=silent)
        asking = asyncio.create_task(ask())
        await eventually(lambda: asked)
        await nats_server.kill()
        await eventually(asking.done)
        with pytest.raises(Unavailable, match="asking: ConnectionReconnectingError"):
            await asking
        await nats_server.start()
        await eventually(lambda: client.is_connected)
        await client.flush()
    finally:
        await client.close()
