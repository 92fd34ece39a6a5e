"""The connection to NATS: what is lost with it is given up at once, not waited for."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import MaxPayloadError

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.connection import close, connect, outage_as_unavailable
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


def port_of(client: Client) -> int | None:
    """Of the server that it is connected to, if it is."""
    return client.connected_url.port if client.connected_url is not None else None


async def test_a_server_that_stands_still_holds_up_nobody_who_has_another(tmp_path: Path) -> None:
    servers = [
        EmbeddedNats(
            tmp_path / name, encryption_key=None, user="tests", password=secrets.token_hex(8)
        )
        for name in ("one", "other")
    ]
    for server in servers:
        await server.start()
    client = await connect(",".join(server.url for server in servers), name="test")
    port = port_of(client)
    stopped = next(server for server in servers if server.port == port)
    try:
        os.kill(stopped.pid, signal.SIGSTOP)
        for _ in range(40):  # more than the kernels of both ends keep
            await client.publish("a.question", bytes(1024 * 1024))
        await eventually(lambda: not client._pending_data_size)  # it is the loop's now
        await client.force_reconnect()
        await eventually(lambda: port_of(client) not in (None, port))
        await client.flush()
    finally:
        os.kill(stopped.pid, signal.SIGCONT)
        await close(client)
        for server in servers:
            await server.stop()


class Stranger:
    """A port where something else listens, that says a word to whoever comes."""

    def __init__(self, word: bytes) -> None:
        self._word = word
        self.came = self.here = self.most = 0

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._met, "127.0.0.1", port)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        self.here += 1
        self.most = max(self.most, self.here)
        writer.write(self._word)
        with suppress(OSError):
            while await reader.read(1024):
                pass
        self.here -= 1
        writer.close()


async def test_attempts_that_fail_leave_no_connections_behind(nats_server: EmbeddedNats) -> None:
    client = await connect(nats_server.url, name="test")
    stranger = Stranger(b"220 mail is taken here\r\n")
    try:
        await nats_server.kill()
        async with stranger.listening(nats_server.port):
            await eventually(lambda: stranger.came >= 4)
            assert stranger.most <= 2, "one may come before the end of the one before is heard of"
        await nats_server.start()
        await eventually(lambda: client.is_connected)
        await eventually(lambda: not stranger.here)
    finally:
        await client.close()


async def test_a_tls_handshake_that_fails_is_tried_again() -> None:
    stranger = Stranger(b"220 mail is taken here\r\n")
    async with stranger.listening() as port:
        connecting = asyncio.create_task(connect(f"tls://127.0.0.1:{port}", name="test"))
        await eventually(lambda: stranger.came >= 3)
        connecting.cancel()
        await asyncio.wait([connecting])
        assert connecting.cancelled()
        await eventually(lambda: not stranger.here)


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
