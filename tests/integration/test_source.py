"""The projections' reader gives what the event store gives, and names what can't be decoded."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from nats.aio.client import Client

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.connection import connect
from adapters.jetstream.event_store import JetStreamEventStore
from adapters.jetstream.source import JetStreamSource
from adapters.jetstream.streams import EVENTS, events_stream_config
from domain import decisions
from domain.envelope import Head, NewEvent, StoredEvent
from domain.errors import StreamGap
from projections.source import Delivered, Unreadable
from tests.generators import played
from tests.integration.test_projection_worker import append


@pytest.fixture
async def nc(nats_server: EmbeddedNats) -> AsyncIterator[Client]:
    client = await connect(nats_server.url, name="test")
    await client.jetstream().add_stream(events_stream_config())
    yield client
    await client.close()


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
