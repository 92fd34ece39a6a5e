"""Rebuilds on a real Postgres: beside the live tables, in one step, resumed, cancelled, refused."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from domain.envelope import StreamIdentity
from domain.errors import NewerProjection, PoisonEvent, StreamMismatch
from domain.events import DiffGenerated
from projections import AUDIT, BACKUPS, DIFFS, FLEET, rebuilds
from projections.audit import audit_page
from projections.builder import ProjectionBuilder
from projections.checkpoints import checkpoints
from projections.engine import ProjectionWorker
from projections.projection import Projection
from projections.rows import Pool
from projections.schema import BUILD
from projections.writer import ProjectionWriter, Rewound
from tests.generators import START, STREAM, played
from tests.listed import Listed
from tests.rebuilding import Allergic, Gated, Second, caught_up, filled, running
from tests.support import eventually


async def rows(pool: Pool, projection: Projection[Any]) -> dict[str, list[str]]:
    return {
        table: sorted(map(repr, await pool.fetch(f'SELECT * FROM configtrail."{table}"')))
        for table in projection.tables
    }


async def left_over(pool: Pool) -> list[str]:
    """Tables of rebuilds that are still there."""
    found = await pool.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'configtrail_build'"
    )
    return [name for (name,) in found]


@pytest.mark.parametrize("projection", [AUDIT, BACKUPS, DIFFS, FLEET], ids=lambda one: one.name)
async def test_a_rebuild_makes_the_same_rows_and_mends_what_was_edited(
    pool: Pool, projection: Projection[Any]
) -> None:
    source = Listed(played(1, 300).events)
    await filled(pool, projection, source)
    before = await rows(pool, projection)
    for table in projection.tables:
        await pool.execute(f"DELETE FROM configtrail.{table}")
    begun = await rebuilds.begin(pool, projection, STREAM)
    await ProjectionBuilder(pool, source, projection).build()
    assert await rows(pool, projection) == before
    assert (await checkpoints(pool))[projection.name].build == begun.build
    assert await rebuilds.under_way(pool) == []
    assert await left_over(pool) == []


async def test_live_rows_are_served_and_go_on_while_it_builds(pool: Pool) -> None:
    events = played(2, 400).events
    source = Listed(events[:200])
    gated = Gated(AUDIT)
    async with running(ProjectionWorker(pool, source, gated)):
        await caught_up(pool, AUDIT, source)
        await rebuilds.begin(pool, AUDIT, STREAM)
        building = asyncio.create_task(ProjectionBuilder(pool, source, gated).build())
        await asyncio.wait_for(gated.waiting.wait(), 20)
        await source.more(events[200:])
        await caught_up(pool, AUDIT, source)
        assert await pool.fetchval("SELECT count(*) FROM configtrail.audit") == len(events)
        assert not building.done()
        gated.open.set()
        await asyncio.wait_for(building, 20)
    assert await pool.fetchval("SELECT count(*) FROM configtrail.audit") == len(events)


async def test_no_query_fails_or_goes_back_in_time_while_readers_are_switched(pool: Pool) -> None:
    source = Listed(played(3, 300).events)
    await filled(pool, AUDIT, source)
    full = (await audit_page(pool, "acme")).total
    done = asyncio.Event()
    asked = 0

    async def ask() -> None:
        nonlocal asked
        while not done.is_set():
            assert (await audit_page(pool, "acme")).total == full
            asked += 1

    readers = [asyncio.create_task(ask()) for _ in range(4)]
    async with running(ProjectionWorker(pool, source, AUDIT)):
        for _ in range(3):
            before = asked
            await rebuilds.begin(pool, AUDIT, STREAM)
            await ProjectionBuilder(pool, source, AUDIT).build()
            await eventually(lambda before=before: asked > before + 20)  # type: ignore[misc]
    done.set()
    await asyncio.gather(*readers)
    assert await rebuilds.under_way(pool) == []


async def test_a_reader_that_holds_the_table_is_waited_for(pool: Pool) -> None:
    source = Listed(played(4, 100).events)
    await filled(pool, AUDIT, source)
    begun = await rebuilds.begin(pool, AUDIT, STREAM)
    async with pool.acquire() as connection:
        reading = connection.transaction()
        await reading.start()
        await connection.fetch("SELECT FROM configtrail.audit")
        building = asyncio.create_task(ProjectionBuilder(pool, source, AUDIT).build())

        async def built() -> bool:
            found = await rebuilds.find(pool, AUDIT)
            return found is not None and found.position == len(source.events)

        await eventually(built)
        assert await connection.fetchval("SELECT count(*) FROM configtrail.audit") == len(
            source.events
        )
        await reading.rollback()
    await asyncio.wait_for(building, 20)
    assert (await checkpoints(pool))["audit"].build == begun.build


async def test_a_new_version_is_built_at_deployment_beside_the_old_one(pool: Pool) -> None:
    events = played(5, 300).events
    source = Listed(events[:100])
    gate = Gated(Second())
    old = ProjectionWorker(pool, source, AUDIT)
    new = ProjectionWorker(pool, source, gate)
    async with running(old):
        await caught_up(pool, AUDIT, source)
        async with running(new, ProjectionBuilder(pool, source, gate)):
            await asyncio.wait_for(gate.waiting.wait(), 20)
            await source.more(events[100:200])
            await caught_up(pool, AUDIT, source)  # the old one goes on
            assert await pool.fetchval("SELECT count(*) FROM configtrail.audit") == 200
            gate.open.set()
            await caught_up(pool, gate, source)
            await source.more(events[200:])
            await caught_up(pool, gate, source)  # the new one goes on, the old one stands by
    assert await pool.fetchval("SELECT count(*) FROM configtrail.audit") == len(events)
    assert await pool.fetchval("SELECT count(*) FROM configtrail.audit_actors") > 1
    assert await pool.fetchval("SELECT DISTINCT loud FROM configtrail.audit") == "yes"
    assert await left_over(pool) == []


async def test_an_older_program_never_takes_a_newer_one_back(pool: Pool) -> None:
    source = Listed(played(6, 60).events)
    await filled(pool, AUDIT, source)
    await rebuilds.begin(pool, AUDIT, STREAM)  # by the old program, which then dies
    gate = Second()
    await rebuilds.begin(pool, gate, STREAM)
    await ProjectionBuilder(pool, source, AUDIT).build()  # not its version: left alone
    found = await rebuilds.find(pool, gate)
    assert found is not None
    assert found.version == gate.version
    await ProjectionBuilder(pool, source, gate).build()
    assert (await checkpoints(pool))["audit"].version == gate.version


async def test_an_interrupted_rebuild_goes_on_where_it_was(pool: Pool) -> None:
    source = Listed(played(7, 300).events)
    await filled(pool, BACKUPS, source)
    before = await rows(pool, BACKUPS)
    begun = await rebuilds.begin(pool, BACKUPS, STREAM)
    half = Listed(source.events[:150], head=10**6)  # never near its head
    building = asyncio.create_task(ProjectionBuilder(pool, half, BACKUPS).build())

    async def is_half() -> bool:
        found = await rebuilds.find(pool, BACKUPS)
        return found is not None and found.position == 150

    await eventually(is_half)
    building.cancel()
    await asyncio.gather(building, return_exceptions=True)
    assert await rows(pool, BACKUPS) == before
    # A program that serves takes it up without being asked.
    async with running(ProjectionBuilder(pool, source, BACKUPS)):

        async def switched() -> bool:
            return (await checkpoints(pool))["backups"].build == begun.build

        await eventually(switched)
    assert await rows(pool, BACKUPS) == before


async def test_a_cancelled_rebuild_leaves_nothing_and_stops_whoever_builds(pool: Pool) -> None:
    source = Listed(played(8, 200).events)
    gated = Gated(AUDIT)
    await filled(pool, AUDIT, source)
    before = await rows(pool, AUDIT)
    begun = await rebuilds.begin(pool, AUDIT, STREAM)
    building = asyncio.create_task(ProjectionBuilder(pool, source, gated).build())
    await asyncio.wait_for(gated.waiting.wait(), 20)
    cancelling = asyncio.create_task(rebuilds.cancel(pool, AUDIT, begun.build))
    gated.open.set()
    assert await asyncio.wait_for(cancelling, 20) in (True, False)
    await asyncio.wait_for(building, 20)
    assert await rows(pool, AUDIT) == before
    assert await left_over(pool) == []
    assert not await rebuilds.cancel(pool, AUDIT)


async def test_a_dropped_schema_ends_a_rebuild_and_everything_comes_back(pool: Pool) -> None:
    source = Listed(played(9, 200).events)
    await filled(pool, AUDIT, source)
    before = await rows(pool, AUDIT)
    await rebuilds.begin(pool, AUDIT, STREAM)
    await pool.execute("DROP SCHEMA configtrail CASCADE")
    await filled(pool, AUDIT, source)
    assert await rows(pool, AUDIT) == before
    await rebuilds.begin(pool, AUDIT, STREAM)  # over the tables that were left behind
    await ProjectionBuilder(pool, source, AUDIT).build()
    assert await rows(pool, AUDIT) == before


async def test_a_rebuild_stops_at_an_event_that_it_cannot_take_in(pool: Pool) -> None:
    source = Listed(played(10, 200).events)
    await filled(pool, DIFFS, source)
    before = await rows(pool, DIFFS)
    poison = next(one for one in source.events if isinstance(one.event, DiffGenerated))  # type: ignore[union-attr]
    allergic = Allergic(DIFFS, poison.position)
    await rebuilds.begin(pool, DIFFS, STREAM)
    with pytest.raises(PoisonEvent, match=f"event {poison.position} "):
        await ProjectionBuilder(pool, source, allergic).build()
    stopped = await rebuilds.find(pool, DIFFS)
    assert stopped is not None
    assert f"event {poison.position} can't be taken in: ValueError" in str(stopped.error)
    assert await rows(pool, DIFFS) == before
    await ProjectionBuilder(pool, source, DIFFS).build()  # it stays as it is until begun again
    assert await rebuilds.find(pool, DIFFS) == stopped
    again = await rebuilds.begin(pool, DIFFS, STREAM)
    assert (again.build, again.position, again.error) == (stopped.build, stopped.position, None)
    await ProjectionBuilder(pool, source, DIFFS).build()
    assert await rows(pool, DIFFS) == before


async def test_a_stale_writer_of_a_rebuild_is_shut_out(pool: Pool) -> None:
    source = Listed(played(11, 100).events)
    await filled(pool, AUDIT, source)
    await rebuilds.begin(pool, AUDIT, STREAM)
    stale = ProjectionWriter(pool, AUDIT, source, BUILD)
    await stale.prepare(STREAM)
    await stale.apply(source.events[:50])
    await ProjectionBuilder(pool, source, AUDIT).build()
    with pytest.raises((Rewound, asyncpg.UndefinedTableError)):
        await stale.apply(source.events[50:])
    assert await pool.fetchval("SELECT count(*) FROM configtrail.audit") == len(source.events)


async def test_a_rebuild_of_a_stream_that_is_gone_is_given_up(pool: Pool) -> None:
    source = Listed(played(12, 60).events)
    await rebuilds.begin(pool, AUDIT, STREAM)
    recreated = Listed(source.events, identity=StreamIdentity(STREAM.name, START))
    with pytest.raises(StreamMismatch):
        await ProjectionBuilder(pool, recreated, AUDIT).build()
    assert await rebuilds.under_way(pool) == []
    assert await left_over(pool) == []
    await rebuilds.begin(pool, AUDIT, STREAM)
    begun = await rebuilds.begin(pool, AUDIT, StreamIdentity(STREAM.name, START))
    assert (begun.stream_created, begun.position) == (START, 0)


async def test_what_a_newer_program_began_that_was_rolled_back_can_be_cancelled(
    pool: Pool,
) -> None:
    source = Listed(played(1, 60).events)
    await filled(pool, AUDIT, source)
    await rebuilds.begin(pool, Second(), STREAM)
    with pytest.raises(NewerProjection, match=r"if it was rolled back, .* rebuild audit --cancel"):
        await rebuilds.begin(pool, AUDIT, STREAM)
    assert await rebuilds.cancel(pool, AUDIT)
    assert await left_over(pool) == []
    await rebuilds.begin(pool, AUDIT, STREAM)
    await ProjectionBuilder(pool, source, AUDIT).build()
    assert await rebuilds.find(pool, AUDIT) is None
