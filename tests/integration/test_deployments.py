"""Deployments that change several read models: all of them take their places, or none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.postgres.pool import open_pool
from domain.errors import PoisonEvent
from projections import AUDIT, FLEET, builder, rebuilds
from projections.builder import ProjectionBuilder
from projections.checkpoints import checkpoints
from projections.projection import Projection
from projections.rows import Pool
from projections.waiting import hindrance
from tests.generators import STREAM, played
from tests.listed import Listed
from tests.rebuilding import Allergic, Gated, Second, filled, running
from tests.support import eventually

OLD = {"audit": AUDIT.version, "fleet": FLEET.version}
NEW = {name: version + 1 for name, version in OLD.items()}


@pytest.fixture
async def pool(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pool]:
    monkeypatch.setattr(builder, "NEAR", 10)
    async with open_pool(postgres_dsn) as pool:
        yield pool


def next_of(projection: Projection[Any]) -> Gated:
    """Its next version, which makes the same rows."""
    made = Gated(projection)
    made.version += 1
    return made


async def test_new_versions_wait_for_one_another(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    source = Listed(played(21, 200).events)
    for one in (AUDIT, FLEET):
        await filled(pool, one, source)
    fleet = next_of(FLEET)
    new = (Second(), fleet)
    quick, slow = (ProjectionBuilder(pool, source, one, new) for one in new)
    async with running(quick):
        await eventually(
            lambda: "rebuild of projection audit: ready, and waits for fleet" in caplog.text
        )
        async with running(slow):
            await eventually(fleet.waiting.is_set)
            await eventually(lambda: _stands(pool, new[0], source))
            assert await versions(pool) == OLD
            # Whoever looks on from another program is told too.
            head = await source.head()
            told = await hindrance(pool, new[0], new, head=head, own=False)
            assert "takes its place together with the new versions of fleet" in str(told)
            told = await hindrance(pool, fleet, new, head=head, own=False)
            assert "(configtrail, user configtrail) works on it, and comes no further" in str(told)
            assert await hindrance(pool, fleet, new, head=head, own=True) is None
            fleet.open.set()
            await eventually(lambda: _are(pool, NEW))


async def test_one_that_stops_for_an_event_holds_the_others_until_it_goes_on(
    pool: Pool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    """Also where the stream is short, and before the one that will stop has noted it."""
    monkeypatch.setattr(builder, "NEAR", 1_000)
    events = played(22, 260).events
    source = Listed(events[:-20])
    for one in (AUDIT, FLEET):
        await filled(pool, one, source)
    fleet = next_of(FLEET)
    fleet.open.set()
    new = (Second(), fleet)
    await rebuilds.begin(pool, fleet, STREAM)
    with pytest.raises(PoisonEvent):
        await ProjectionBuilder(pool, source, Allergic(fleet, 100), new).build()
    async with running(ProjectionBuilder(pool, source, new[0], new)):
        await eventually(
            lambda: "rebuild of projection audit: ready, and waits for fleet" in caplog.text
        )
        await source.more(events[-20:])
        await eventually(lambda: _stands(pool, new[0], source))
        assert await versions(pool) == OLD
        await rebuilds.begin(pool, fleet, STREAM)  # tried again: the error is gone
        assert await versions(pool) == OLD
        await ProjectionBuilder(pool, source, fleet, new).build()
        await eventually(lambda: _are(pool, NEW))


async def test_in_a_steady_flow_none_has_to_be_near_the_end_when_another_one_is(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    events = played(24, 260).events
    for one in (AUDIT, FLEET):
        await filled(pool, one, Listed(events[:-60]))
    new = (Second(), next_of(FLEET))
    new[1].open.set()
    flow = Listed(events[:-60])
    async with running(ProjectionBuilder(pool, flow, new[0], new)):
        await eventually(
            lambda: "rebuild of projection audit: ready, and waits for fleet" in caplog.text
        )
        await flow.more(events[-60:])
        await eventually(lambda: _stands(pool, new[0], flow))
        # As many behind as come while it writes a batch, and as it goes on for ever.
        late = Listed(events[:-40], head=len(events))
        async with running(ProjectionBuilder(pool, late, new[1], new)):
            await eventually(lambda: _are(pool, {**OLD, "audit": NEW["audit"]}))


async def test_one_that_is_asked_for_waits_for_none(pool: Pool) -> None:
    source = Listed(played(23, 100).events)
    for one in (AUDIT, FLEET):
        await filled(pool, one, source)
    await rebuilds.begin(pool, AUDIT, STREAM)
    await ProjectionBuilder(pool, source, AUDIT, (AUDIT, next_of(FLEET))).build()
    assert await rebuilds.find(pool, AUDIT) is None


async def versions(pool: Pool) -> dict[str, int]:
    return {name: one.version for name, one in (await checkpoints(pool)).items()}


async def _are(pool: Pool, wanted: dict[str, int]) -> bool:
    return await versions(pool) == wanted


async def _stands(pool: Pool, projection: Projection[Any], source: Listed) -> bool:
    found = await rebuilds.find(pool, projection)
    return found is not None and found.position == await source.head()
