"""Replaying from Python: where it begins, what a checkpoint means, and when it refuses."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from adapters.memory import MemoryEventStore
from adapters.replay import Checkpoint, FileCheckpoint, replay
from domain.envelope import Head, Selection
from domain.errors import InvalidInput, StreamMismatch
from tests.behaviour.event_store import append_many, failure


@pytest.fixture
def events() -> MemoryEventStore:
    return MemoryEventStore()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "position.json"


async def positions(events: MemoryEventStore, **how: object) -> list[int]:
    async with aclosing(replay(events, **how)) as found:  # type: ignore[arg-type]
        return [stored.position async for stored in found]


async def test_it_begins_at_a_position_or_a_time_and_takes_a_selection(
    events: MemoryEventStore,
) -> None:
    await append_many(events, 3, "r1")
    await append_many(events, 2, "r2")
    assert await positions(events) == [1, 2, 3, 4, 5]
    assert await positions(events, after=3) == [4, 5]
    assert await positions(events, where=Selection(device_id="r2")) == [4, 5]
    assert await positions(events, since=datetime.now(UTC) + timedelta(days=1)) == []
    assert await positions(events, since=datetime.now(UTC) - timedelta(days=1)) == [1, 2, 3, 4, 5]


async def test_it_goes_on_after_its_checkpoint(events: MemoryEventStore, file: Path) -> None:
    head = await append_many(events, 3)
    checkpoint = FileCheckpoint(file)
    assert await positions(events, checkpoint=checkpoint) == [1, 2, 3]
    assert await positions(events, checkpoint=checkpoint) == []
    await events.append(failure(9), head)
    assert await positions(events, checkpoint=checkpoint) == [4]


async def test_the_event_that_was_not_worked_off_comes_again(
    events: MemoryEventStore, file: Path
) -> None:
    await append_many(events, 5)
    checkpoint = FileCheckpoint(file)
    async with aclosing(replay(events, checkpoint=checkpoint)) as found:
        async for stored in found:
            if stored.position == 3:
                break
    assert await positions(events, checkpoint=checkpoint) == [3, 4, 5]


async def test_following_gets_what_comes(events: MemoryEventStore) -> None:
    head = await append_many(events, 1)
    seen = []
    async with aclosing(replay(events, follow=True)) as found:
        async for stored in found:
            seen.append(stored.position)
            if stored.position == 1:
                await events.append(failure(9), head)
            else:
                break
    assert seen == [1, 2]


async def test_a_checkpoint_of_another_stream_is_refused(
    events: MemoryEventStore, file: Path
) -> None:
    await append_many(events, 3)
    checkpoint = FileCheckpoint(file)
    await positions(events, checkpoint=checkpoint)
    await events.recreate()
    await append_many(events, 5)
    with pytest.raises(StreamMismatch, match="as created at"):
        await positions(events, checkpoint=checkpoint)


async def test_a_position_ahead_of_the_stream_is_refused(
    events: MemoryEventStore, file: Path
) -> None:
    await events.append(failure(1), Head())
    with pytest.raises(StreamMismatch, match="ahead of MEMORY, which ends at 1"):
        await positions(events, after=2)
    identity = await events.identity()
    FileCheckpoint(file).save(Checkpoint(identity.name, identity.created, 7))
    with pytest.raises(StreamMismatch, match="position 7"):
        await positions(events, checkpoint=FileCheckpoint(file))


def test_a_file_that_is_no_checkpoint_is_refused(file: Path) -> None:
    file.write_text("hello")
    with pytest.raises(InvalidInput, match="is no position file"):
        FileCheckpoint(file).load()


async def test_a_checkpoint_is_of_one_selection(events: MemoryEventStore, file: Path) -> None:
    await append_many(events, 3, "r1")
    await append_many(events, 2, "r2")
    kept = FileCheckpoint(file)
    assert await positions(events, checkpoint=kept, where=Selection(device_id="r2")) == [4, 5]
    with pytest.raises(StreamMismatch, match="another tenant, device or types"):
        await positions(events, checkpoint=kept)
    assert await positions(events, checkpoint=kept, where=Selection(device_id="r2")) == []


async def test_a_stream_that_was_put_back_and_grew_is_noticed(
    events: MemoryEventStore, file: Path
) -> None:
    await append_many(events, 3, "r1")
    kept = FileCheckpoint(file)
    assert await positions(events, checkpoint=kept) == [1, 2, 3]
    found = kept.load()
    assert found is not None
    assert found.last_stored is not None
    lost = (
        msgspec.structs.replace(found, last_event="of the lost time"),
        msgspec.structs.replace(found, last_event="of the lost time", last_stored=None),
        # The same event, recorded again.
        msgspec.structs.replace(found, last_stored=found.last_stored - timedelta(seconds=1)),
    )
    for one in lost:
        kept.save(one)
        with pytest.raises(StreamMismatch, match="put back to an older copy"):
            await positions(events, checkpoint=kept)
    # As a program kept it that knew of no time.
    kept.save(msgspec.structs.replace(found, last_stored=None))
    assert await positions(events, checkpoint=kept) == []
