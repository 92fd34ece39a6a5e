"""Messages of which the client could make no text: whoever follows goes on, and is told of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import ServerError

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.feed import Feed
from adapters.jetstream.latest import LatestEvents, LeftOut
from adapters.jetstream.raw import RawMessage, text_of
from adapters.jetstream.source import JetStreamSource
from adapters.jetstream.streams import EVENTS, events_stream_config
from adapters.jetstream.tap import Taker, Tap, TappedMessage
from adapters.jetstream.verbatim import RawFeed
from domain.events import SnapshotCreated
from projections.source import Delivered, Unreadable
from tests.protocol import send, stored
from tests.support import eventually

SUBJECT = b"configtrail.acme.r1.SnapshotCreated"
STORE_FAILED = 10049
PLAIN = b"NATS/1.0\r\nce-id: 1\r\n\r\n"
STRANGE = (
    (b"configtrail.acme.r\xff2.SnapshotCreated", PLAIN),
    # A blank of every text, and none of the server's: characters of a subject to it.
    *((b"configtrail.acme.r%b1.SnapshotCreated" % one, PLAIN) for one in (b"\x0b", b"\x0c", b"\r")),
    (b"configtrail.acme.r\x0b\xff\r.SnapshotCreated", PLAIN),
    # The beginning of a character: two bytes that are no text.
    (b"configtrail.acme.r\xe2\x82.SnapshotCreated", PLAIN),
    (b"configtrail.acme.r3.SnapshotCreated", b"NATS/1.0 \xff\xff\xff why\r\n\r\n"),
    (b"configtrail.acme.r4.SnapshotCreated", b"NATS/1.0 503 wh\xffy\r\nce-id: 1\r\n\r\n"),
    (b"configtrail.acme.r5.SnapshotCreated", b"NATS/1.0 503\r\nce-id: \xff\r\n\r\n"),
    (b"configtrail.acme.r6.SnapshotCreated", b"NATS/1.0"),
    (b"configtrail.acme.r7.SnapshotCreated", b"NATS/1.0\r\n"),
    (b"configtrail.acme.r8.SnapshotCreated", b"NATS/1.0\r\n\r\n"),
)


@pytest.fixture
async def nc(nc: Client) -> Client:
    await nc.jetstream().add_stream(events_stream_config())
    return nc


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
            text_of(subject),
            SUBJECT.decode(),
        ]
        assert [one.body for one in found] == [b"{}", b"{}"]
        assert [one.headers.get("ce-id") for one in found][1] == "1"


@pytest.mark.parametrize(("subject", "headers"), STRANGE)
async def test_it_goes_on_behind_them_on_another_connection(
    nc: Client, nats_server: EmbeddedNats, subject: bytes, headers: bytes
) -> None:
    await send(nats_server.url, stored(subject, headers))
    feed = Feed(nc, nc.jetstream(), EVENTS)
    source = JetStreamSource(nc, nc.jetstream())
    async with (
        asyncio.timeout(30),
        aclosing(feed.follow(0)) as messages,
        aclosing(source.follow(0)) as events,
    ):
        assert [one.position for one in await anext(messages)] == [1]
        (unreadable,) = await anext(events)
        assert isinstance(unreadable, Unreadable)
        assert unreadable == await source.at(1)
        assert not await source.skipped("diffs", unreadable)
        await nc._process_op_err(OSError("the connection is lost"))
        await send(nats_server.url, stored(SUBJECT, PLAIN))
        assert [one.position for one in await anext(messages)] == [2]
        assert [one.position for one in await anext(events)] == [2]


async def test_the_newest_events_are_told_with_those_that_cannot_be_read(
    nc: Client, nats_server: EmbeddedNats
) -> None:
    await send(nats_server.url, *(stored(subject, headers) for subject, headers in STRANGE))

    async def are_stored() -> bool:
        return (await nc.jetstream().stream_info(EVENTS)).state.messages == len(STRANGE)

    await eventually(are_stored)
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


class Dropped:
    """What comes for a subscription and is lost, as on a connection that breaks off."""

    def __init__(self) -> None:
        self.messages: list[TappedMessage] = []

    def take(self, message: TappedMessage) -> None:
        self.messages.append(message)

    def taken(self) -> None:
        pass


@pytest.mark.parametrize("whole", [True, False])
async def test_what_was_lost_before_anything_came_is_read_again_and_not_missing(
    nc: Client, nats_server: EmbeddedNats, whole: bool
) -> None:
    js = nc.jetstream()
    source = Feed(nc, js, EVENTS) if whole else JetStreamSource(nc, js)
    tap = Tap.of(nc)
    assert tap is not None
    before = set(nc._subs)
    async with asyncio.timeout(30), aclosing(source.follow(0)) as batches:
        first = asyncio.ensure_future(_first(batches))
        await eventually(lambda: _asks(js))
        (own,) = {one for one, by in nc._subs.items() if one not in before and by._cb is not None}
        taker, dropped = tap._takers.get(b"%d" % own), Dropped()
        tap.open(own, dropped)
        await send(nats_server.url, stored(SUBJECT, PLAIN))
        await eventually(lambda: bool(dropped.messages))
        tap.close(own)
        if taker is not None:
            tap.open(own, taker)
        await send(nats_server.url, stored(SUBJECT, PLAIN))
        assert await first == 1


class Losing:
    """Passes on what comes for a subscription, but for the first message, which is lost."""

    def __init__(self, taker: Taker) -> None:
        self._taker = taker
        self._lost = False

    def take(self, message: TappedMessage) -> None:
        if self._lost:
            self._taker.take(message)
        self._lost = True

    def taken(self) -> None:
        self._taker.taken()


async def send_and_store(nc: Client, url: str, count: int) -> None:
    """So many messages, which are in the stream when this returns."""
    await send(url, *[stored(SUBJECT, PLAIN)] * count)
    feed = RawFeed(nc, nc.jetstream())

    async def all_in() -> bool:
        return (await feed.ends())[1] == count

    await eventually(all_in)


async def with_holes(nc: Client, url: str, *holes: int) -> None:
    """A stream of 5 messages without those at some positions."""
    js = nc.jetstream()
    await js.delete_stream(EVENTS)

    async def is_made() -> bool:
        # The server answers before the files of the former one are gone.
        try:
            await js.add_stream(events_stream_config().evolve(deny_delete=False))
        except ServerError as error:
            if error.err_code != STORE_FAILED:
                raise
            return False
        return True

    await eventually(is_made)
    await send_and_store(nc, url, 5)
    for hole in holes:
        await js.delete_msg(EVENTS, hole)


@pytest.fixture
def losing(nc: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next subscription that is tapped loses its first message."""
    tap = Tap.of(nc)
    assert tap is not None
    opened = tap.open

    def open_losing(subscription: int, taker: Taker) -> None:
        monkeypatch.setattr(tap, "open", opened)
        opened(subscription, Losing(taker))

    monkeypatch.setattr(tap, "open", open_losing)


