"""Verify: the live rows against a fold from the first event on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from domain.errors import NotFound
from projections import ALL, AUDIT, BACKUPS
from projections.engine import ProjectionWorker
from projections.projection import Projection
from projections.rows import Pool
from projections.verify import Difference, verify
from projections.writer import ProjectionWriter
from tests.generators import STREAM, played
from tests.listed import Listed
from tests.rebuilding import Allergic, caught_up, running


async def fill(pool: Pool, projection: Projection[Any], source: Listed) -> None:
    writer = ProjectionWriter(pool, projection, source)
    await writer.prepare(STREAM)
    await writer.apply(source.events)


@pytest.mark.parametrize("projection", ALL, ids=lambda one: one.name)
async def test_rows_that_are_what_the_events_say_are_found_right(
    pool: Pool, projection: Projection[Any]
) -> None:
    source = Listed(played(1, 300).events)
    await fill(pool, projection, source)
    seen: list[int] = []
    found = await verify(pool, source, projection, progress=seen.append)
    assert found.differences == ()
    assert found.position == len(source.events) == seen[-1]
    assert found.rows == sum(
        [
            await pool.fetchval(f"SELECT count(*) FROM configtrail.{one}")
            for one in projection.tables
        ]
    )
    assert await pool.fetch("SELECT FROM pg_class WHERE relnamespace = pg_my_temp_schema()") == []


async def test_edits_by_hand_are_named_by_their_keys(pool: Pool) -> None:
    source = Listed(played(2, 300).events)
    await fill(pool, AUDIT, source)
    await pool.execute("UPDATE configtrail.audit SET actor = 'user:nobody' WHERE position = 7")
    await pool.execute("UPDATE configtrail.audit SET details = '{}' WHERE position = 8")
    await pool.execute("DELETE FROM configtrail.audit WHERE position = 9")
    await pool.execute("UPDATE configtrail.audit SET position = 999999 WHERE position = 10")
    found = await verify(pool, source, AUDIT)
    assert found.total == 5
    assert found.differences == tuple(
        Difference("audit", kind, {"position": key})
        for key, kind in (
            ("7", "differs"),
            ("8", "differs"),
            ("9", "missing"),
            ("10", "missing"),
            ("999999", "extra"),
        )
    )
    assert len((await verify(pool, source, AUDIT, limit=2)).differences) == 2
    await pool.execute("ALTER TABLE configtrail.audit ADD COLUMN note text")
    assert (await verify(pool, source, AUDIT)).differences == (
        Difference("audit", "other columns", {}),
    )


async def test_it_compares_at_one_position_while_events_come(pool: Pool) -> None:
    events = played(3, 500).events
    source = Listed(events[:200])
    async with running(ProjectionWorker(pool, source, BACKUPS)):
        await caught_up(pool, BACKUPS, source)
        coming = asyncio.create_task(trickle(source, events[200:]))
        for _ in range(5):
            assert (await verify(pool, source, BACKUPS)).differences == ()
        await coming


async def trickle(source: Listed, events: list[Any]) -> None:
    for event in events:
        await source.more([event])
        await asyncio.sleep(0)


async def test_parked_events_are_no_differences(pool: Pool) -> None:
    source = Listed(played(4, 200).events)
    allergic = Allergic(BACKUPS, 50)
    await fill(pool, allergic, source)
    assert (await verify(pool, source, allergic)).differences == ()


async def test_nothing_to_compare_with_is_said(pool: Pool) -> None:
    source = Listed(played(5, 20).events)
    await fill(pool, BACKUPS, source)
    with pytest.raises(NotFound):
        await verify(pool, source, AUDIT)
