"""What every event store does: one suite, in which each implementation enrols.

A test class that inherits `EventStoreBehaviour` has a fixture `stores` that yields `Stores`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from domain.decisions import collection_failed, triggered
from domain.envelope import Head, Mark, NewEvent, Selection, StoredEvent
from domain.errors import AppendConflict, BatchTooLarge, StreamMismatch
from domain.ports import EventStore

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def failure(number: int, device: str = "r1", tenant: str = "acme") -> NewEvent:
    """Any event. Ids are unique in the whole stream."""
    return collection_failed(
        tenant,
        device,
        failure_id=f"{tenant}-{device}-{number}",
        kind="timeout",
        message="no answer",
        attempted_at=NOON + timedelta(minutes=number),
        source="scheduled",
    )


async def branch(store: EventStore, device: str = "r1") -> list[StoredEvent]:
    """A device's events."""
    async with aclosing(store.read_branch("acme", device)) as events:
        return [stored async for stored in events]


async def everything(store: EventStore, where: Selection | None = None) -> list[StoredEvent]:
    """All events up to now, or the selected ones."""
    async with aclosing(store.read(where=where or Selection())) as batches:
        return [stored async for batch in batches for stored in batch]


async def append_many(store: EventStore, count: int, device: str = "r1") -> Head:
    """Events one after the other, and where they end."""
    head = Head()
    for number in range(count):
        stored = await store.append(failure(number, device), head)
        head = Head(stored.version, stored.position)
    return head


class Stores(ABC):
    """A stream, and programs that use it."""

    @property
    @abstractmethod
    def store(self) -> EventStore:
        """The first program's store."""

    @abstractmethod
    async def another(self) -> EventStore:
        """Another program's store, on the same stream."""

    @abstractmethod
    async def recreate(self) -> None:
        """Delete the stream and make it again."""


