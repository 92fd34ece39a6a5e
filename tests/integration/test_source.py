"""The projections' reader gives what the event store gives, and names what can't be decoded."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
from msgspec.structs import replace
from nats.aio.client import Client
from nats.js.api import StreamConfig

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream import pull
from adapters.jetstream.delivery import DeliveryDecoder
from adapters.jetstream.event_store import JetStreamEventStore
from adapters.jetstream.passing import passing, passing_consumer
from adapters.jetstream.source import JetStreamSource, RawPuller
from adapters.jetstream.streams import EVENTS, events_stream_config
from adapters.jetstream.tap import TappedMessage
from adapters.jetstream.verbatim import RawFeed, decode
from domain import decisions
from domain.envelope import Head, NewEvent, StoredEvent
from domain.errors import StreamGap, StreamMismatch, Unavailable
from domain.tlog.leaf import duplicate_header
from projections import precedence
from projections.source import Delivered, Unreadable
from tests.behaviour.event_store import failure
from tests.generators import played
from tests.integration.test_projection_worker import append
from tests.support import eventually


@pytest.fixture
async def nc(nc: Client) -> Client:
    await nc.jetstream().add_stream(events_stream_config())
    return nc


async def first(source: JetStreamSource, count: int, after: int = 0) -> list[Delivered]:
    """So many events after a position."""
    found: list[Delivered] = []
    async with asyncio.timeout(30), aclosing(source.follow(after)) as batches:
        async for batch in batches:
            found += batch
            if len(found) >= count:
                return found
    raise AssertionError


async def test_it_reads_the_same_events_as_the_store(nc: Client) -> None:
    store = JetStreamEventStore(nc, nc.jetstream())
    source = JetStreamSource(nc, nc.jetstream())
    events = played(1, 400).events
    quoted = NewEvent(
        **{
            **{name: getattr(events[0], name) for name in NewEvent.__struct_fields__},
            "event_id": "quoted",
            "correlation_id": 'a "b" % ö',
            "causation_id": "c",
            "traceparent": "00-1-2-03",
            "device_id": "another ö",
        }
    )
    await append(store, events)
    await store.append(quoted, Head())
    async with aclosing(store.read()) as batches:
        read = [stored async for batch in batches for stored in batch]
    assert await first(source, len(read)) == read
    assert await first(source, len(read) - 100, after=100) == read[100:]
    assert await source.at(7) == read[6]
    assert await source.head() == len(read)


async def test_nothing_is_decoded_while_a_batch_is_begun_or_ended(
    nc: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precedence, "MOST_SECONDS", 60.0)
    events = played(1, 50).events
    await append(JetStreamEventStore(nc, nc.jetstream()), events)
    source = JetStreamSource(nc, nc.jetstream())
    came, decoded = asyncio.Event(), asyncio.Event()
    take_all, decode = RawPuller.take_all, DeliveryDecoder.decode

    async def taking(puller: RawPuller) -> list[TappedMessage]:
        messages = await take_all(puller)
        came.set()
        return messages

    def decoding(decoder: DeliveryDecoder, message: TappedMessage) -> Delivered:
        decoded.set()
        return decode(decoder, message)

    monkeypatch.setattr(RawPuller, "take_all", taking)
    monkeypatch.setattr(DeliveryDecoder, "decode", decoding)
    with source.ahead():
        reading = asyncio.create_task(first(source, len(events)))
        await came.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not decoded.is_set()
    assert len(await reading) == len(events)


async def test_headers_as_this_program_writes_them_are_read_the_fast_way(nc: Client) -> None:
    """One by one or several together, with causes or without; in each no name is there twice."""
    store, decoder = JetStreamEventStore(nc, nc.jetstream()), DeliveryDecoder()
    for number, causes in enumerate(((None, None, None), ("a b", "ö", "00-1-2-03"))):
        one, two, three = (
            replace(
                failure(3 * number + each, f"r{number}"),
                correlation_id=causes[0],
                causation_id=causes[1],
                traceparent=causes[2],
            )
            for each in range(3)
        )
        last = await store.append(one, Head())
        await store.append_together([two, three], Head(last.version, last.position))
    async with aclosing(store.read()) as batches:
        read = [stored async for batch in batches for stored in batch]
    async with aclosing(RawFeed(nc, nc.jetstream()).read()) as raw_batches:
        raw = [event async for batch in raw_batches for event in batch]
    assert len(raw) == 6
    for stored, event in zip(read, raw, strict=True):
        told = decoder.event(
            event.subject.encode(), event.block, event.body, event.position, event.stored_ns
        )
        assert told == (stored, True), event.block
        assert duplicate_header(event.block) is None


async def test_a_loop_that_was_held_up_takes_what_came_before_it_minds_the_silence(
    nats_server: EmbeddedNats, nc: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "SILENCE_SECONDS", 0.5)
    store = JetStreamEventStore(nc, nc.jetstream())
    one, other = played(1, 10).events[:2]
    await append(store, [one])
    consumer = await passing_consumer(nc, nc.jetstream(), EVENTS, 1)
    assert consumer.name is not None
    async with RawPuller(nc, EVENTS, consumer.name) as puller:
        assert len(await puller.take_all()) == 1
        waiting = asyncio.create_task(puller.take_all())
        await asyncio.sleep(0)
        await nc.publish(f"configtrail.{other.tenant_id}.{other.device_id}.Told", b"{}")
        await nc.flush()
        time.sleep(1)  # noqa: ASYNC251  this is what holds the loop up
        assert len(await waiting) == 1


async def test_it_goes_on_over_a_restart_of_the_server(
    nats_server: EmbeddedNats, nc: Client
) -> None:
    store = JetStreamEventStore(nc, nc.jetstream())
    source = JetStreamSource(nc, nc.jetstream())
    events = played(2, 200).events
    half = len(events) // 2
    await append(store, events[:half])
    found: list[Delivered] = []
    async with asyncio.timeout(60), aclosing(source.follow()) as batches:
        async for batch in batches:
            found += batch
            if len(found) == half:
                await nats_server.kill()
                await nats_server.start()
                await append(store, events, half)
            if len(found) == len(events):
                break
    assert [one.position for one in found] == list(range(1, len(events) + 1))


async def nothing() -> None:
    pass


async def read_on(
    reader: JetStreamSource | JetStreamEventStore,
    found: list[int],
    *,
    when: int = 0,
    then: Callable[[], Awaitable[None]] = nothing,
) -> None:
    """Follow for ever; `then` is done once, after the position `when`."""
    async with asyncio.timeout(60), aclosing(reader.follow()) as batches:
        async for batch in batches:
            found += [one.position for one in batch]
            if found[-1] == when:
                await then()


async def with_holes(nc: Client, *positions: int) -> None:
    """A stream of 30 events without those at some positions."""
    js = nc.jetstream()
    await js.delete_stream(EVENTS)
    await js.add_stream(events_stream_config().evolve(deny_delete=False))
    await append(JetStreamEventStore(nc, js), played(3, 120).events[:30])
    for position in positions:
        await js.delete_msg(EVENTS, position)


async def test_what_is_lost_on_its_way_just_before_the_end_is_read_again(
    nc: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the server counts as delivered what it sent on a connection that broke."""
    await append(JetStreamEventStore(nc, nc.jetstream()), played(1, 40).events[:4])
    take = RawPuller.take
    lost: list[int] = []

    def lossy(self: RawPuller, message: TappedMessage) -> None:
        position = decode(message)[0].position
        if position == 3 and not lost:
            lost.append(position)
        else:
            take(self, message)

    monkeypatch.setattr(RawPuller, "take", lossy)
    async with aclosing(RawFeed(nc, nc.jetstream()).read()) as batches:
        read = [one.position async for batch in batches for one in batch]
    assert lost, read
    assert read == [1, 2, 3, 4]


