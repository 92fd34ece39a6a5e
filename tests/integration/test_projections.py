"""Projections on a real Postgres: each event counts once, whatever crashes, races or is dropped."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from adapters.postgres.pool import open_pool
from domain.envelope import StoredEvent
from domain.errors import NewerProjection, StreamGap, StreamMismatch, Unavailable
from domain.events import DuplicateSkipped
from projections import ALL, AUDIT, BACKUPS, DIFFS
from projections.belonging import strays
from projections.checkpoints import checkpoints, lag, wait_projected
from projections.outages import is_outage
from projections.parking import listed
from projections.projection import Projection
from projections.rows import Connection, Pool
from projections.schema import ensure_schemas, lock_schemas
from projections.writer import ProjectionWriter, Rewound
from tests.generators import STREAM, pieces, played
from tests.listed import Listed
from tests.support import eventually

Dump = dict[str, list[str]]


@pytest.fixture
async def pool(postgres_dsn: str) -> AsyncIterator[Pool]:
    async with open_pool(postgres_dsn, application_name="projections-test") as pool:
        yield pool


async def dump(pool: Pool) -> Dump:
    """Every row of every table, checkpoints included."""
    tables = await pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'configtrail'")
    return {
        table: sorted(map(repr, await pool.fetch(f'SELECT * FROM configtrail."{table}"')))
        for (table,) in tables
    }


def writer_of(
    pool: Pool,
    projection: Projection[Any],
    events: Sequence[StoredEvent] = (),
    *,
    head: int = 10_000,
) -> ProjectionWriter:
    """A writer of a projection from a stream that ends at `head`."""
    return ProjectionWriter(pool, projection, Listed(events, head=head))


async def writers(pool: Pool, events: Sequence[StoredEvent] = ()) -> list[ProjectionWriter]:
    """A fresh writer for each projection."""
    made = [writer_of(pool, projection, events) for projection in ALL]
    for writer in made:
        await writer.prepare(STREAM)
    return made


async def apply_all(
    pool: Pool, events: Sequence[StoredEvent], batches: Sequence[Sequence[StoredEvent]]
) -> None:
    for writer in await writers(pool, events):
        for batch in batches:
            if batch[-1].position > writer.position:
                await writer.apply(batch)


async def reference(pool: Pool, events: list[StoredEvent]) -> Dump:
    """The rows of an undisturbed run; the schema is gone afterwards."""
    await apply_all(pool, events, [events])
    rows = await dump(pool)
    await pool.execute("DROP SCHEMA configtrail CASCADE")
    return rows


class Wrapped:
    """A projection with something happening around its writing."""

    def __init__(self, inner: Projection[Any]) -> None:
        self.inner = inner
        self.name = inner.name
        self.version = inner.version
        self.tables = inner.tables
        self.ddl = inner.ddl

    def fold(self, batch: Sequence[StoredEvent]) -> Any:
        return self.inner.fold(batch)

    async def write(self, connection: Connection, ops: Any) -> None:
        await self.inner.write(connection, ops)


class Breaking(Wrapped):
    """Fails after its rows are written, for a reason that is no event's."""

    async def write(self, connection: Connection, ops: Any) -> None:
        await super().write(connection, ops)
        raise asyncpg.UndefinedColumnError("a column is gone")


class CutOff(Wrapped):
    """Loses its first connection in the middle of the transaction, with rows written."""

    def __init__(self, inner: Projection[Any], pool: Pool) -> None:
        super().__init__(inner)
        self.pool = pool
        self.cuts = 1

    async def write(self, connection: Connection, ops: Any) -> None:
        await super().write(connection, ops)
        if self.cuts:
            self.cuts -= 1
            own = await connection.fetchval("SELECT pg_backend_pid()")
            await self.pool.fetchval("SELECT pg_terminate_backend($1, 5000)", own)


@pytest.mark.parametrize("seed", range(4))
async def test_rows_do_not_depend_on_batches_or_restarts(pool: Pool, seed: int) -> None:
    events = played(seed, 120).events
    expected = await reference(pool, events)
    choice = random.Random(seed)
    cuts = [choice.randrange(len(events)) for _ in range(15)]
    for batch in pieces(events, cuts):
        await apply_all(pool, events, [batch])  # each with writers of its own, as after a restart
    assert await dump(pool) == expected


async def test_event_by_event_gives_the_same_rows(pool: Pool) -> None:
    events = played(11, 90).events
    expected = await reference(pool, events)
    await apply_all(pool, events, [[stored] for stored in events])
    assert await dump(pool) == expected


async def test_what_was_applied_is_not_applied_again(pool: Pool) -> None:
    events = played(1, 100).events
    expected = await reference(pool, events)
    for writer in await writers(pool, events):
        await writer.apply(events[:40])
        await writer.apply(events[:40])
        await writer.apply(events[30:60])
        await writer.apply(events)
        await writer.apply(events[10:20])
        assert writer.position == len(events)
    assert await dump(pool) == expected


