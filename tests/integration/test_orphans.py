"""Texts that no event refers to go when none can come to refer to them, and no other text does."""

from __future__ import annotations

import dataclasses
import itertools
import secrets
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.jetstream.buckets import Bucket
from adapters.jetstream.content_store import CONTENT, JetStreamContentStore
from adapters.jetstream.dead_letters import DEAD_LETTERS
from adapters.jetstream.event_store import JetStreamEventStore
from adapters.jetstream.listing import Listed
from adapters.retention.damaged import Damaged
from adapters.retention.deciding import Keeper
from adapters.retention.erasing import Eraser
from adapters.retention.orphans import GRACE, SAFE_AGE, Orphans
from adapters.retention.removing import BUCKET, Remover
from adapters.roles.devices import DeviceRepository
from domain.envelope import Head, NewEvent, StoredEvent
from domain.errors import AppendConflict, ContentMissing
from domain.events import (
    ContentRef,
    DiffGenerated,
    DuplicateSkipped,
    GoneContent,
    SnapshotCreated,
)
from domain.keeping import expired
from tests.integration.test_recorder import NOON, export, record
from tests.integration.test_recorder import wire as observed
from tests.rig import Rig
from tests.support import eventually

AT_ONCE = timedelta(0)
ACME = ("acme", "r1")


class Store(JetStreamContentStore):
    """Stores what is longer than a kilobyte in parts; dies after so many removals; counts looks."""

    dies_after = -1
    looks = 0

    async def delete(self, sequence: int) -> bool:
        if self.dies_after == 0:
            raise KilledError
        self.dies_after -= 1
        return await super().delete(sequence)

    async def look(self, sequence: int) -> Listed | None:
        self.looks += 1
        return await super().look(sequence)


class Counted(JetStreamEventStore):
    """Counts how often a device's history is read from its beginning."""

    branches = 0

    def read_branch(
        self, tenant_id: str, device_id: str, after: Head | None = None
    ) -> AsyncGenerator[StoredEvent, None]:
        self.branches += (device_id, after or Head()) == (ACME[1], Head())
        return super().read_branch(tenant_id, device_id, after)


class KilledError(Exception):
    """The program dies here."""


@pytest.fixture
def parts(connected: Rig) -> Rig:
    content = Store(connected.js, connected.keyring, part_bytes=1_024)
    return dataclasses.replace(connected, content=content)


async def orphans(
    one: Rig, within: timedelta = AT_ONCE, grace: timedelta = AT_ONCE, events: Any = None
) -> Orphans:
    """A new program's."""
    bucket = Bucket(one.js, BUCKET)
    await bucket.ensure()
    log = events or one.events
    return Orphans(
        log,
        DeviceRepository(log),
        one.content,
        bucket,
        Damaged(one.metrics),
        referred_within=within,
        grace=grace,
    )