@pytest.mark.parametrize("hole", [1, 2, 17, 29])
async def test_a_hole_is_told_after_all_that_comes_before_it(nc: Client, hole: int) -> None:
    await with_holes(nc, hole)
    js = nc.jetstream()
    for reader in (JetStreamSource(nc, js), JetStreamEventStore(nc, js)):
        found: list[int] = []
        with pytest.raises(StreamGap) as caught:
            await read_on(reader, found)
        assert found == list(range(1, hole))
        assert (caught.value.expected, caught.value.got) == (hole, hole + 1)
    info = await js.stream_info(EVENTS)
    assert info.state.consumer_count <= 4, "no consumer is made over and over"


async def test_a_stream_put_back_under_a_follower_is_noticed(
    nc: Client, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    js = nc.jetstream()
    store = JetStreamEventStore(nc, js)
    events = played(3, 120).events
    await append(store, events[:10])
    await nats_server.stop()
    shutil.copytree(nats_server.data_dir / "jetstream", tmp_path / "copy")
    await nats_server.start()
    await eventually(lambda: nc.is_connected)
    await append(store, events[:20], 10)

    async def put_back() -> None:
        await nats_server.stop()
        shutil.rmtree(nats_server.data_dir / "jetstream")
        shutil.copytree(tmp_path / "copy", nats_server.data_dir / "jetstream")
        await nats_server.start()
        await eventually(lambda: nc.is_connected)

    for reader in (JetStreamSource(nc, js), JetStreamEventStore(nc, js)):
        with pytest.raises(StreamMismatch, match="put back to an older copy"):
            await read_on(reader, [], when=20, then=put_back)
        await append(store, events[:20], 10)


@pytest.mark.parametrize("kind", [RawPuller, pull.Puller])
async def test_of_large_messages_no_more_are_asked_for_than_memory_is_meant_for(
    nc: Client, kind: type[pull.Puller]
) -> None:
    js = nc.jetstream()
    count = 80
    for number in range(count):
        await js.publish(f"configtrail.acme.r{number}.Large", b"x" * (1 << 20))
    async with (
        passing(nc, js, EVENTS, 1) as made,
        kind(nc, EVENTS, made.consumer) as puller,
    ):
        for _ in range(count):
            if isinstance(puller, RawPuller):
                assert len(await puller.take_all()) == 1
                here = len(puller._raw)
            else:
                await puller.next(1)
                here = len(puller._buffer)
            await nc.flush()
            # One half that is here while the next is asked for.
            assert here <= 24


async def test_a_removed_event_is_a_gap(nc: Client) -> None:
    js = nc.jetstream()
    await js.delete_stream(EVENTS)
    await js.add_stream(events_stream_config().evolve(deny_delete=False, deny_purge=False))
    source = JetStreamSource(nc, js)
    await append(JetStreamEventStore(nc, js), played(3, 30).events)
    await js.delete_msg(EVENTS, 1)
    with pytest.raises(StreamGap):
        await first(source, 1)
    with pytest.raises(StreamGap):
        await source.at(1)


async def test_what_cannot_be_decoded_is_told_with_its_device(nc: Client) -> None:
    js = nc.jetstream()
    source = JetStreamSource(nc, js)
    headers = {"ce-id": secrets.token_hex(4), "ce-sequence": "1"}
    later = {**headers, "ce-type": "configtrail.FromTheFuture.v1", "ce-time": "2026-01-01T00:00Z"}
    await js.publish("configtrail.acme.r=31.FromTheFuture", b"{}", headers=later)
    await js.publish("configtrail.acme.r1.FromTheFuture", b"{}", headers=later)
    await js.publish("configtrail.acme.r1.DiffGenerated", b"secret", headers=headers)
    await js.publish("configtrail.odd", b"{}")
    found = await first(source, 4)
    assert all(isinstance(one, Unreadable) for one in found)
    assert [(one.tenant_id, one.device_id) for one in found] == [
        ("-", "configtrail.acme.r=31.FromTheFuture"),
        ("acme", "r1"),
        ("acme", "r1"),
        ("-", "configtrail.odd"),
    ]
    assert "secret" not in repr(found)
    assert await source.at(2) == found[1]


async def test_a_recorded_skip_is_found(nc: Client) -> None:
    store = JetStreamEventStore(nc, nc.jetstream())
    source = JetStreamSource(nc, nc.jetstream())
    events = played(4, 60).events
    await append(store, events)
    chosen = events[10]
    assert not await source.skipped("audit", chosen)
    for position in (chosen.position + 1, chosen.position):
        branch = [one for one in await first(source, len(events)) if same(one, chosen)]
        last = branch[-1]
        assert isinstance(last, StoredEvent)
        skip = decisions.event_skipped(
            chosen.tenant_id,
            chosen.device_id,
            projection="audit",
            position=position,
            skipped_event_id=chosen.event_id,
            actor="user:ann",
            occurred_at=chosen.occurred_at,
        )
        events.append(await store.append(skip, Head(last.version, last.position)))
    assert await source.skipped("audit", chosen)
    assert not await source.skipped("diffs", chosen)


def same(one: Delivered, other: StoredEvent) -> bool:
    return (one.tenant_id, one.device_id) == (other.tenant_id, other.device_id)


async def test_more_consumers_than_a_stream_may_have_are_waited_for(nc: Client) -> None:
    js = nc.jetstream()
    await js.add_stream(StreamConfig("FEW", subjects=["few.>"], max_consumers=1))
    await passing_consumer(nc, js, "FEW", 1)
    with pytest.raises(Unavailable, match="making a consumer"):
        await passing_consumer(nc, js, "FEW", 1)
