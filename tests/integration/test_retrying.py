"""Letters about work that failed are settled by doing the work, not by sending anything again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from adapters.composition import System, open_system, roles
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.content_store import CONTENT
from adapters.retrying import retry
from adapters.roles import supervisor
from adapters.settings import Settings
from domain.errors import ContentMissing, InvalidInput, NotFound
from domain.events import DiffGenerated
from tests.acceptance.scenario import all_events, export
from tests.support import eventually

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
async def system(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: object
) -> AsyncIterator[System]:
    """Two snapshots are recorded, and no differ runs."""
    settings = Settings.model_validate(
        {"nats_url": nats_server.url, "postgres_dsn": postgres_dsn, "data_dir": tmp_path}
    )
    async with open_system(settings) as opened:
        async with supervisor.running({"recorder": roles(opened)["recorder"]}):
            for revision in (1, 2):
                moment = NOON + timedelta(hours=revision)
                await opened.intake.publish("acme", "r1", export("r1", revision, moment), moment)

            async def recorded() -> bool:
                return await opened.events.head() == 2

            await eventually(recorded)
        yield opened


async def failed(system: System, letter_id: str) -> int:
    """The letter that the differ writes when it gives up."""
    return await system.dead_letters.put(
        "differ",
        "configtrail.acme.r1.SnapshotCreated",
        b"{}",
        field="snapshot",
        rule="its difference could not be worked out",
        tenant_id=None,
        device_id=None,
        headers=None,
        dedupe_id=letter_id,
    )


async def diffs(system: System) -> int:
    return sum(isinstance(one.event, DiffGenerated) for one in await all_events(system.events))


async def test_a_difference_that_failed_is_worked_out_and_its_letter_settled(
    system: System,
) -> None:
    letter = await failed(system, "differ.2")
    assert await retry(system, letter) is None
    assert await diffs(system) == 1
    assert await system.dead_letters.count() == 0
    with pytest.raises(NotFound):
        await retry(system, letter)


async def test_a_letter_whose_work_fails_again_stays(system: System) -> None:
    letter = await failed(system, "differ.2")
    await system.js.delete_msg(CONTENT, 1)
    with pytest.raises(ContentMissing):
        await retry(system, letter)
    assert await diffs(system) == 0
    assert await system.dead_letters.count() == 1


async def test_a_letter_about_an_event_that_is_not_there_is_refused(system: System) -> None:
    letter = await failed(system, "differ.99")
    with pytest.raises(InvalidInput, match="event 99"):
        await retry(system, letter)
    assert await system.dead_letters.count() == 1