async def test_a_gap_is_refused_and_nothing_of_the_batch_applied(pool: Pool) -> None:
    events = played(2, 60).events
    for writer in await writers(pool, events):
        await writer.apply(events[:10])
        before = await dump(pool)
        for gap in (events[11:20], [*events[10:15], *events[16:20]], [events[11], events[10]]):
            with pytest.raises(StreamGap):
                await writer.apply(gap)
        assert await dump(pool) == before
        assert writer.position == 10


@pytest.mark.parametrize("projection", ALL, ids=lambda one: one.name)
async def test_rows_and_checkpoint_stand_or_fall_together(
    pool: Pool, projection: Projection[Any]
) -> None:
    events = played(3, 80).events
    writer = writer_of(pool, projection, events)
    await writer.prepare(STREAM)
    await writer.apply(events[:30])
    before = await dump(pool)
    breaking = writer_of(pool, Breaking(projection), events)
    await breaking.prepare(STREAM)
    with pytest.raises(asyncpg.UndefinedColumnError):
        await breaking.apply(events[30:])
    assert await dump(pool) == before
    assert breaking.position == 30


async def test_a_connection_cut_in_mid_transaction_is_recovered_from(pool: Pool) -> None:
    events = played(4, 80).events
    expected = await reference(pool, events)
    for projection in ALL:
        cut_off = CutOff(projection, pool)
        writer = writer_of(pool, cut_off, events)
        await writer.prepare(STREAM)
        await writer.apply([])
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)) as caught:
            await writer.apply(events)
        assert is_outage(caught.value)
        assert writer.position == 0
        await writer.refresh()
        await writer.apply(events)
    assert await dump(pool) == expected


async def test_racing_writers_apply_each_event_once(postgres_dsn: str, pool: Pool) -> None:
    events = played(5, 150).events
    expected = await reference(pool, events)

    async def race(own: Pool, projection: Projection[Any], seed: int) -> None:
        choice = random.Random(seed)
        writer = writer_of(own, projection, events)
        await writer.prepare(STREAM)
        for batch in pieces(events, [choice.randrange(len(events)) for _ in range(25)]):
            await writer.apply(batch)
        assert writer.position == len(events)

    async with AsyncExitStack() as stack:
        pools = [await stack.enter_async_context(open_pool(postgres_dsn)) for _ in range(3)]
        await asyncio.gather(
            *(race(own, projection, seed) for seed, own in enumerate(pools) for projection in ALL)
        )
    assert await dump(pool) == expected


async def test_many_may_make_the_tables_at_once(postgres_dsn: str) -> None:
    async with AsyncExitStack() as stack:
        pools = [await stack.enter_async_context(open_pool(postgres_dsn)) for _ in range(4)]
        await asyncio.gather(*(writers(own) for own in pools))
        assert set(await checkpoints(pools[0])) == {projection.name for projection in ALL}


async def test_a_session_lost_while_the_schemas_are_made_is_an_outage_and_no_end(
    pool: Pool, postgres_dsn: str
) -> None:
    waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with open_pool(postgres_dsn) as other:
        async with pool.acquire() as held, held.transaction():
            await lock_schemas(held)
            making = asyncio.create_task(ensure_schemas(other))
            lost = await eventually(partial(held.fetchval, waiting))
            await held.fetchval("SELECT pg_terminate_backend($1, 5000)", lost)
        await making
        assert await other.fetchval("SELECT count(*) FROM configtrail.checkpoints") == 0


async def test_the_checkpoint_of_another_stream_is_refused(pool: Pool) -> None:
    events = played(6, 40).events
    await apply_all(pool, events, [events])
    before = await dump(pool)
    for other in (
        replace(STREAM, created=STREAM.created + timedelta(microseconds=1)),
        replace(STREAM, name="OTHER"),
    ):
        for projection in ALL:
            with pytest.raises(StreamMismatch, match="its checkpoint belongs to the stream"):
                await writer_of(pool, projection, events, head=10_000).prepare(other)
    assert await dump(pool) == before


async def test_a_checkpoint_ahead_of_the_stream_is_refused(pool: Pool) -> None:
    events = played(6, 40).events
    await apply_all(pool, events, [events])
    for projection in ALL:
        with pytest.raises(StreamMismatch, match="ahead of the stream"):
            await writer_of(pool, projection, events, head=len(events) - 1).prepare(STREAM)
        await writer_of(pool, projection, events, head=len(events)).prepare(STREAM)