async def left_behind(one: Rig, size: int = 100) -> ContentRef:
    """A text that was stored by a program that then died."""
    text = secrets.token_hex(size // 2).encode()
    return await one.content.put(*ACME, "snapshot", text)


async def count(one: Rig) -> int:
    return (await one.js.stream_info(CONTENT)).state.messages


async def named_texts(one: Rig) -> list[int]:
    """How long the texts are that events name, all of which must be there."""
    found = []
    for stored in await one.history(*ACME):
        if isinstance(stored.event, SnapshotCreated):
            text = await one.content.get(*ACME, "snapshot", stored.event.content)
            found.append(len(text))
    return found


async def story(one: Rig) -> int:
    """Three configurations, the second of which lies in parts, between texts that were left behind
    whole and in parts; how many messages they are that events name."""
    long = export("192.0.2.2") + "# " + secrets.token_hex(4_000) + "\n"
    named = 0
    for number, text in enumerate((export("192.0.2.1"), long, export("192.0.2.3"))):
        await left_behind(one)
        await left_behind(one, 6_000)
        before = await count(one)
        await record(one, observed(text, NOON + timedelta(days=number)))
        named += await count(one) - before
    return named


def late(first: StoredEvent, text: ContentRef) -> NewEvent:
    """An event that names a text, as it was decided on the device's first one."""
    assert isinstance(first.event, SnapshotCreated)
    return NewEvent(
        event_id="late",
        tenant_id=first.tenant_id,
        device_id=first.device_id,
        occurred_at=first.occurred_at,
        event=replace(first.event, content=text),
    )


LATER = datetime.now(UTC) + SAFE_AGE + timedelta(hours=1)


async def test_what_no_event_names_goes_and_all_else_stays(parts: Rig) -> None:
    named = await story(parts)
    texts = await named_texts(parts)
    stray = await left_behind(parts, 6_000)
    await parts.content.delete(stray.sequence)  # its parts are left, without their list
    await record(parts, observed(export("192.0.2.3"), NOON + timedelta(days=4)))
    assert await count(parts) > 2 * named
    assert await (await orphans(parts)).sweep(datetime.now(UTC)) == 0, "they are young"
    gone = await count(parts) - named
    assert await (await orphans(parts)).sweep(LATER) == gone
    assert await count(parts) == named
    assert await named_texts(parts) == texts
    assert await (await orphans(parts)).sweep(LATER) == 0


async def test_a_program_that_dies_in_between_leaves_the_rest_to_the_next(parts: Rig) -> None:
    named = await story(parts)
    texts = await named_texts(parts)
    assert isinstance(parts.content, Store)
    for removals in itertools.count():
        parts.content.dies_after = removals
        try:
            await (await orphans(parts)).sweep(LATER)
        except KilledError:
            assert await named_texts(parts) == texts
            await left_behind(parts, 2_000)
            await record(parts, observed(export("192.0.2.3"), NOON + timedelta(days=9 + removals)))
        else:
            break
    assert removals > 2
    assert await count(parts) == named
    assert await named_texts(parts) == texts


async def test_one_that_an_event_may_still_come_to_name_waits(parts: Rig) -> None:
    await record(parts, observed(export("192.0.2.1")))
    state = await parts.devices.refresh(*ACME)
    text = await left_behind(parts)
    assert await (await orphans(parts)).sweep(LATER) == 0
    # Of another program, which knows of it by what the first one kept.
    await record(parts, observed(export("192.0.2.1"), NOON + timedelta(days=1)))
    assert await (await orphans(parts, timedelta(hours=1))).sweep(LATER) == 0
    assert await (await orphans(parts)).sweep(LATER) == 1
    with pytest.raises(ContentMissing):
        await parts.content.get(*ACME, "snapshot", text)
    # What was decided before, and is on its way since, comes too late.
    (first, duplicate) = await parts.history(*ACME)
    assert isinstance(duplicate.event, DuplicateSkipped)
    assert state.head.position == first.position
    with pytest.raises(AppendConflict):
        await parts.events.append(late(first, text), state.head)


async def test_a_legal_hold_keeps_it(parts: Rig) -> None:
    keeper = Keeper(parts.devices)
    await record(parts, observed(export("192.0.2.1")))
    await left_behind(parts)
    who = {"actor": "user:ann", "reason": "a case"}
    await keeper.hold(*ACME, "case-7", **who)
    assert await (await orphans(parts)).sweep(LATER) == 0
    await keeper.hold("acme", None, "case-8", **who)
    await keeper.release(*ACME, "case-7", **who)
    assert await (await orphans(parts)).sweep(LATER) == 0
    await keeper.release("acme", None, "case-8", **who)
    assert await (await orphans(parts)).sweep(LATER) == 1


async def test_a_recorder_that_took_too_long_stores_the_text_anew(parts: Rig) -> None:
    """Between storing and appending it was stopped for two hours."""
    clock = itertools.chain((0.0, 7_200.0), itertools.repeat(7_200.0))
    async with parts.recording(clock=lambda: next(clock)):
        await parts.intake.publish("acme", "r1", export("192.0.2.1"), NOON)
        await parts.intake_empty()
    (stored,) = await parts.history(*ACME)
    assert isinstance(stored.event, SnapshotCreated)
    assert (stored.event.content.sequence, await count(parts)) == (2, 2)


async def test_a_differ_that_took_too_long_tells_it_with_new_texts(parts: Rig) -> None:
    """The texts that it stored first are named by nobody, and go; those of the event stay."""
    for number in (1, 2):
        await record(parts, observed(export(f"192.0.2.{number}"), NOON + timedelta(days=number)))
    clock = itertools.chain((0.0,), itertools.repeat(7_200.0))
    async with parts.diffing(ack_wait=1.0, clock=lambda: next(clock)):

        async def told() -> bool:
            return any(isinstance(one.event, DiffGenerated) for one in await parts.history(*ACME))

        await eventually(told, within=30)
    (difference,) = [
        one.event for one in await parts.history(*ACME) if isinstance(one.event, DiffGenerated)
    ]
    assert difference.changes_content is not None
    pair = (difference.content.sequence, difference.changes_content.sequence)
    assert (pair, await count(parts)) == ((5, 6), 6)
    assert await (await orphans(parts)).sweep(LATER) == 2
    for sequence in range(1, 7):
        there = await parts.content.look(sequence) is not None
        assert there == (sequence not in (3, 4)), sequence


async def test_there_is_time_to_put_a_newer_copy_of_the_log_in_place(parts: Rig) -> None:
    await record(parts, observed(export("192.0.2.1")))
    await left_behind(parts)
    await record(parts, observed(export("192.0.2.1"), NOON + timedelta(days=1)))
    assert await (await orphans(parts, grace=GRACE)).sweep(LATER) == 0
    nearly = LATER + GRACE - timedelta(seconds=1)
    assert await (await orphans(parts, grace=GRACE)).sweep(nearly) == 0
    assert await (await orphans(parts, grace=GRACE)).sweep(LATER + GRACE) == 1


async def test_those_that_wait_cost_no_reading_until_something_happens(parts: Rig) -> None:
    await record(parts, observed(export("192.0.2.1")))
    for _ in range(5):
        await left_behind(parts)
    log, store = Counted(parts.nc, parts.js), parts.content
    assert isinstance(store, Store)
    # For the state, and to see that none is named.
    assert await (await orphans(parts, events=log)).sweep(LATER) == 0
    first, looks = log.branches, store.looks
    sweeping = await orphans(parts, events=log)
    for _ in range(3):
        assert await sweeping.sweep(LATER) == 0
    assert (log.branches, store.looks) == (first, looks)
    await record(parts, observed(export("192.0.2.1"), NOON + timedelta(days=1)))
    assert await sweeping.sweep(LATER) == 5
    assert store.looks == looks + 5


async def test_one_whose_parts_can_not_be_told_holds_back_what_may_be_one_of_them(
    parts: Rig,
) -> None:
    """And the others go, and it is told."""
    await record(parts, observed(export("192.0.2.1")))
    (first,) = await parts.history(*ACME)
    older = await left_behind(parts)
    broken = await parts.js.publish("configtrail-content.acme.r1", b"\xa1?")
    state = await parts.devices.refresh(*ACME)
    named = ContentRef(sequence=broken.seq, commitment="0" * 64)
    await parts.events.append(late(first, named), state.head)
    newer = await left_behind(parts)
    await record(parts, observed(export("192.0.2.3"), NOON + timedelta(days=4)))
    assert await (await orphans(parts)).sweep(LATER) == 1
    there = [await parts.content.look(one.sequence) is not None for one in (older, named, newer)]
    assert there == [True, True, False]
    assert b"configtrail_content_damaged_total 1.0" in parts.metrics.exposition()


async def test_what_is_damaged_ends_neither_a_run_nor_an_erasure(parts: Rig) -> None:
    """A list of parts that is none, and dead letters that are none: the rest goes."""
    await record(parts, observed(export("192.0.2.1")))
    broken = (await parts.js.publish("configtrail-content.acme.r1", b"\xa1?")).seq
    whole = (await left_behind(parts)).sequence
    gone = tuple(
        GoneContent(kind="snapshot", content=ContentRef(sequence=one, commitment="0" * 64))
        for one in (broken, whole)
    )
    state = await parts.devices.refresh(*ACME)
    event = expired(
        *ACME, run_id="run", occurred_at=NOON, snapshot_id="s1", contents=gone, reason="a policy"
    )
    await parts.devices.append(event, state)
    told = await parts.dead_letters.put(
        "recorder",
        "config.snapshot.create",
        b"a text",
        field="x",
        rule="y",
        tenant_id="acme",
        device_id="r1",
        headers={},
        dedupe_id=None,
    )
    headers = (await parts.js.get_msg(DEAD_LETTERS, seq=told)).headers
    await parts.js.publish("configtrail-deadletters.recorder", b"?", headers={"a": "b"})
    await parts.js.publish("configtrail-deadletters.recorder", b"\xa1?", headers=headers)
    bucket = Bucket(parts.js, BUCKET)
    await bucket.ensure()
    remover = Remover(
        parts.events,
        parts.content,
        parts.keyring,
        parts.dead_letters,
        bucket,
        Damaged(parts.metrics),
    )
    assert await remover.finish() == 1
    there = [await parts.content.look(one) is not None for one in (broken, whole)]
    assert there == [True, False]
    eraser = Eraser(
        parts.nc, parts.js, parts.events, parts.devices, parts.content, parts.keyring, remover
    )
    await eraser.device(*ACME, actor="user:ann", reason="a password leaked")
    assert await count(parts) == 0
    assert [one.sequence for one in await parts.dead_letters.list(10)] == [told + 2]
    # Once the list of parts, once the letter.
    assert b"configtrail_content_damaged_total 2.0" in parts.metrics.exposition()
