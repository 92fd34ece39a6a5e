"""Events that a read model can't take in: parked with those of their device, retried, skipped."""

from __future__ import annotations

import asyncio
import random
import string
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from domain import decisions
from domain.envelope import StoredEvent, StreamIdentity
from domain.errors import PoisonEvent, ProjectionStopped, Unavailable
from domain.events import DuplicateSkipped
from projections import ALL, AUDIT, BACKUPS, engine, parking, poison, rebuilds, retrying, stops
from projections.builder import ProjectionBuilder
from projections.engine import ProjectionWorker
from projections.outages import is_outage
from projections.patience import Patience
from projections.poison import MOST_IN_A_ROW, is_poison, told
from projections.projection import Projection
from projections.retrying import Retried, retry, retry_all
from projections.rows import Pool
from projections.source import Delivered, Unreadable
from projections.writer import ProjectionWriter
from tests.generators import STREAM, played
from tests.listed import Listed
from tests.rebuilding import Allergic, caught_up, running
from tests.support import eventually

Key = tuple[str, str]


async def rows(pool: Pool, projection: Projection[Any]) -> dict[str, list[str]]:
    return {
        table: sorted(map(repr, await pool.fetch(f'SELECT * FROM configtrail."{table}"')))
        for table in projection.tables
    }


async def fold_of(pool: Pool, projection: Projection[Any], events: Sequence[StoredEvent]) -> Any:
    """The rows when exactly these events are taken in, one by one."""
    writer = ProjectionWriter(pool, projection, Listed(events))
    await writer.prepare(STREAM)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL search_path = configtrail")
        for event in events:
            await projection.write(connection, projection.fold([event]))
    found = await rows(pool, projection)
    await pool.execute("DROP SCHEMA configtrail CASCADE")
    return found


def key(event: Delivered) -> Key:
    return event.tenant_id, event.device_id


def before_poison(events: Sequence[StoredEvent], poison: StoredEvent) -> list[StoredEvent]:
    """The events without those of the poison's device from it on."""
    return [one for one in events if key(one) != key(poison) or one.position < poison.position]


@pytest.mark.parametrize("projection", ALL, ids=lambda one: one.name)
@pytest.mark.parametrize("in_sql", [False, True], ids=["in its fold", "in its statements"])
async def test_other_devices_go_on_and_the_same_device_waits(
    pool: Pool, projection: Projection[Any], in_sql: bool
) -> None:
    events = played(1, 300).events
    poison = events[80]
    expected = await fold_of(pool, projection, before_poison(events, poison))
    allergic = Allergic(projection, poison.position, in_sql=in_sql)
    writer = ProjectionWriter(pool, allergic, Listed(events))
    await writer.prepare(STREAM)
    for start in range(0, len(events), 37):
        await writer.apply(events[start : start + 37])
    assert writer.position == len(events)
    assert await rows(pool, projection) == expected
    everything = await parking.listed(pool, projection.name, waiting=True, limit=1000)
    assert [one.position for one in everything] == [
        one.position
        for one in events
        if key(one) == key(poison) and one.position >= poison.position
    ]
    (parked,) = await parking.listed(pool, projection.name)
    assert (parked.position, parked.event_id) == (poison.position, poison.event_id)
    assert parked.error == ("DivisionByZeroError" if in_sql else "ValueError")
    counts = (await parking.counts(pool))[projection.name]
    assert (counts.parked, counts.held) == (1, len(everything) - 1)


async def test_what_is_too_large_for_an_index_is_its_events_own_fault(pool: Pool) -> None:
    events = played(1, 20).events
    noise = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=8_000))
    events[9] = replace(events[9], correlation_id=noise)
    writer = ProjectionWriter(pool, AUDIT, Listed(events))
    await writer.prepare(STREAM)
    await writer.apply(events)
    assert writer.position == len(events)
    (parked,) = await parking.listed(pool)
    assert parked.position == 10
    assert (parked.error or "").startswith("ProgramLimitExceededError")


