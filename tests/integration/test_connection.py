"""The connection to NATS: what is lost with it is given up at once, not waited for."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.errors import MaxPayloadError

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


async def test_a_request_that_could_not_be_sent_is_no_error_that_nobody_saw(
    nats_server: EmbeddedNats,
) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    client = await connect(nats_server.url, name="test")
    try:
        with pytest.raises(MaxPayloadError):
            await client.request("a.question", bytes(client.max_payload + 1))
        await nats_server.kill()
        await eventually(lambda: client.is_reconnecting and not client._resp_map)
        gc.collect()
        assert complaints == []
    finally:
        await client.close()
