"""Faults of no single event: they stop a read model, say why, and park no fleet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from domain.envelope import StoredEvent, StreamIdentity
from domain.errors import ProjectionStopped
from domain.events import DuplicateSkipped
from projections import AUDIT, engine, parking, poison, retrying, stops
from projections.engine import ProjectionWorker
from projections.outages import is_outage
from projections.patience import Patience
from projections.poison import MOST_IN_A_ROW
from projections.retrying import retry, retry_all
from projections.rows import Pool
from projections.writer import ProjectionWriter
from tests.generators import STREAM, played
from tests.listed import Listed
from tests.rebuilding import Allergic, running
from tests.support import eventually


def sixty_devices(seed: int) -> list[StoredEvent]:
    return played(seed, 400, [("acme", f"r{number}") for number in range(60)]).events


def first_of_devices(events: Sequence[StoredEvent], behind: int) -> list[int]:
    """The positions of each device's first event behind a position."""
    found: dict[tuple[str, str], int] = {}
    for one in events[behind:]:
        found.setdefault((one.tenant_id, one.device_id), one.position)
    return list(found.values())


async def test_a_fault_of_no_single_event_stops_the_projection_and_parks_no_fleet(
    pool: Pool,
) -> None:
    events = sixty_devices(7)
    bad = first_of_devices(events, 100)
    limit = bad[MOST_IN_A_ROW - 1]
    source = Listed(events)
    broken = Allergic(AUDIT, *range(101, len(events) + 1))
    writer = ProjectionWriter(pool, broken, source)
    await writer.prepare(STREAM)
    await writer.apply(events[:100])
    for _ in range(2):  # what is there already does not grow by trying again
        with pytest.raises(ProjectionStopped) as stopped:
            await writer.apply(events[writer.position :])
        assert (stopped.value.position, stopped.value.devices) == (limit, MOST_IN_A_ROW)
        # It stands just before that event, and the operator sees what is before it.
        assert writer.position == limit - 1
        everything = await parking.listed(pool, waiting=True, limit=1000)
        assert [one.position for one in everything] == list(range(101, limit))
        parked = await parking.listed(pool)
        assert [one.position for one in parked] == bad[: MOST_IN_A_ROW - 1]
        assert {one.attempts for one in parked} == {1}
    healed = ProjectionWriter(pool, AUDIT, source)
    await healed.prepare(STREAM)
    await healed.apply(events[healed.position :])
    await retry_all(pool, source, AUDIT)
    assert await parking.listed(pool, waiting=True) == []
    assert len(await pool.fetch("SELECT FROM configtrail.audit")) == len(events)


async def test_each_parked_event_that_is_freed_makes_room_for_one_more(pool: Pool) -> None:
    events = sixty_devices(7)
    bad = first_of_devices(events, 100)
    source = Listed(events)
    broken = Allergic(AUDIT, *bad)
    writer = ProjectionWriter(pool, broken, source)
    await writer.prepare(STREAM)
    with pytest.raises(ProjectionStopped):
        await writer.apply(events)
    stood = writer.position
    first = await parking.find(pool, "audit", bad[0])
    assert first is not None
    broken.positions.remove(bad[0])
    found = await retry(pool, source, broken, (first.tenant_id, first.device_id))
    assert found.left == 0
    with pytest.raises(ProjectionStopped):
        await writer.apply(events[stood:])
    assert writer.position > stood
    parked = [one.position for one in await parking.listed(pool)]
    assert parked[: MOST_IN_A_ROW - 1] == bad[1:MOST_IN_A_ROW]