@pytest.mark.parametrize("projection", ALL, ids=lambda one: one.name)
async def test_a_retry_after_a_fix_brings_the_whole_device_in(
    pool: Pool, projection: Projection[Any]
) -> None:
    events = played(2, 300).events
    poison = events[50]
    expected = await fold_of(pool, projection, events)
    source = Listed(events)
    allergic = Allergic(projection, poison.position)
    writer = ProjectionWriter(pool, allergic, source)
    await writer.prepare(STREAM)
    await writer.apply(events)
    waiting = len(await parking.listed(pool, waiting=True, limit=1000))
    assert await retry(pool, source, allergic, key(poison)) == Retried(0, waiting)
    (parked,) = await parking.listed(pool)
    assert parked.attempts == 2
    allergic.positions.clear()
    assert await retry(pool, source, allergic, key(poison)) == Retried(waiting, 0)
    assert await parking.listed(pool, waiting=True) == []
    assert await rows(pool, projection) == expected


async def test_a_second_poison_of_the_device_stops_the_retry_there(pool: Pool) -> None:
    events = played(3, 300).events
    poison = events[40]
    branch = [one for one in events if key(one) == key(poison) and one.position > poison.position]
    second = branch[5]
    source = Listed(events)
    allergic = Allergic(AUDIT, poison.position, second.position)
    writer = ProjectionWriter(pool, allergic, source)
    await writer.prepare(STREAM)
    await writer.apply(events)
    allergic.positions.remove(poison.position)
    await retry_all(pool, source, allergic)
    (parked,) = await parking.listed(pool)
    assert parked.position == second.position
    found = await pool.fetchval("SELECT count(*) FROM configtrail.audit")
    assert found == len(before_poison(events, second))


@pytest.mark.parametrize("projection", ALL, ids=lambda one: one.name)
async def test_a_recorded_skip_lets_the_device_go_on_here_and_in_every_rebuild(
    pool: Pool, projection: Projection[Any]
) -> None:
    events = played(4, 200).events
    # One that nothing later of its device needs.
    poison = next(one for one in events[30:] if type(one.event).__name__ == "CollectionFailed")
    source = Listed(events)
    allergic = Allergic(projection, poison.position)
    writer = ProjectionWriter(pool, allergic, source)
    await writer.prepare(STREAM)
    await writer.apply(events)
    skip = skipped(projection.name, poison, len(events) + 1)
    await source.more([skip])
    await writer.apply([skip])
    await retry(pool, source, allergic, key(poison))
    assert await parking.listed(pool, waiting=True) == []
    live = await rows(pool, projection)
    await rebuilds.begin(pool, projection, STREAM)
    await ProjectionBuilder(pool, source, allergic).build()
    assert await rebuilds.under_way(pool) == []
    assert await rows(pool, projection) == live
    await pool.execute("DROP SCHEMA configtrail CASCADE")
    again = ProjectionWriter(pool, allergic, source)
    await again.prepare(STREAM)
    for one in source.events:
        await again.apply([one])
    assert await rows(pool, projection) == live


def skipped(projection: str, event: StoredEvent, position: int) -> StoredEvent:
    """The fact that a projection goes on without an event."""
    new = decisions.event_skipped(
        *key(event),
        projection=projection,
        position=event.position,
        skipped_event_id=event.event_id,
        actor="user:ann",
        occurred_at=event.occurred_at,
    )
    return StoredEvent(
        position=position,
        version=999,
        stored_at=event.stored_at,
        event_id=new.event_id,
        tenant_id=new.tenant_id,
        device_id=new.device_id,
        occurred_at=new.occurred_at,
        event=new.event,
    )


