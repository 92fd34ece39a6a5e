"""Skipping parked events beside others who write: it ends, and says why it could not be done."""

from __future__ import annotations

import dataclasses

import pytest

from adapters.composition import System
from adapters.jetstream.source import JetStreamSource
from adapters.skipping import TRIES, parked_at, skip
from domain.envelope import Head
from domain.errors import NotFound, StreamMismatch, Unavailable
from projections import AUDIT
from tests.serving import NOON, TEXTS, Api

PARK = """
    WITH gone AS (
        DELETE FROM configtrail.audit WHERE device_id = 'r1'
        RETURNING position, tenant_id, device_id, event_id
    )
    INSERT INTO configtrail.parked (projection, position, tenant_id, device_id, event_id, type_name)
    SELECT 'audit', position, tenant_id, device_id, event_id, 'SnapshotCreated' FROM gone
"""


@pytest.fixture
async def parked(api: Api) -> System:
    """All events of r1 wait, as when a retry was cut off after the one that was in their way."""
    for text in TEXTS[:2]:
        await api.system.intake.publish("acme", "r1", text, NOON)
        await api.settled()
    await api.system.pool.execute(PARK)
    return api.system


class Late(JetStreamSource):
    """Whoever asks it where a branch ends is always told too late."""

    asked = 0

    async def branch_head(self, tenant_id: str, device_id: str) -> Head:
        self.asked += 1
        return Head()


async def test_a_skip_before_which_others_always_write_is_given_up(parked: System) -> None:
    first, *_ = await waiting(parked)
    late = Late(parked.nc, parked.js)
    beside = dataclasses.replace(parked, source=late)
    with pytest.raises(Unavailable, match="others always wrote first; try again"):
        await skip(beside, AUDIT, first, actor="user:a", reason=None)
    assert late.asked == TRIES
    assert (await skip(parked, AUDIT, first, actor="user:a", reason=None)).left == 0


async def test_what_a_retry_left_over_that_was_cut_off_can_be_retried(parked: System) -> None:
    first, *others = await waiting(parked)
    assert (await parked_at(parked, AUDIT, first)).error is None
    for position in (*others, first - 1):
        with pytest.raises(NotFound):
            await parked_at(parked, AUDIT, position)
    # With it the others come in.
    assert (await skip(parked, AUDIT, first, actor="user:a", reason=None)).left == 0
    assert await waiting(parked) == []


async def waiting(system: System) -> list[int]:
    found = await system.pool.fetch("SELECT position FROM configtrail.parked ORDER BY position")
    return [position for (position,) in found]


async def test_nothing_is_skipped_in_rows_of_another_stream(parked: System) -> None:
    await parked.pool.execute(
        "UPDATE configtrail.checkpoints SET stream_created = '2020-01-01'"
        " WHERE projection = 'audit'"
    )
    head = await parked.events.head()
    with pytest.raises(StreamMismatch):
        await skip(parked, AUDIT, (await waiting(parked))[0], actor="user:a", reason=None)
    assert await parked.events.head() == head
