"""Messages of which the client could make no text: whoever follows goes on, and is told of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from urllib.parse import urlsplit

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.connection import connect
from adapters.jetstream.feed import Feed
from adapters.jetstream.latest import LatestEvents, LeftOut
from adapters.jetstream.raw import RawMessage
from adapters.jetstream.streams import EVENTS, events_stream_config
from domain.events import SnapshotCreated

SUBJECT = b"configtrail.acme.r1.SnapshotCreated"
PLAIN = b"NATS/1.0\r\nce-id: 1\r\n\r\n"
STRANGE = (
    (b"configtrail.acme.r\xff2.SnapshotCreated", PLAIN),
    (b"configtrail.acme.r3.SnapshotCreated", b"NATS/1.0 \xff\xff\xff why\r\n\r\n"),
    (b"configtrail.acme.r4.SnapshotCreated", b"NATS/1.0 503 wh\xffy\r\nce-id: 1\r\n\r\n"),
    (b"configtrail.acme.r5.SnapshotCreated", b"NATS/1.0 503\r\nce-id: \xff\r\n\r\n"),
    (b"configtrail.acme.r6.SnapshotCreated", b"NATS/1.0"),
    (b"configtrail.acme.r7.SnapshotCreated", b"NATS/1.0\r\n"),
    (b"configtrail.acme.r8.SnapshotCreated", b"NATS/1.0\r\n\r\n"),
)


@pytest.fixture
async def nc(nats_server: EmbeddedNats) -> AsyncIterator[Client]:
    client = await connect(nats_server.url, name="tests")
    await client.jetstream().add_stream(events_stream_config())
    yield client
    await client.close()


async def send(url: str, *operations: bytes) -> None:
    """Operations of the protocol, as bytes, by somebody else; all are in when this returns."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    await reader.readline()
    told = {"user": address.username, "pass": address.password, "headers": True, "verbose": False}
    writer.write(b"CONNECT " + json.dumps(told).encode() + b"\r\n")
    for one in (*operations, b"PING\r\n"):
        writer.write(one)
    while (line := await reader.readline()) != b"PONG\r\n":
        assert line.startswith((b"INFO", b"PING")), line
    writer.close()
    await writer.wait_closed()


def stored(subject: bytes, headers: bytes, body: bytes = b"{}") -> bytes:
    sizes = b"%d %d" % (len(headers), len(headers) + len(body))
    return b"HPUB " + subject + b" " + sizes + b"\r\n" + headers + body + b"\r\n"


async def followed(nc: Client, count: int, subjects: Sequence[str] = ()) -> list[RawMessage]:
    found: list[RawMessage] = []
    async with aclosing(Feed(nc, nc.jetstream(), EVENTS).follow(0, subjects)) as feed:
        async for batch in feed:
            found += batch
            if len(found) >= count:
                break
    return found


@pytest.mark.parametrize(("subject", "headers"), STRANGE)
async def test_whoever_follows_gets_them_and_what_comes_after(
    nc: Client, nats_server: EmbeddedNats, subject: bytes, headers: bytes
) -> None:
    await send(nats_server.url, stored(subject, headers), stored(SUBJECT, PLAIN))
    for subjects in ((), ("configtrail.>",)):
        async with asyncio.timeout(20):
            found = await followed(nc, 2, subjects)
        assert [one.subject for one in found] == [
            subject.decode(errors="replace"),
            SUBJECT.decode(),
        ]
        assert [one.body for one in found] == [b"{}", b"{}"]
        assert [one.headers.get("ce-id") for one in found][1] == "1"


async def test_the_newest_events_are_told_with_those_that_cannot_be_read(
    nc: Client, nats_server: EmbeddedNats
) -> None:
    await send(nats_server.url, *(stored(subject, headers) for subject, headers in STRANGE))
    async with asyncio.timeout(20):
        found = await LatestEvents(nc, nc.jetstream(), [SnapshotCreated]).load()
    assert [type(one) for one in found] == [LeftOut] * len(STRANGE)


async def test_an_answer_to_nobody_holds_up_no_requests(
    nc: Client, nats_server: EmbeddedNats
) -> None:
    came: asyncio.Queue[Msg] = asyncio.Queue()
    await nc.subscribe("asked", cb=came.put)
    await nc.flush()
    await send(nats_server.url, b"PUB asked r\xff 1\r\n1\r\n", b"PUB asked r 1\r\n2\r\n")
    async with asyncio.timeout(20):
        assert [(await came.get()).data for _ in range(2)] == [b"1", b"2"]