async def test_of_two_that_meet_the_limit_at_once_none_parks_beyond_it(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    events = sixty_devices(13)
    limit = first_of_devices(events, 50)[MOST_IN_A_ROW - 1]
    broken = Allergic(AUDIT, *range(51, len(events) + 1))
    writers = [ProjectionWriter(pool, broken, Listed(events)) for _ in range(2)]
    for writer in writers:
        await writer.prepare(STREAM)
    ended = await asyncio.gather(
        *(writer.apply(events) for writer in writers), return_exceptions=True
    )
    assert all(isinstance(one, ProjectionStopped) for one in ended), ended
    assert [writer.position for writer in writers] == [limit - 1] * 2
    assert len(await parking.listed(pool)) == MOST_IN_A_ROW - 1
    # Each is told once, by who parked it, and none that was rolled back.
    told = [one for one in caplog.messages if "is parked" in one]
    assert len(told) == MOST_IN_A_ROW - 1


async def test_a_fault_is_counted_over_batches_and_restarts(pool: Pool) -> None:
    events = sixty_devices(8)
    broken = Allergic(AUDIT, *range(101, len(events) + 1))

    async def live_on() -> None:
        for start in range(len(events)):
            writer = ProjectionWriter(pool, broken, Listed(events))
            await writer.prepare(STREAM)
            await writer.apply(events[start : start + 1])

    with pytest.raises(ProjectionStopped):
        await live_on()
    assert len(await parking.listed(pool)) == MOST_IN_A_ROW - 1


async def test_events_that_come_in_between_excuse_the_program_only_up_to_a_bound(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poison, "MOST_PARKED", 12)
    events = sixty_devices(9)
    skips = {one.position for one in events if isinstance(one.event, DuplicateSkipped)}
    writer = ProjectionWriter(pool, Allergic(AUDIT, *skips), Listed(events))
    await writer.prepare(STREAM)

    async def live_on() -> None:
        for event in events:
            await writer.apply([event])

    with pytest.raises(ProjectionStopped) as stopped:
        await live_on()
    assert stopped.value.devices == 12
    assert len(await parking.listed(pool)) == 11


async def test_a_stopped_worker_says_why_and_goes_on_when_the_cause_is_gone(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine, "STOPPED_SECONDS", 0.05)
    events = sixty_devices(10)
    limit = first_of_devices(events, 100)[MOST_IN_A_ROW - 1]
    broken = Allergic(AUDIT, *range(101, len(events) + 1))
    tried: list[int] = []
    fold = broken.fold

    def folding(batch: Sequence[StoredEvent]) -> Any:
        tried.append(batch[0].position)
        return fold(batch)

    monkeypatch.setattr(broken, "fold", folding)
    worker = ProjectionWorker(pool, Listed(events), broken)
    task = asyncio.create_task(worker.run())
    try:
        why = (await told_reasons(pool))["audit"]
        assert "no single event's fault" in why
        assert not any(one.device_id in why for one in events)
        tried.clear()
        await eventually(lambda: tried.count(limit) > 3)
        # Those that are parked already are not tried with it time and again.
        assert min(tried) == limit
        assert {one.attempts for one in await parking.listed(pool)} == {1}
        broken.positions.clear()
        await worker.wait(len(events))
        assert await stops.reasons(pool) == {}

        async def free() -> bool:
            return await parking.listed(pool, waiting=True) == []

        await eventually(free)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(await pool.fetch("SELECT FROM configtrail.audit")) == len(events)
    told = [one for one in caplog.messages if "is parked" in one or "is no single" in one]
    assert len(told) == MOST_IN_A_ROW  # each once, and once why it stopped


async def told_reasons(pool: Pool) -> dict[str, str]:
    """Why projections stand still, as soon as one does."""

    async def some() -> bool:
        # Whoever asks may be there before any program made the tables.
        there = await pool.fetchval("SELECT to_regclass('configtrail.stops') IS NOT NULL")
        return bool(there and await stops.reasons(pool))

    await eventually(some)
    return await stops.reasons(pool)


async def test_what_ends_a_worker_is_told_to_all_programs_without_what_it_quotes(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = played(11, 100).events
    source = Listed(events)

    async def fail(*_: object, **__: object) -> None:
        raise LookupError("password=hunter2")

    with monkeypatch.context() as patched:
        patched.setattr(retrying, "retry_all", fail)
        with pytest.raises(LookupError):
            await ProjectionWorker(pool, source, AUDIT).run()
    assert await stops.reasons(pool) == {"audit": "LookupError"}
    worker = ProjectionWorker(pool, source, AUDIT)
    async with running(worker):
        await worker.wait(len(events))
        assert await stops.reasons(pool) == {}


async def test_a_reason_is_taken_back_when_there_was_nothing_to_take_in(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "IDLE_SECONDS", 0.05)
    events = played(12, 50).events
    worker = ProjectionWorker(pool, Listed(events), AUDIT)
    async with running(worker):
        await worker.wait(len(events))
    await stops.tell(pool, AUDIT, len(events), "a gap, say")
    assert await stops.reasons(pool) == {"audit": "a gap, say"}
    await stops.tell(pool, AUDIT, 10, "of one that was overtaken")
    assert await stops.reasons(pool) == {"audit": "a gap, say"}
    async with running(ProjectionWorker(pool, Listed(events), AUDIT)):
        await eventually(nothing_told(pool))


async def test_a_stopped_worker_goes_on_when_somebody_else_took_over_and_all_is_there(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "STOPPED_SECONDS", 0.05)
    monkeypatch.setattr(engine, "IDLE_SECONDS", 0.05)
    events = sixty_devices(14)
    broken = Allergic(AUDIT, *range(101, len(events) + 1))
    worker = ProjectionWorker(pool, Listed(events), broken)
    async with running(worker):
        await told_reasons(pool)
        other = ProjectionWriter(pool, AUDIT, Listed(events))
        await other.prepare(STREAM)

        async def took_over() -> bool:
            try:
                await other.apply(events[other.position :])
            except Exception as error:
                # The worker takes what it finds begun, when it leads again, for left over.
                if not is_outage(error):
                    raise
                return False
            return True

        await eventually(took_over)
        assert await parking.listed(pool)
        broken.positions.clear()

        async def free() -> bool:
            return await parking.listed(pool, waiting=True) == []

        await eventually(free)
    assert await stops.reasons(pool) == {}


async def test_tables_that_stay_missing_are_no_reason_to_go_round_without_a_pause(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("projections.patience.RETRY_SECONDS", 0.01)
    monkeypatch.setattr("projections.patience.SAY_EVERY_SECONDS", 3600.0)
    monkeypatch.setattr(engine, "IDLE_SECONDS", 0.05)
    pauses = 0
    pause = Patience.pause

    async def counted(self: Patience, why: str) -> None:
        nonlocal pauses
        pauses += 1
        await pause(self, why)

    monkeypatch.setattr(Patience, "pause", counted)

    class Begun(Listed):
        rounds = 0

        async def identity(self) -> StreamIdentity:
            Begun.rounds += 1
            assert pauses >= Begun.rounds - 1
            return await super().identity()

    lacking = Allergic(AUDIT)
    lacking.tables = (*AUDIT.tables, "never_made")
    async with running(ProjectionWorker(pool, Begun(played(15, 50).events), lacking)):
        await eventually(lambda: Begun.rounds > 5)
    told = [one for one in caplog.messages if "checkpoint went back" in one or "are gone" in one]
    assert len(told) == 1


def nothing_told(pool: Pool) -> Callable[[], Awaitable[bool]]:
    async def nothing() -> bool:
        return await stops.reasons(pool) == {}

    return nothing
