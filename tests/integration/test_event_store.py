"""The event store on a real nats-server: what every store does, and what only this one must."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing

import pytest
from nats.aio.client import Client
from nats.js.errors import APIError

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream import wire
from adapters.jetstream.connection import connect
from adapters.jetstream.event_store import JetStreamEventStore
from adapters.jetstream.streams import EVENTS, events_stream_config
from domain.envelope import Head
from domain.errors import MalformedEvent, Unavailable, UnknownEventType
from domain.ports import EventStore
from tests.behaviour.event_store import (
    EventStoreBehaviour,
    Stores,
    append_many,
    branch,
    failure,
)


class JetStreamStores(Stores):
    """Every program has a connection of its own."""

    def __init__(self, url: str, nc: Client, connections: AsyncExitStack) -> None:
        self._url = url
        self._nc = nc
        self._connections = connections
        self._store = JetStreamEventStore(nc, nc.jetstream())

    @property
    def store(self) -> EventStore:
        return self._store

    async def another(self) -> EventStore:
        nc = await connect(self._url, name="another")
        self._connections.push_async_callback(nc.close)
        return JetStreamEventStore(nc, nc.jetstream())

    async def recreate(self) -> None:
        await self._nc.jetstream().delete_stream(EVENTS)
        await self._nc.jetstream().add_stream(events_stream_config())


class TestJetStreamEventStore(EventStoreBehaviour):
    @pytest.fixture
    async def stores(self, nats_server: EmbeddedNats, nc: Client) -> AsyncIterator[Stores]:
        async with AsyncExitStack() as connections:
            yield JetStreamStores(nats_server.url, nc, connections)


@pytest.fixture
async def nc(nc: Client) -> Client:
    await nc.jetstream().add_stream(events_stream_config())
    return nc


@pytest.fixture
def store(nc: Client) -> JetStreamEventStore:
    return JetStreamEventStore(nc, nc.jetstream())


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
