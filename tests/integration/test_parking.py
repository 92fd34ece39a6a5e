"""Events that a read model can't take in: parked with those of their device, retried, skipped."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from domain import decisions
from domain.envelope import StoredEvent
from domain.errors import PoisonEvent, Unavailable
from projections import ALL, AUDIT, BACKUPS, parking, rebuilds, retrying
from projections.builder import ProjectionBuilder
from projections.engine import ProjectionWorker
from projections.outages import is_outage
from projections.poison import is_poison, told
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
