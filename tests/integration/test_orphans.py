"""Texts that no event refers to go when none can come to refer to them, and no other text does."""

from __future__ import annotations

import dataclasses
import itertools
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.buckets import Bucket
from adapters.jetstream.content_store import CONTENT, JetStreamContentStore
from adapters.retention.deciding import Keeper
from adapters.retention.orphans import SAFE_AGE, Orphans
from adapters.retention.removing import BUCKET
from adapters.roles.devices import DeviceRepository
from domain.envelope import NewEvent, StoredEvent
from domain.errors import AppendConflict, ContentMissing
from domain.events import ContentRef, DuplicateSkipped, SnapshotCreated
from tests.integration.test_recorder import NOON, export, record
from tests.integration.test_recorder import wire as observed
from tests.rig import Rig, rig

AT_ONCE = timedelta(0)
ACME = ("acme", "r1")


class Store(JetStreamContentStore):
    """Stores what is longer than a kilobyte in parts; dies after so many removals."""

    dies_after = -1

    async def delete(self, sequence: int) -> bool:
        if self.dies_after == 0:
            raise KilledError
        self.dies_after -= 1
        return await super().delete(sequence)


class KilledError(Exception):
    """The program dies here."""


@pytest.fixture
async def parts(nats_server: EmbeddedNats) -> AsyncIterator[Rig]:
    async with rig(nats_server.url) as one:
        yield dataclasses.replace(one, content=Store(one.js, one.keyring, part_bytes=1_024))


async def orphans(one: Rig, within: timedelta = AT_ONCE) -> Orphans:
    """A new program's."""
    bucket = Bucket(one.js, BUCKET)
    await bucket.ensure()
    devices = DeviceRepository(one.events)
    return Orphans(one.events, devices, one.content, bucket, referred_within=within)


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
