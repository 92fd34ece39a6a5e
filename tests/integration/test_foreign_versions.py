"""A message that nobody can read, among a device's events, that tells some version: true events
are recorded after it, and nobody is accused for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from msgspec.structs import replace

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream import wire
from adapters.jetstream.source import JetStreamSource
from adapters.postgres.tiles import TileStore
from adapters.tlog.evidence import SystemEvidence
from adapters.tlog.verify import Options, Report, verify
from projections.rows import Pool
from tests.behaviour.event_store import append_many, failure
from tests.logs import BASE, KEY, seal
from tests.rig import Rig, rig

TENANT, DEVICE = "acme", "r1"
SUBJECT = f"configtrail.{TENANT}.{DEVICE}.Nonsense"


@pytest_asyncio.fixture
async def one(nats_server: EmbeddedNats, pool: Pool) -> AsyncIterator[Rig]:
    """A device with nine events, the last of which is far on in the stream; all is signed."""
    async with rig(nats_server.url) as opened:
        await append_many(opened.events, 20, "other")
        await append_many(opened.events, 9, DEVICE)
        await seal(opened, pool)
        yield opened


async def put(one: Rig, version: int) -> None:
    """An event that tells a version, as whoever may publish can make it up."""
    subject, headers, body = wire.encode_next(failure(1_000 + version, DEVICE, TENANT), version)
    await one.js.publish(subject, body, headers=headers)


async def put_true(one: Rig) -> int:
    """A true event where the branch ends, as the program puts it; its version."""
    end = await JetStreamSource(one.nc, one.js).branch_head(TENANT, DEVICE)
    return (await one.events.append(failure(500 + end.position, DEVICE, TENANT), end)).version


async def verified(one: Rig, pool: Pool) -> Report:
    """By what all events say; by their headers alone the same is found."""
    evidence = SystemEvidence(one.raw, one.notes, TileStore(pool), pool, one.content)
    options = Options(BASE, (KEY.public,), rows=False)
    report = await verify(evidence, options)
    assert (await verify(evidence, replace(options, content=False))).findings == report.findings
    return report


async def accused(one: Rig, pool: Pool) -> list[tuple[str, int]]:
    return [(two.kind, two.position) for two in (await verified(one, pool)).findings]


@pytest.mark.parametrize(
    ("told", "then"),
    [("999", 10), ("25", 10), ("3", 10), ("0", 10), ("x", 10), (None, 10), ("10", 11)],
)
async def test_true_events_follow_it_and_nobody_is_accused(
    one: Rig, pool: Pool, told: str | None, then: int
) -> None:
    headers = {"ce-id": "x", **({} if told is None else {"ce-sequence": told})}
    await one.js.publish(SUBJECT, b"{}", headers=headers)
    assert [await put_true(one), await put_true(one)] == [then, then + 1]
    # Another of the kind tells the same, which is no longer the next.
    await one.js.publish(SUBJECT, b"{}", headers=headers)
    assert await put_true(one) == then + 2
    report = await verified(one, pool)
    assert report.findings == ()
    assert (report.unreadable, report.first_unreadable) == (2, 30)


async def test_one_that_may_have_had_a_place_hides_no_other_missing_version(
    one: Rig, pool: Pool
) -> None:
    await one.js.publish(SUBJECT, b"{}")
    await put(one, 11)  # by a program that knew the tenth
    assert await accused(one, pool) == []
    await put(one, 13)
    await put(one, 12)
    assert await accused(one, pool) == [("missing", 32), ("reordered", 33)]


async def test_one_that_can_be_read_is_accused_alone(one: Rig, pool: Pool) -> None:
    await put(one, 999)
    assert await put_true(one) == 10
    assert await accused(one, pool) == [("missing", 30)]
