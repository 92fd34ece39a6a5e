"""Projection workers on a real stream and a real Postgres: they follow, and outlive outages."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from nats.aio.client import Client

from adapters.embedded.nats import EmbeddedNats
from adapters.embedded.postgres import EmbeddedPostgres
from adapters.jetstream.event_store import JetStreamEventStore
from adapters.jetstream.source import JetStreamSource
from adapters.jetstream.streams import EVENTS, events_stream_config
from adapters.postgres.pool import _SERVER_SETTINGS, open_pool
from domain.envelope import Head, NewEvent, StoredEvent
from domain.errors import StreamMismatch
from projections import ALL, AUDIT, stops
from projections.checkpoints import wait_projected
from projections.engine import ProjectionWorker
from projections.lease import held_while_marked
from projections.rows import Pool
from projections.writer import lease_name
from tests.generators import played
from tests.listed import Listed
from tests.rebuilding import running
from tests.support import eventually


@pytest.fixture
async def nc(nc: Client) -> Client:
    await nc.jetstream().add_stream(events_stream_config())
    return nc


@pytest.fixture
def store(nc: Client) -> JetStreamEventStore:
    return JetStreamEventStore(nc, nc.jetstream())


@pytest.fixture
def source(nc: Client) -> JetStreamSource:
    return JetStreamSource(nc, nc.jetstream())


async def append(store: JetStreamEventStore, events: list[StoredEvent], start: int = 0) -> None:
    """The events from an index on into the stream, which has those before it."""
    heads: dict[tuple[str, str], Head] = {}
    for index, stored in enumerate(events):
        key = (stored.tenant_id, stored.device_id)
        if index >= start:
            event = NewEvent(
                event_id=stored.event_id,
                tenant_id=stored.tenant_id,
                device_id=stored.device_id,
                occurred_at=stored.occurred_at,
                event=stored.event,
                correlation_id=stored.correlation_id,
                causation_id=stored.causation_id,
            )
            appended = await store.append(event, heads.get(key, Head()))
            assert appended.position == stored.position
        heads[key] = Head(stored.version, stored.position)


async def rows(pool: Pool) -> dict[str, list[str]]:
    """Every row of every table."""
    return {
        table: sorted(map(repr, await pool.fetch(f'SELECT * FROM configtrail."{table}"')))
        for projection in ALL
        for table in projection.tables
    }


async def test_workers_catch_up_and_follow(
    store: JetStreamEventStore, source: JetStreamSource, pool: Pool
) -> None:
    events = played(1, 120).events
    await append(store, events[:60])
    workers = [ProjectionWorker(pool, source, projection) for projection in ALL]
    async with running(*workers):
        for worker in workers:
            await asyncio.wait_for(worker.wait(60), 20)
        await append(store, events, 60)
        await wait_projected(pool, ALL, len(events), 20)
        for worker in workers:
            await asyncio.wait_for(worker.wait(len(events)), 20)
            assert worker.position == len(events)
    followed = await rows(pool)
    assert len(followed["audit"]) == len(events)

    # A replay in one go, by workers of another program, comes to the same.
    await pool.execute("DROP SCHEMA configtrail CASCADE")
    async with running(*(ProjectionWorker(pool, source, projection) for projection in ALL)):
        await wait_projected_from_nothing(pool, len(events))
    assert await rows(pool) == followed


async def wait_projected_from_nothing(pool: Pool, position: int) -> None:
    """As `wait_projected`, while the schema may not even be there."""
    await eventually(lambda: pool.fetchval("SELECT to_regclass('configtrail.checkpoints')"))
    await wait_projected(pool, ALL, position, 20)


async def test_a_dropped_schema_is_built_again_without_a_restart_or_an_event(
    store: JetStreamEventStore,
    source: JetStreamSource,
    pool: Pool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = played(2, 100).events
    await append(store, events)
    async with running(*(ProjectionWorker(pool, source, projection) for projection in ALL)):
        await wait_projected_from_nothing(pool, len(events))
        before = await rows(pool)
        await pool.execute("DROP SCHEMA configtrail CASCADE")
        await wait_projected_from_nothing(pool, len(events))
        assert await rows(pool) == before
        await pool.execute("DROP TABLE configtrail.diffs, configtrail.devices")
        for table in ("diffs", "devices"):
            await eventually(
                lambda table=table: pool.fetchval(f"SELECT to_regclass('configtrail.{table}')")  # type: ignore[misc]
            )
        await wait_projected(pool, ALL, len(events), 20)
        assert await rows(pool) == before
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


async def test_two_workers_of_one_projection_get_along(
    store: JetStreamEventStore, source: JetStreamSource, pool: Pool, postgres_dsn: str
) -> None:
    events = played(3, 150).events
    async with open_pool(postgres_dsn) as other:
        first = [ProjectionWorker(pool, source, projection) for projection in ALL]
        second = [ProjectionWorker(other, source, projection) for projection in ALL]
        async with running(*first, *second):
            await append(store, events)
            for worker in (*first, *second):
                await asyncio.wait_for(worker.wait(len(events)), 20)
    raced = await rows(pool)
    await pool.execute("DROP SCHEMA configtrail CASCADE")
    async with running(*(ProjectionWorker(pool, source, projection) for projection in ALL)):
        await wait_projected_from_nothing(pool, len(events))
    assert await rows(pool) == raced


async def test_outages_of_both_servers_are_waited_out(
    nats_server: EmbeddedNats,
    store: JetStreamEventStore,
    source: JetStreamSource,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = played(4, 150).events
    third = len(events) // 3
    postgres = EmbeddedPostgres(tmp_path / "own", password="secretsecret")
    await postgres.start()
    try:
        async with open_pool(postgres.dsn) as pool:
            workers = [ProjectionWorker(pool, source, projection) for projection in ALL]
            async with running(*workers):
                await append(store, events[:third])
                for worker in workers:
                    await asyncio.wait_for(worker.wait(third), 20)
                await postgres.kill()
                await append(store, events[: 2 * third], third)
                await eventually(lambda: "waiting for Postgres" in caplog.text)
                await postgres.start()
                for worker in workers:
                    await asyncio.wait_for(worker.wait(2 * third), 30)
                await nats_server.kill()
                await nats_server.start()
                await append(store, events, 2 * third)
                for worker in workers:
                    await asyncio.wait_for(worker.wait(len(events)), 30)
            disturbed = await rows(pool)
            await pool.execute("DROP SCHEMA configtrail CASCADE")
            async with running(*(ProjectionWorker(pool, source, one) for one in ALL)):
                await wait_projected_from_nothing(pool, len(events))
            assert await rows(pool) == disturbed
    finally:
        await postgres.stop()
    assert "secretsecret" not in caplog.text


async def test_a_recreated_stream_stops_the_worker(
    nc: Client, store: JetStreamEventStore, source: JetStreamSource, pool: Pool
) -> None:
    events = played(5, 40).events
    await append(store, events)
    worker = ProjectionWorker(pool, source, ALL[0])
    async with running(worker):
        await asyncio.wait_for(worker.wait(len(events)), 20)
    js = nc.jetstream()
    await js.delete_stream(EVENTS)
    await js.add_stream(events_stream_config())
    await append(store, events)
    with pytest.raises(StreamMismatch, match="belongs to the stream"):
        await asyncio.wait_for(worker.run(), 20)


async def test_who_locks_the_tables_is_named_and_holds_up_nobody_afterwards(
    postgres_dsn: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.writer.LOCK_SECONDS", 0.3)
    events = played(3, 700).events
    source = Listed(events[:50])
    worker = ProjectionWorker(pool, source, AUDIT)
    standby = ProjectionWorker(pool, source, AUDIT)

    async def reason() -> str | None:
        return (await stops.reasons(pool)).get("audit")

    async with (
        running(worker, standby),
        open_pool(postgres_dsn, application_name="somebody's psql") as other,
        other.acquire() as session,
    ):
        await asyncio.wait_for(worker.wait(50), 20)
        for table, mode, more in (
            ("audit", "ACCESS EXCLUSIVE", 300),
            ("checkpoints", "SHARE ROW EXCLUSIVE", 500),
        ):
            async with session.transaction():
                await session.execute(f"LOCK TABLE configtrail.{table} IN {mode} MODE")
                await source.more(events[len(source.events) : more])
                told = await eventually(reason)
                assert "somebody's psql" in told
                assert f"process {session.get_server_pid()} of the server" in told
                assert f"Lock on {table}" in told
            await wait_projected(pool, [AUDIT], more, 20)
            assert await reason() is None
    assert await pool.fetchval("SELECT count(*) FROM configtrail.audit") == 500


@pytest.mark.parametrize("ledger", ["checkpoints", "stops"])
async def test_who_holds_a_row_of_a_ledger_is_named_with_since_when(
    ledger: str,
    postgres_dsn: str,
    pool: Pool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("projections.writer.LOCK_SECONDS", 0.3)
    monkeypatch.setitem(_SERVER_SETTINGS, "lock_timeout", "300ms")
    events = played(3, 200).events
    source = Listed(events[:50])
    async with (
        open_pool(postgres_dsn) as impatient,
        open_pool(postgres_dsn, application_name="somebody's psql") as other,
        other.acquire() as session,
    ):
        worker = ProjectionWorker(impatient, source, AUDIT)
        async with running(worker):
            await asyncio.wait_for(worker.wait(50), 20)
            await stops.tell(pool, AUDIT, 50, "something")
        async with session.transaction():
            await session.execute(f"SELECT FROM configtrail.{ledger} FOR UPDATE")
            async with running(ProjectionWorker(impatient, source, AUDIT)):
                await source.more(events[50:])
                who = (
                    f"process {session.get_server_pid()} of the server (somebody's psql, user "
                    "configtrail, in a transaction since 2"
                )
                await eventually(lambda: who in caplog.text)
                assert f"has a lock on the row of audit in {ledger}" in caplog.text
        async with running(ProjectionWorker(impatient, source, AUDIT)):
            await wait_projected(pool, [AUDIT], len(events), 20)


async def test_who_locks_a_ledger_against_reading_is_named(
    postgres_dsn: str, pool: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(_SERVER_SETTINGS, "lock_timeout", "300ms")
    source = Listed(played(3, 200).events[:50])
    async with (
        open_pool(postgres_dsn) as impatient,
        open_pool(postgres_dsn, application_name="somebody's psql") as other,
        other.acquire() as session,
    ):
        worker = ProjectionWorker(impatient, source, AUDIT)
        async with running(worker):
            await asyncio.wait_for(worker.wait(50), 20)
            async with session.transaction():
                await session.execute("LOCK TABLE configtrail.checkpoints")
                await eventually(
                    lambda: (
                        "has AccessExclusiveLock on checkpoints" in caplog.text
                        and f"process {session.get_server_pid()} of the server" in caplog.text
                    )
                )


async def test_who_holds_the_checkpoint_for_a_while_is_waited_out_and_makes_nothing_unwell(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As a verification does, which has its mark."""
    monkeypatch.setattr("projections.writer.LOCK_SECONDS", 0.3)
    events = played(3, 200).events
    source = Listed(events[:50])
    worker = ProjectionWorker(pool, source, AUDIT)
    async with running(worker), pool.acquire() as session:
        await asyncio.wait_for(worker.wait(50), 20)
        async with session.transaction():
            await session.execute(held_while_marked(lease_name(AUDIT), 60))
            await session.execute("SELECT FROM configtrail.checkpoints FOR UPDATE")
            await source.more(events[50:])
            await eventually(lambda: "LockNotAvailable" in caplog.text)
            assert await stops.reasons(pool) == {}
        await wait_projected(pool, [AUDIT], len(events), 20)