@pytest.mark.usefixtures("losing")
async def test_what_was_lost_first_is_read_again_to_the_byte(
    nc: Client, nats_server: EmbeddedNats
) -> None:
    await send_and_store(nc, nats_server.url, 3)
    async with asyncio.timeout(30), aclosing(RawFeed(nc, nc.jetstream()).read()) as batches:
        assert [one.position async for batch in batches for one in batch] == [1, 2, 3]


@pytest.mark.usefixtures("losing")
async def test_what_was_lost_behind_a_hole_is_not_in_it(
    nc: Client, nats_server: EmbeddedNats
) -> None:
    await with_holes(nc, nats_server.url, 1, 2)
    async with asyncio.timeout(30), aclosing(RawFeed(nc, nc.jetstream()).read()) as batches:
        assert [one.position async for batch in batches for one in batch] == [3, 4, 5]


@pytest.mark.usefixtures("losing")
async def test_what_was_lost_first_ends_the_flow_and_not_the_history(
    nc: Client, nats_server: EmbeddedNats
) -> None:
    await send_and_store(nc, nats_server.url, 3)
    feed = RawFeed(nc, nc.jetstream())
    async with asyncio.timeout(30):
        async with aclosing(feed.follow()) as batches:
            assert [batch async for batch in batches] == []
        async with aclosing(feed.follow()) as batches:
            assert (await anext(batches))[0].position == 1


async def test_what_is_missing_is_missing_to_the_byte(
    nc: Client, nats_server: EmbeddedNats
) -> None:
    await with_holes(nc, nats_server.url, 1, 3)
    async with asyncio.timeout(30), aclosing(RawFeed(nc, nc.jetstream()).read()) as batches:
        assert [one.position async for batch in batches for one in batch] == [2, 4, 5]


async def _first(batches: AsyncGenerator[list[RawMessage] | list[Delivered], None]) -> int:
    return (await anext(batches))[0].position


async def _asks(js: JetStreamContext) -> bool:
    return any(one.num_waiting for one in await js.consumers_info(EVENTS))
