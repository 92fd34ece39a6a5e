"""A device's history is paged while readings still come, late ones among them: each page tells what
is true when it is asked for, and all pages together what was there."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.envelope import StoredEvent
from domain.events import DuplicateSkipped, SnapshotCreated
from projections import BACKUPS, DIFFS, backups, diffs
from projections.rows import Place, Pool
from projections.writer import ProjectionWriter
from tests.generators import START, STREAM, Fleet
from tests.listed import Listed

KEY = ("acme", "edge-1")
# Where a run's observations stand, in the order of time; the snapshot; when the next run begins.
Run = tuple[list[Place], str, datetime | None]
# What both listings tell of a run, with the place of its first observation.
Told = tuple[Place, str, datetime | None]
# A page, and until when each was confirmed where the listing tells that.
Page = tuple[list[Told], list[datetime]]
Listing = Callable[[Pool, int, Place | None], Awaitable[Page]]


async def timeline(pool: Pool, limit: int, before: Place | None) -> Page:
    entries = await diffs.config_history(pool, *KEY, limit=limit, before=before)
    told = [((e.collected_at, e.place), e.snapshot_id, e.valid_until) for e in entries]
    return told, []


async def validity(pool: Pool, limit: int, before: Place | None) -> Page:
    found = await backups.validity(pool, *KEY, limit=limit, before=before)
    told = [((v.valid_from, v.position), v.snapshot_id, v.valid_until) for v in found]
    return told, [v.confirmed_until for v in found]


def runs(events: Sequence[StoredEvent]) -> list[Run]:
    """The observations, parted where the snapshot changes, in the order of time."""
    seen = sorted(
        (stored.event.collected_at, stored.position, stored.event.snapshot_id)
        for stored in events
        if isinstance(stored.event, SnapshotCreated | DuplicateSkipped)
    )
    parted = [
        ([(moment, position) for moment, position, _ in run], snapshot_id)
        for snapshot_id, run in itertools.groupby(seen, key=lambda one: one[2])
    ]
    ends = [*(places[0][0] for places, _ in parted[1:]), None]
    return [(*run, end) for run, end in zip(parted, ends, strict=True)]


# At which minute the device is read, in whatever order that comes, and what it has then; between
# pages, how many minutes before the place where the next one begins: often right before it.
READING = st.tuples(st.integers(0, 20), st.integers(0, 2))
MEANWHILE = st.tuples(st.integers(-2, 4), st.integers(0, 2))


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    listing=st.sampled_from((timeline, validity)),
    first=st.lists(READING, min_size=4, max_size=16),
    limit=st.integers(1, 3),
    meanwhile=st.lists(st.lists(MEANWHILE, min_size=1, max_size=6), min_size=1, max_size=6),
)
async def test_pages_are_true_and_whole_whatever_comes_between_them(
    pool: Pool,
    listing: Listing,
    first: list[tuple[int, int]],
    limit: int,
    meanwhile: list[list[tuple[int, int]]],
) -> None:
    await pool.execute("DROP SCHEMA IF EXISTS configtrail CASCADE")
    fleet = Fleet(0, [KEY])
    writers = [ProjectionWriter(pool, one, Listed(())) for one in (BACKUPS, DIFFS)]
    for writer in writers:
        await writer.prepare(STREAM)

    async def read(readings: list[tuple[int, int]]) -> list[Run]:
        for minute, configuration in readings:
            fleet.read(KEY, minute, configuration)
        for writer in writers:
            await writer.apply(fleet.events[writer.position :])
        return runs(fleet.events)

    at_first = [places[0] for places, _, _ in await read(first)]
    shown: set[Place] = set()
    before: Place | None = None
    for readings in itertools.chain([[]], meanwhile, itertools.repeat([])):
        next_from = 20 if before is None else (before[0] - START) // timedelta(minutes=1)
        now = await read([(next_from - back, what) for back, what in readings])
        true = {places[0]: (places, snapshot, end) for places, snapshot, end in now}
        page, confirmed = await listing(pool, limit, before)
        assert page == [(place, *true[place][1:]) for place, _, _ in page]
        if confirmed:
            assert confirmed == [true[place][0][-1][0] for place, _, _ in page]
        for place, _, _ in page:
            assert shown.isdisjoint(true[place][0]), "a run comes twice"
            shown.update(true[place][0])
        if not page:
            break
        before = page[-1][0]
    assert shown.issuperset(at_first)