@pytest.mark.parametrize(
    "lacking", [("last_stored", "timed"), ("last_stored", "timed", "last_event")]
)
async def test_ledgers_of_an_older_program_are_used_and_brought_up_to_date(
    pool: Pool, lacking: tuple[str, ...]
) -> None:
    events = played(6, 40).events
    await apply_all(pool, events, [events])
    drops = ", ".join(f"DROP COLUMN {column}" for column in lacking)
    for ledger in ("checkpoints", "rebuilds"):
        await pool.execute(f"ALTER TABLE configtrail.{ledger} {drops}")
    last = replace(events[-1], event_id="another one")
    other = Listed([*events[:-1], last])
    known = "last_event" not in lacking
    assert set(await strays(pool, other)) == ({one.name for one in ALL} if known else set())
    assert await strays(pool, Listed(events)) == {}
    for projection in ALL:
        found = await writer_of(pool, projection, events).prepare(STREAM)
        assert found.position == len(events)
    again = Listed([*events[:-1], replace(events[-1], stored_at=STREAM.created)])
    assert await strays(pool, again) == {}  # the older program told of no time


async def test_tables_of_an_older_version_are_left_alone(pool: Pool) -> None:
    events = played(7, 60).events
    old = writer_of(pool, AUDIT, events)
    await old.prepare(STREAM)
    await old.apply(events[:30])
    newer = Wrapped(AUDIT)
    newer.version = AUDIT.version + 1
    found = await writer_of(pool, newer, events).prepare(STREAM)
    assert (found.version, found.position) == (AUDIT.version, 30)
    await old.apply(events[30:])
    assert await pool.fetchval("SELECT count(*) FROM configtrail.audit") == len(events)


async def test_a_newer_version_shuts_the_older_out(pool: Pool) -> None:
    events = played(7, 60).events
    newer = Wrapped(AUDIT)
    newer.version = AUDIT.version + 1
    writer = writer_of(pool, newer, events)
    await writer.prepare(STREAM)
    await writer.apply(events)
    with pytest.raises(NewerProjection):
        await writer_of(pool, AUDIT, events).prepare(STREAM)
    assert await pool.fetchval("SELECT count(*) FROM configtrail.audit") == len(events)


@pytest.mark.parametrize(
    "loss",
    [
        "DROP SCHEMA configtrail CASCADE",
        "DROP TABLE configtrail.snapshots, configtrail.diffs, configtrail.audit,"
        " configtrail.fleet, configtrail.access_keys",
        "DELETE FROM configtrail.checkpoints",
    ],
)
async def test_what_is_dropped_is_built_again_to_the_same_rows(pool: Pool, loss: str) -> None:
    events = played(8, 120).events
    expected = await reference(pool, events)
    running = await writers(pool, events)
    for writer in running:
        await writer.apply(events)
    assert await dump(pool) == expected
    await pool.execute(loss)
    for writer in running:
        with pytest.raises((Rewound, asyncpg.UndefinedTableError)):
            await writer.refresh()
        assert (await writer.prepare(STREAM)).position == 0
        await writer.apply(events)
    assert await dump(pool) == expected


async def test_a_checkpoint_that_went_back_is_noticed(pool: Pool) -> None:
    # As after a crash of the server that lost the last transactions, rows and checkpoint alike.
    events = played(9, 120).events
    expected = await reference(pool, events)
    ahead = writer_of(pool, BACKUPS, events)
    await ahead.prepare(STREAM)
    await ahead.apply(events[:50])
    await pool.execute("DROP SCHEMA configtrail CASCADE")
    await apply_all(pool, events, [events[:20]])
    with pytest.raises(Rewound):
        await ahead.apply(events[50:])
    assert (await ahead.prepare(STREAM)).position == 20
    await ahead.apply(events[20:])
    await apply_all(pool, events, [events[20:]])
    assert await dump(pool) == expected


async def test_a_confirmation_of_an_unknown_snapshot_is_parked(pool: Pool) -> None:
    events = played(10, 60).events
    orphan = next(stored for stored in events if isinstance(stored.event, DuplicateSkipped))
    writer = writer_of(pool, BACKUPS, events)
    await writer.prepare(STREAM)
    await writer.apply([replace(orphan, position=1)])
    assert await pool.fetchval("SELECT count(*) FROM configtrail.observations") == 0
    (parked,) = await listed(pool)
    assert parked.error is not None
    assert "event 1 can't be decoded" in parked.error


async def test_waiting_for_a_position(pool: Pool) -> None:
    events = played(12, 40).events
    writer = writer_of(pool, AUDIT, events)
    await writer.prepare(STREAM)
    waiting = asyncio.create_task(writer.wait(len(events)))
    elsewhere = asyncio.create_task(wait_projected(pool, [AUDIT], len(events), 20))
    await writer.apply(events[:10])
    assert not waiting.done()
    assert not elsewhere.done()
    assert await lag(pool, len(events)) == {"audit": len(events) - 10}
    await writer.apply(events[10:])
    await waiting
    await elsewhere
    assert await lag(pool, len(events)) == {"audit": 0}
    with pytest.raises(Unavailable, match="projection audit"):
        await wait_projected(pool, [AUDIT], len(events) + 1, 0)
    with pytest.raises(Unavailable, match="projection diffs"):
        await wait_projected(pool, [DIFFS], 1, 0)