class EventStoreBehaviour:
    """The suite."""

    @pytest.fixture
    def store(self, stores: Stores) -> EventStore:
        return stores.store

    async def test_an_appended_event_is_read_back_as_it_was(self, store: EventStore) -> None:
        odd = "core router.1/ü*>"
        event = NewEvent(
            event_id="one",
            tenant_id="acme",
            device_id=odd,
            occurred_at=NOON,
            event=failure(0).event,
            correlation_id="a b%20ü",
            causation_id="intake.7",
            traceparent="00-abc-def-01",
        )
        stored = await store.append(event, Head())
        [read] = await branch(store, odd)
        assert (read.position, read.version) == (stored.position, stored.version) == (1, 1)
        for field in NewEvent.__struct_fields__:
            assert getattr(read, field) == getattr(event, field), field

    async def test_a_device_without_events_has_an_empty_branch(self, store: EventStore) -> None:
        assert await branch(store) == []
        assert await everything(store) == []
        assert await store.head() == 0

    async def test_who_appends_second_gets_the_newer_events(self, store: EventStore) -> None:
        first = await store.append(failure(1), Head())
        with pytest.raises(AppendConflict) as conflict:
            await store.append(failure(2), Head())
        assert [newer.event_id for newer in conflict.value.newer] == [first.event_id]
        await store.append(failure(2), Head(first.version, first.position))
        assert [stored.version for stored in await branch(store)] == [1, 2]

    async def test_branches_do_not_disturb_each_other(self, store: EventStore) -> None:
        await append_many(store, 3, "r1")
        await append_many(store, 3, "r2")
        assert [stored.version for stored in await branch(store, "r1")] == [1, 2, 3]
        assert [stored.version for stored in await branch(store, "r2")] == [1, 2, 3]

    async def test_appending_again_what_landed_gives_the_stored_event(
        self, store: EventStore
    ) -> None:
        first = await store.append(failure(1), Head())
        again = await store.append(failure(1), Head())
        assert again.position == first.position
        await store.append(failure(2), Head(first.version, first.position))
        once_more = await store.append(failure(1), Head())
        assert once_more.position == first.position
        assert await store.head() == 2

    async def test_appending_a_batch_again_that_landed_gives_the_stored_events(
        self, store: EventStore
    ) -> None:
        batch = [failure(number) for number in range(3)]
        first = await store.append_together(batch, Head())
        head = Head(first[-1].version, first[-1].position)
        await store.append(failure(9), head)
        again = await store.append_together(batch, Head())
        assert [one.position for one in again] == [one.position for one in first] == [1, 2, 3]
        assert await store.head() == 4

    async def test_a_batch_is_appended_whole_or_not_at_all(self, store: EventStore) -> None:
        first = await store.append(failure(0), Head())
        with pytest.raises(AppendConflict):
            await store.append_together([failure(1), failure(2)], Head())
        assert await store.head() == 1
        stored = await store.append_together(
            [failure(1), failure(2)], Head(first.version, first.position)
        )
        assert [(one.position, one.version) for one in stored] == [(2, 2), (3, 3)]
        assert [one.event_id for one in await branch(store)] == [
            failure(number).event_id for number in range(3)
        ]
        assert await store.append_together([], Head()) == ()

    async def test_a_batch_of_several_devices_is_refused(self, store: EventStore) -> None:
        with pytest.raises(ValueError, match="of one device"):
            await store.append_together([failure(1, "r1"), failure(1, "r2")], Head())
        assert await store.head() == 0

    async def test_a_thousand_events_are_one_append_and_more_are_refused(
        self, store: EventStore
    ) -> None:
        events = [failure(number) for number in range(1_001)]
        with pytest.raises(BatchTooLarge) as refused:
            await store.append_together(events, Head())
        assert (refused.value.count, refused.value.limit) == (1_001, 1_000)
        assert await store.head() == 0
        assert len(await store.append_together(events[:1_000], Head())) == 1_000
        assert [one.version for one in await branch(store)] == list(range(1, 1_001))

    async def test_racing_writers_leave_one_contiguous_branch(self, stores: Stores) -> None:
        async def write(store: EventStore, number: int) -> None:
            head = Head()
            while True:
                try:
                    await store.append(failure(number), head)
                except AppendConflict as conflict:
                    head = Head(conflict.newer[-1].version, conflict.newer[-1].position)
                else:
                    return

        programs = [stores.store, await stores.another(), await stores.another()]
        await asyncio.gather(*(write(programs[number % 3], number) for number in range(21)))
        events = await branch(stores.store)
        assert [stored.version for stored in events] == list(range(1, 22))
        assert len({stored.event_id for stored in events}) == 21

    async def test_racing_batches_are_never_torn_nor_mixed(self, stores: Stores) -> None:
        async def write(store: EventStore, writer: int) -> None:
            head = Head()
            for turn in range(3):
                batch = [failure(100 * writer + 10 * turn + part) for part in range(5)]
                while True:
                    try:
                        stored = await store.append_together(batch, head)
                    except AppendConflict as conflict:
                        head = Head(conflict.newer[-1].version, conflict.newer[-1].position)
                    else:
                        head = Head(stored[-1].version, stored[-1].position)
                        break

        programs = [stores.store, await stores.another()]
        await asyncio.gather(*(write(programs[writer % 2], writer) for writer in range(4)))
        events = await branch(stores.store)
        assert [stored.version for stored in events] == list(range(1, 61))
        numbers = [int(stored.event_id.rpartition("-")[2]) for stored in events]
        for start in range(0, 60, 5):
            first = numbers[start]
            assert first % 10 == 0
            assert numbers[start : start + 5] == list(range(first, first + 5))

    async def test_long_branches_are_read_whole(self, store: EventStore) -> None:
        await store.append_together([failure(number) for number in range(1_000)], Head())
        await store.append_together(
            [failure(number) for number in range(1_000, 1_203)], Head(1_000, 1_000)
        )
        assert [stored.version for stored in await branch(store)] == list(range(1, 1_204))
        async with aclosing(store.read_branch("acme", "r1", Head(1_200, 1_200))) as rest:
            assert [stored.version async for stored in rest] == [1_201, 1_202, 1_203]

    async def test_reading_all_ends_at_the_head_or_where_asked(self, store: EventStore) -> None:
        await append_many(store, 25)
        for until in (None, 25, 7):
            async with aclosing(store.read(after=3, until=until)) as batches:
                read = [stored.position async for batch in batches for stored in batch]
            assert read == list(range(4, (until or 25) + 1))
        async with aclosing(store.read(after=25)) as batches:
            assert [batch async for batch in batches] == []

    async def test_a_selection_is_all_of_it_and_nothing_else(self, store: EventStore) -> None:
        await append_many(store, 3, "r1")
        await append_many(store, 3, "r2")
        asked = triggered("acme", "r2", trigger_id="t", actor="user:ann", occurred_at=NOON)
        head = (await branch(store, "r2"))[-1]
        await store.append(asked, Head(head.version, head.position))
        await store.append(failure(1, tenant="other"), Head())
        for where, positions in (
            (Selection(tenant_id="acme"), [1, 2, 3, 4, 5, 6, 7]),
            (Selection(tenant_id="other"), [8]),
            (Selection(tenant_id="acme", device_id="r2"), [4, 5, 6, 7]),
            (Selection(device_id="r1"), [1, 2, 3, 8]),
            (Selection(types=("ManualBackupTriggered",)), [7]),
            (Selection(types=("ManualBackupTriggered", "CollectionFailed")), [*range(1, 9)]),
            (Selection(tenant_id="nobody"), []),
        ):
            assert [one.position for one in await everything(store, where)] == positions
        async with aclosing(store.follow(5, Selection(device_id="r2"))) as batches:
            assert [one.position for one in await anext(batches)] == [6, 7]

    async def test_a_follower_gets_what_was_and_what_comes(self, store: EventStore) -> None:
        head = await append_many(store, 2)
        seen: list[int] = []
        async with aclosing(store.follow()) as batches:
            async for batch in batches:
                seen += [stored.position for stored in batch]
                if seen[-1] == 2:
                    await store.append(failure(99), head)
                if seen[-1] == 3:
                    break
        assert seen == [1, 2, 3]

    async def test_a_slow_reader_misses_nothing(self, stores: Stores) -> None:
        writer = await stores.another()
        head = await append_many(writer, 1)
        seen: list[int] = []
        async with aclosing(stores.store.follow()) as batches:
            seen += [stored.position for stored in await anext(batches)]
            for turn in range(12):
                batch = [failure(1_000 * (turn + 1) + part) for part in range(1_000)]
                stored = await writer.append_together(batch, head)
                head = Head(stored[-1].version, stored[-1].position)
            async for events in batches:
                seen += [one.position for one in events]
                if seen[-1] == 12_001:
                    break
        assert seen == list(range(1, 12_002))

    async def test_a_stream_recreated_under_a_follower_is_refused(self, stores: Stores) -> None:
        await append_many(stores.store, 3)
        async with aclosing(stores.store.follow()) as follower:
            await anext(follower)
            await stores.recreate()
            with pytest.raises(StreamMismatch, match="made anew"):
                await anext(follower)

    async def test_a_recreated_stream_is_another_one(self, stores: Stores) -> None:
        before = await stores.store.identity()
        assert await stores.store.identity() == before
        await stores.recreate()
        after = await stores.store.identity()
        assert (after.name, after.created > before.created) == (before.name, True)

    async def test_a_time_becomes_the_position_before_what_was_stored_then(
        self, store: EventStore
    ) -> None:
        await append_many(store, 3)
        third = (await everything(store))[2]
        assert await store.position_at(third.stored_at - timedelta(days=1)) == 0
        assert await store.position_at(third.stored_at) == 2
        assert await store.position_at(third.stored_at + timedelta(days=1)) == 3
        assert await store.mark_at(3) == Mark(third.event_id, third.stored_at)
        assert await store.mark_at(4) is None
