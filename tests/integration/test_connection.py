"""The connection to NATS: what is lost with it is given up at once, not waited for."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from nats.aio.msg import Msg
from nats.errors import MaxPayloadError

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.connection import connect, outage_as_unavailable
from adapters.jetstream.publisher import Publisher
from adapters.jetstream.transport import Transport
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


async def test_a_lost_connection_is_closed_to_its_end_whatever_was_still_to_be_sent(
    nats_server: EmbeddedNats,
) -> None:
    client = await connect(nats_server.url, name="test")
    heard = await client.subscribe("a.question")
    await nats_server.kill()
    await eventually(lambda: client.is_reconnecting)
    await client.publish("a.question", b"which nobody gets any more")
    await client.close()
    assert client.is_closed
    assert not client._subs, heard


async def broken_while_publishing(url: str) -> None:
    """Publish on a connection that broke, which nobody who reads has noticed yet, and later."""
    client = await connect(url, name="test")
    try:
        js = client.jetstream()
        await js.add_stream(name="KEPT", subjects=["kept.*"])
        publisher = Publisher(client)
        await publisher.publish("kept.0", b"", {}, timeout=10)
        assert isinstance(client._transport, Transport)
        assert client._reading_task is not None
        client._reading_task.cancel()
        await asyncio.wait([client._reading_task])
        writer = client._transport._io_writer
        assert writer is not None
        writer.transport.abort()
        await writer.wait_closed()

        async def publish(number: int) -> None:
            async def published() -> bool:
                try:
                    with outage_as_unavailable("publishing"):
                        await publisher.publish(f"kept.{number}", b"", {}, timeout=10)
                except Unavailable:
                    return False
                return True

            await eventually(published)

        async with asyncio.TaskGroup() as group:
            for number in range(1, 20):
                group.create_task(publish(number))
        assert client._flusher_task is not None
        assert not client._flusher_task.done(), "what is sent is sent at once, as before"
        kept = await js.stream_info("KEPT", subjects_filter=">")
        assert len(kept.state.subjects or {}) == 20
    finally:
        await client.close()


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_what_is_sent_on_a_connection_that_just_broke_is_an_outage_in_every_loop(
    nats_server: EmbeddedNats, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(broken_while_publishing(nats_server.url))
