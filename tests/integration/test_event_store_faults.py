"""When servers and networks fail: every acknowledged event is there once, and there is no gap."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
from nats.aio.client import Client

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.connection import connect, outage_as_unavailable
from adapters.jetstream.event_store import JetStreamEventStore
from adapters.jetstream.key_store import JetStreamKeyStore
from adapters.jetstream.leases import BUCKET, Leases
from adapters.jetstream.streams import EVENTS, ensure_stream, events_stream_config
from domain.envelope import Head, NewEvent, StoredEvent
from domain.errors import AppendConflict, Unavailable
from tests.behaviour.event_store import append_many, branch, everything, failure
from tests.faults import Proxy, cluster
from tests.support import eventually

WRITERS = 4


@pytest.fixture
async def nc(nc: Client) -> Client:
    await nc.jetstream().add_stream(events_stream_config())
    return nc


class Writers:
    """Writers that race for a few devices, and remember what was acknowledged."""

    def __init__(self, store: JetStreamEventStore) -> None:
        self._store = store
        self._stopping = asyncio.Event()
        self.acknowledged: list[StoredEvent] = []

    async def __aenter__(self) -> Writers:
        self._tasks = [asyncio.create_task(self._write(number)) for number in range(WRITERS)]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stopping.set()
        await asyncio.gather(*self._tasks)

    async def reached(self, count: int, within: float = 60) -> None:
        """Wait until so many events were acknowledged."""
        await eventually(lambda: self._at(count), within=within)

    def _at(self, count: int) -> bool:
        for task in self._tasks:
            if task.done():
                task.result()
        return len(self.acknowledged) >= count

    async def _write(self, writer: int) -> None:
        heads: dict[str, Head] = {}
        number = 0
        while not self._stopping.is_set():
            device = f"r{number % 3}"
            batch = [failure(10_000_000 * writer + 10 * number + part, device) for part in (0, 1)]
            # Every third time two that stand or fall together.
            await self._append(batch if number % 3 == 2 else batch[:1], device, heads)
            number += 1

    async def _append(self, events: list[NewEvent], device: str, heads: dict[str, Head]) -> None:
        while True:
            head = heads.get(device, Head())
            try:
                if len(events) == 1:
                    stored: tuple[StoredEvent, ...] = (await self._store.append(events[0], head),)
                else:
                    stored = await self._store.append_together(events, head)
            except AppendConflict as conflict:
                stored = conflict.newer
            except Unavailable:
                continue
            else:
                self.acknowledged += stored
            heads[device] = Head(stored[-1].version, stored[-1].position)
            if stored[-1].event_id == events[-1].event_id:
                return


def patient(probe: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    """The probe, for which an outage means not yet."""

    async def probed() -> bool:
        try:
            with outage_as_unavailable("probing"):
                return await probe()
        except Unavailable:
            return False

    return probed


async def check(store: JetStreamEventStore, writers: Writers) -> None:
    """Every acknowledged event is there once, where it was said to be; no version is missing."""
    there = await everything(store)
    assert [one.position for one in there] == list(range(1, len(there) + 1))
    places = {one.event_id: (one.position, one.version) for one in there}
    assert len(places) == len(there), "an event is there twice"
    for one in writers.acknowledged:
        assert places[one.event_id] == (one.position, one.version)
    for device in ("r0", "r1", "r2"):
        versions = [one.version for one in await branch(store, device)]
        assert versions == list(range(1, len(versions) + 1))


async def test_appends_whose_answer_is_lost_are_found_and_not_taken_for_conflicts(
    nats_server: EmbeddedNats, nc: Client
) -> None:
    watching = JetStreamEventStore(nc, nc.jetstream())
    async with Proxy(nats_server.url) as single, Proxy(nats_server.url) as batched:
        one = await connect(single.url, name="one")
        two = await connect(batched.url, name="two")
        first, second = (JetStreamEventStore(each, each.jetstream()) for each in (one, two))
        heads = await append_many(first, 1, "r1"), await append_many(second, 1, "r2")
        single.lose_answers()
        # The answer to a batch's first message arrives; the one to its commit is lost.
        batched.lose_answers(after=1)
        batch = [failure(8, "r2"), failure(9, "r2")]
        appends = asyncio.gather(
            first.append(failure(7), heads[0]), second.append_together(batch, heads[1])
        )

        async def landed() -> bool:
            return await watching.head() >= 5

        await eventually(landed)
        single.cut()
        batched.cut()
        alone, together = await appends
        assert alone == (await branch(watching, "r1"))[1]
        assert list(together) == (await branch(watching, "r2"))[1:]
        assert await watching.head() == 5
        await one.close()
        await two.close()


async def test_writers_lose_nothing_when_the_server_is_killed(
    nats_server: EmbeddedNats, nc: Client
) -> None:
    store = JetStreamEventStore(nc, nc.jetstream())
    async with Writers(store) as writers:
        await writers.reached(200)
        await nats_server.kill()
        await nats_server.start()
        await writers.reached(400)
    await check(store, writers)


async def test_a_follower_over_a_connection_that_is_cut_misses_nothing(
    nats_server: EmbeddedNats, nc: Client
) -> None:
    store = JetStreamEventStore(nc, nc.jetstream())
    seen: list[int] = []
    async with Proxy(nats_server.url) as proxy:
        reader = await connect(proxy.url, name="reader")
        follower = JetStreamEventStore(reader, reader.jetstream())
        head = Head()
        async with aclosing(follower.follow()) as batches:
            for turn in range(2):
                batch = [failure(1_000 * turn + part) for part in range(1_000)]
                stored = await store.append_together(batch, head)
                head = Head(stored[-1].version, stored[-1].position)
                if turn:
                    proxy.cut()
                async for events in batches:
                    seen += [one.position for one in events]
                    if seen[-1] == head.position:
                        break
        await reader.close()
    assert seen == list(range(1, 2_001))


async def test_a_cluster_whose_leader_is_killed_keeps_every_acknowledged_event(
    tmp_path: Path,
) -> None:
    async with cluster(tmp_path / "cluster") as servers:
        nc = await connect(servers.url, name="writers")

        js = nc.jetstream()
        keys, leases = JetStreamKeyStore(js), Leases(js)

        async def made() -> bool:
            # What was made on one server follows the cluster's size by setting.
            for copies in (1, 3):
                await ensure_stream(js, events_stream_config().evolve(num_replicas=copies))
                await keys.ensure(copies)
                await leases.ensure(copies)
            return True

        async def replicated() -> bool:
            for stream in (EVENTS, "KV_CONFIGTRAIL_KEYS", f"KV_{BUCKET}"):
                info = (await js.stream_info(stream)).cluster
                if info is None or not info.leader:
                    return False
                if len([peer for peer in info.replicas or () if peer.current]) < 2:
                    return False
            return True

        # While the three elect leaders they answer nothing, or that they are not available.
        await eventually(patient(made), within=40)
        await eventually(patient(replicated), within=40)
        store = JetStreamEventStore(nc, nc.jetstream())
        followed: list[int] = []

        async def follow() -> None:
            async with aclosing(store.follow()) as batches:
                async for batch in batches:
                    followed.extend(one.position for one in batch)

        following = asyncio.create_task(follow())
        async with Writers(store) as writers:
            await writers.reached(150)
            leader = await servers.leader(nc, EVENTS)
            await leader.kill()
            await writers.reached(len(writers.acknowledged) + 150)
            await leader.start()
            await writers.reached(len(writers.acknowledged) + 50)
        await check(store, writers)
        head = await store.head()
        await eventually(lambda: followed[-1:] == [head], within=30)
        assert followed == list(range(1, head + 1))
        following.cancel()
        await asyncio.wait([following])
        await nc.close()


async def test_more_batches_at_once_than_the_server_takes_are_waited_for(
    nats_server: EmbeddedNats, nc: Client
) -> None:
    for number in range(50):
        headers = {"Nats-Batch-Id": f"open{number}", "Nats-Batch-Sequence": "1"}
        await nc.request("configtrail.a.b.C", b"{}", headers=headers)
    store = JetStreamEventStore(nc, nc.jetstream())
    with pytest.raises(Unavailable):
        await store.append_together([failure(1), failure(2)], Head())
    assert await store.head() == 0