async def test_an_event_that_cannot_be_decoded_is_parked(pool: Pool) -> None:
    events: list[Delivered] = list(played(5, 60).events)
    lost = events[20]
    events[20] = Unreadable(
        position=lost.position,
        stored_at=lost.stored_at,
        tenant_id=lost.tenant_id,
        device_id=lost.device_id,
        event_id="from the future",
        type_name="configtrail.FromTheFuture.v1",
        reason="which this version does not know",
    )
    source = Listed(events)
    writer = ProjectionWriter(pool, AUDIT, source)
    await writer.prepare(STREAM)
    await writer.apply(events)
    (parked,) = await parking.listed(pool)
    assert (parked.type_name, parked.error) == (
        "configtrail.FromTheFuture.v1",
        "which this version does not know",
    )
    await rebuilds.begin(pool, AUDIT, STREAM)
    with pytest.raises(PoisonEvent):
        await ProjectionBuilder(pool, source, AUDIT).build()
    source.events[20] = lost  # as a program reads it that knows the type
    await retry_all(pool, source, AUDIT)
    assert await pool.fetchval("SELECT count(*) FROM configtrail.audit") == len(events)


async def test_whoever_begins_to_follow_tries_parked_events_again(pool: Pool) -> None:
    source = Listed(played(6, 120).events)
    allergic = Allergic(BACKUPS, 20)
    async with running(ProjectionWorker(pool, source, allergic)):
        await caught_up(pool, BACKUPS, source)
    assert len(await parking.listed(pool)) == 1
    async with running(ProjectionWorker(pool, source, BACKUPS)):

        async def free() -> bool:
            return await parking.listed(pool, waiting=True) == []

        await eventually(free)


def test_faults_of_the_tables_are_not_the_event_s() -> None:
    faults: tuple[Exception, ...] = (
        asyncpg.UndefinedColumnError("gone"),
        asyncpg.UndefinedTableError("gone"),
        asyncpg.InsufficientPrivilegeError("no"),
        asyncpg.DiskFullError("full"),
        asyncpg.AdminShutdownError("bye"),
        asyncpg.InterfaceError("closed"),
        ConnectionResetError(),
        MemoryError(),
    )
    assert not [one for one in faults if is_poison(one)]
    poisons = (asyncpg.UniqueViolationError("twice"), asyncpg.DataError("?"), KeyError("x"))
    assert all(is_poison(one) and not is_outage(one) for one in poisons)


def test_what_is_told_of_an_error_quotes_nothing() -> None:
    assert told(ValueError("/user add password=secret")) == "ValueError"
    twice = asyncpg.UniqueViolationError("duplicate key (secret)")
    twice.constraint_name = "audit_pkey"
    assert told(twice) == "UniqueViolationError: audit_pkey"


def sixty_devices(seed: int) -> list[StoredEvent]:
    return played(seed, 400, [("acme", f"r{number}") for number in range(60)]).events


def first_of_devices(events: Sequence[StoredEvent], behind: int) -> list[int]:
    """The positions of each device's first event behind a position."""
    found: dict[Key, int] = {}
    for one in events[behind:]:
        found.setdefault(key(one), one.position)
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


async def test_a_retry_gives_up_where_others_hold_the_rows_or_always_come_first(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "HELD_SECONDS", 0.05)
    events = played(16, 100).events
    bad = events[20]

    class Overtaken(Listed):
        async def at(self, position: int) -> Delivered:
            await pool.execute("UPDATE configtrail.parked SET position = position + 1000")
            return self.events[(position - 1) % 1000]

    writer = ProjectionWriter(pool, Allergic(AUDIT, bad.position), Listed(events))
    await writer.prepare(STREAM)
    await writer.apply(events)
    async with pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM configtrail.checkpoints FOR UPDATE")
        with pytest.raises(Unavailable, match="held by others"):
            await retry(pool, Listed(events), AUDIT, key(bad))
    with pytest.raises(Unavailable, match="others were at these"):
        await retry(pool, Overtaken(events), AUDIT, key(bad))


def nothing_told(pool: Pool) -> Callable[[], Awaitable[bool]]:
    async def nothing() -> bool:
        return await stops.reasons(pool) == {}

    return nothing
