"""Many recorders, repeated and shuffled deliveries: one fact an observation, in true order."""

from __future__ import annotations

import asyncio
import logging
import random
from bisect import bisect
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import pytest

from adapters.embedded.nats import EmbeddedNats
from domain.device import History
from domain.envelope import StoredEvent
from domain.events import DuplicateSkipped, SnapshotCreated
from tests.acceptance.scenario import START, TENANT, Reading, export
from tests.rig import rig

RECORDERS = 8
DEVICES = 20
EACH = 100
DELIVERIES = 3


def observations(choice: random.Random) -> list[Reading]:
    played = []
    for number in range(DEVICES):
        device = f"router-{number:02d}"
        for step in range(EACH):
            moment = START + timedelta(minutes=step)
            played.append(Reading(device, export(device, choice.randrange(3), moment), moment))
    return played


def assert_judged_by_neighbours(facts: list[StoredEvent], texts: dict[datetime, str]) -> None:
    """In the order in which they were recorded: what a neighbour in time showed is no snapshot."""
    before: list[datetime] = []
    for one in facts:
        place = bisect(before, one.occurred_at)
        neighbours = [texts[moment] for moment in before[max(0, place - 1) : place + 1]]
        new = texts[one.occurred_at] not in neighbours
        assert isinstance(one.event, SnapshotCreated) == new
        before.insert(place, one.occurred_at)


async def test_eight_recorders_record_every_observation_once(
    nats_server: EmbeddedNats, caplog: pytest.LogCaptureFixture
) -> None:
    choice = random.Random(20260301)
    played = observations(choice)
    deliveries = played * DELIVERIES
    choice.shuffle(deliveries)
    caplog.set_level(logging.INFO)
    async with AsyncExitStack() as stack:
        rigs = [await stack.enter_async_context(rig(nats_server.url)) for _ in range(RECORDERS)]
        async with AsyncExitStack() as recorders:
            for one in rigs:
                await recorders.enter_async_context(one.recording(ack_wait=30))
            lanes = asyncio.Semaphore(200)

            async def deliver(reading: Reading) -> None:
                async with lanes:
                    await rigs[0].intake.publish(
                        TENANT, reading.device_id, reading.text, reading.collected_at
                    )

            await asyncio.gather(*(deliver(reading) for reading in deliveries))
            await rigs[0].intake_empty()
        key = (await rigs[0].keyring.tenant(TENANT)).fingerprint_key
        assert key
        total = 0
        for number in range(DEVICES):
            events = await rigs[0].history(TENANT, f"router-{number:02d}")
            facts = [
                one for one in events if isinstance(one.event, SnapshotCreated | DuplicateSkipped)
            ]
            total += len(facts)
            times = sorted(one.occurred_at for one in facts)
            wanted = [START + timedelta(minutes=step) for step in range(EACH)]
            assert times == wanted, "each observation has exactly one fact"
            sightings = History.of(events).sightings
            assert [one.collected_at for one in sightings] == wanted
            # What each sighting shows is what was observed then.
            texts = {
                reading.collected_at: reading.text.partition("\n")[2]
                for reading in played
                if reading.device_id == f"router-{number:02d}"
            }
            assert_judged_by_neighbours(facts, texts)
            shown: dict[str, str] = {}
            for sighting in sightings:
                body = texts[sighting.collected_at]
                assert shown.setdefault(sighting.snapshot.fingerprint, body) == body
        assert total == DEVICES * EACH
        assert await rigs[0].dead_letters.count() == 0
    # On a busy machine a server may be waited for; nothing else is worth a warning.
    told = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert [one for one in told if "NATS does not answer" not in one] == []
