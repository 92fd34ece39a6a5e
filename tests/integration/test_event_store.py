"""The event store on a real nats-server: optimistic append, lost acknowledgements, honest reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest
from nats.aio.client import Client
from nats.js.errors import APIError

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream import wire
from adapters.jetstream.connection import connect
from adapters.jetstream.event_store import JetStreamEventStore
from adapters.jetstream.streams import EVENTS, events_stream_config
from domain.decisions import collection_failed
from domain.envelope import Head, NewEvent, StoredEvent
from domain.errors import (
    AppendConflict,
    MalformedEvent,
    StreamMismatch,
    Unavailable,
    UnknownEventType,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def failure(number: int, device: str = "r1", tenant: str = "acme") -> NewEvent:
    return collection_failed(
        tenant,
        device,
        failure_id=f"{device}-{number}",
        kind="timeout",
        message="no answer",
        attempted_at=NOON + timedelta(minutes=number),
        source="scheduled",
    )


@pytest.fixture
async def nc(nats_server: EmbeddedNats) -> AsyncIterator[Client]:
    client = await connect(nats_server.url, name="test")
    await client.jetstream().add_stream(events_stream_config())
    yield client
    await client.close()


@pytest.fixture
def store(nc: Client) -> JetStreamEventStore:
    return JetStreamEventStore(nc, nc.jetstream())


async def branch(store: JetStreamEventStore, device: str = "r1") -> list[StoredEvent]:
    async with aclosing(store.read_branch("acme", device)) as events:
        return [stored async for stored in events]


async def append_many(store: JetStreamEventStore, count: int, device: str = "r1") -> Head:
    head = Head()
    for number in range(count):
        stored = await store.append(failure(number, device), head)
        head = Head(stored.version, stored.position)
    return head


async def test_an_appended_event_is_read_back_as_it_was(store: JetStreamEventStore) -> None:
    odd = "core router.1/ü*>"
    event = NewEvent(
        event_id="one",
        tenant_id="acme",
        device_id=odd,
        occurred_at=NOON,
        event=failure(0).event,
        correlation_id="a b%20ü",
        causation_id="intake.7",
        traceparent="00-abc-def-01",
    )
    stored = await store.append(event, Head())
    [read] = await branch(store, odd)
    assert (read.position, read.version) == (stored.position, stored.version) == (1, 1)
    for field in NewEvent.__struct_fields__:
        assert getattr(read, field) == getattr(event, field), field


async def test_a_device_without_events_has_an_empty_branch(store: JetStreamEventStore) -> None:
    assert await branch(store) == []
    assert await store.head() == 0


async def test_who_appends_second_gets_the_newer_events(store: JetStreamEventStore) -> None:
    first = await store.append(failure(1), Head())
    with pytest.raises(AppendConflict) as conflict:
        await store.append(failure(2), Head())
    assert [newer.event_id for newer in conflict.value.newer] == [first.event_id]
    await store.append(failure(2), Head(first.version, first.position))
    assert [stored.version for stored in await branch(store)] == [1, 2]


async def test_branches_do_not_disturb_each_other(store: JetStreamEventStore) -> None:
    await append_many(store, 3, "r1")
    await append_many(store, 3, "r2")
    assert [stored.version for stored in await branch(store, "r1")] == [1, 2, 3]
    assert [stored.version for stored in await branch(store, "r2")] == [1, 2, 3]


async def test_appending_again_what_landed_gives_the_stored_event(
    store: JetStreamEventStore,
) -> None:
    first = await store.append(failure(1), Head())
    again = await store.append(failure(1), Head())
    assert again.position == first.position
    await store.append(failure(2), Head(first.version, first.position))
    once_more = await store.append(failure(1), Head())
    assert once_more.position == first.position
    assert await store.head() == 2


async def test_racing_writers_leave_one_contiguous_branch(store: JetStreamEventStore) -> None:
    async def write(number: int) -> None:
        head = Head()
        while True:
            try:
                await store.append(failure(number), head)
            except AppendConflict as conflict:
                head = Head(conflict.newer[-1].version, conflict.newer[-1].position)
            else:
                return

    await asyncio.gather(*(write(number) for number in range(20)))
    events = await branch(store)
    assert [stored.version for stored in events] == list(range(1, 21))
    assert len({stored.event_id for stored in events}) == 20


async def test_long_branches_are_read_whole(store: JetStreamEventStore) -> None:
    await append_many(store, 1_203)
    assert [stored.version for stored in await branch(store)] == list(range(1, 1_204))


async def test_reading_all_ends_at_the_head_or_where_asked(store: JetStreamEventStore) -> None:
    await append_many(store, 25)
    for until in (None, 25, 7):
        async with aclosing(store.read(after=3, until=until)) as batches:
            read = [stored.position async for batch in batches for stored in batch]
        assert read == list(range(4, (until or 25) + 1))
    async with aclosing(store.read(after=25)) as batches:
        assert [batch async for batch in batches] == []


async def test_following_goes_on_over_a_killed_server(
    store: JetStreamEventStore, nats_server: EmbeddedNats
) -> None:
    head = await append_many(store, 5)
    seen: list[int] = []
    async with aclosing(store.follow()) as batches:
        async for batch in batches:
            seen += [stored.position for stored in batch]
            if seen[-1] == 5:
                await nats_server.kill()
                await nats_server.start()
                while True:
                    try:
                        await store.append(failure(99), head)
                        break
                    except Unavailable:
                        continue
            if seen[-1] == 6:
                break
    assert seen == [1, 2, 3, 4, 5, 6]


async def test_a_stream_recreated_under_a_follower_is_refused(
    store: JetStreamEventStore, nc: Client
) -> None:
    await append_many(store, 3)
    follower = store.follow()
    async with aclosing(follower):
        await anext(follower)
        await nc.jetstream().delete_stream(EVENTS)
        await nc.jetstream().add_stream(events_stream_config())
        with pytest.raises(StreamMismatch, match="recreated"):
            await anext(follower)


async def test_unknown_and_malformed_events_are_named_with_their_position(
    store: JetStreamEventStore, nc: Client
) -> None:
    subject, headers, body = wire.encode(failure(1), Head())
    del headers["Nats-Expected-Last-Subject-Sequence"]
    del headers["Nats-Expected-Last-Subject-Sequence-Subject"]
    js = nc.jetstream()
    await js.publish(subject, body, headers={**headers, "ce-type": "configtrail.NewThing.v1"})
    with pytest.raises(UnknownEventType, match=r"event 1 .*NewThing"):
        await branch(store)
    await js.publish(
        subject.replace("r1", "r2"), b"{}", headers={**headers, "Nats-Msg-Id": "another"}
    )
    with pytest.raises(MalformedEvent, match="event 2"):
        await branch(store, "r2")


async def test_the_stream_refuses_to_lose_events(nc: Client, store: JetStreamEventStore) -> None:
    await append_many(store, 2)
    js = nc.jetstream()
    with pytest.raises(APIError):
        await js.purge_stream(EVENTS)
    with pytest.raises(APIError):
        await js.delete_msg(EVENTS, 1)
    assert len(await branch(store)) == 2
