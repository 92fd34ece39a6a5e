"""A stream that holds two versions of one event: every way of reading it tells today's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing

import asyncpg
import pytest

from adapters.contract.published import FOLDER
from adapters.embedded.nats import EmbeddedNats
from adapters.eventsourcing.devices import device_repository
from adapters.jetstream.pull import Puller
from adapters.jetstream.source import JetStreamSource
from adapters.jetstream.streams import EVENTS
from adapters.jetstream.wire import decode_delivery
from adapters.postgres.pool import open_pool
from domain.decisions import finished, triggered
from domain.device import DeviceState, evolve
from domain.envelope import Head, Selection, StoredEvent
from domain.errors import AppendConflict
from domain.events import ManualBackupFinished
from projections import ALL
from projections.engine import ProjectionWorker
from tests.behaviour.event_store import NOON, failure
from tests.rig import Rig, rig
from tests.support import eventually

DEVICE = "core router.1/ü"


@pytest.fixture
async def both(nats_server: EmbeddedNats) -> AsyncIterator[Rig]:
    """Six events of now, then the end of a backup in version 1 as it was written then, and one in
    version 2."""
    async with rig(nats_server.url) as opened:
        state = DeviceState()

        async def append(event: object) -> None:
            nonlocal state
            assert event is not None
            state = evolve(state, await opened.events.append(event, state.head))  # type: ignore[arg-type]

        for number in range(4):
            await append(failure(number, DEVICE))
        for trigger in ("3f1c", "next"):
            await append(
                triggered("acme", DEVICE, trigger_id=trigger, actor="user:ann", occurred_at=NOON)
            )
        example = json.loads(
            (FOLDER / "golden" / "configtrail.ManualBackupFinished.v1.full.json").read_text()
        )
        body = json.dumps(example["body"]).encode()
        ack = await opened.js.publish(example["subject"], body, headers=example["headers"])
        assert ack.seq == 7
        async with aclosing(opened.events.read_branch("acme", DEVICE, state.head)) as rest:
            async for stored in rest:
                state = evolve(state, stored)
        await append(
            finished(
                state,
                "acme",
                DEVICE,
                trigger_id="next",
                actor="system:reaper",
                outcome="interrupted",
                occurred_at=NOON,
            )
        )
        yield opened


def outcomes(events: list[StoredEvent]) -> list[str]:
    return [one.event.outcome for one in events if isinstance(one.event, ManualBackupFinished)]


WANTED = ["interrupted", "interrupted"]


async def test_the_stream_really_holds_both_versions(both: Rig) -> None:
    written = [await both.js.get_msg(EVENTS, seq) for seq in (7, 8)]
    assert [(one.headers or {})["ce-type"] for one in written] == [
        "configtrail.ManualBackupFinished.v1",
        "configtrail.ManualBackupFinished.v2",
    ]
    assert b'"failed"' in (written[0].data or b"")


async def test_a_branch_the_whole_and_a_selection_are_read_as_of_today(both: Rig) -> None:
    assert outcomes(await both.history("acme", DEVICE)) == WANTED
    ends = Selection(types=("ManualBackupFinished",))
    for where in (Selection(), ends, Selection(tenant_id="acme", device_id=DEVICE)):
        async with aclosing(both.events.read(where=where)) as batches:
            assert outcomes([one async for batch in batches for one in batch]) == WANTED
        async with aclosing(both.events.follow(where=where)) as following:
            found: list[StoredEvent] = []
            async for batch in following:
                found += batch
                if found[-1].position == 8:
                    break
            assert outcomes(found) == WANTED


async def test_a_conflict_tells_the_newer_events_as_of_today(both: Rig) -> None:
    with pytest.raises(AppendConflict) as conflict:
        await both.events.append(failure(9, DEVICE), Head(6, 6))
    assert outcomes(list(conflict.value.newer)) == WANTED


async def test_a_durable_consumer_decodes_as_of_today(both: Rig) -> None:
    await both.js.add_consumer(
        EVENTS, durable_name="ends", filter_subject="configtrail.*.*.ManualBackupFinished"
    )
    async with Puller(both.nc, EVENTS, "ends") as puller:
        messages = await puller.next()
        while len(messages) < 2:
            messages += await puller.next()
    assert outcomes([decode_delivery(msg) for msg in messages]) == WANTED


async def test_the_library_sees_devices_as_of_today(both: Rig, nats_server: EmbeddedNats) -> None:
    def look() -> list[StoredEvent]:
        with device_repository(nats_server.url, "acme") as repository:
            return list(repository.event_store.get(DEVICE))  # type: ignore[arg-type]

    assert outcomes(await asyncio.to_thread(look)) == WANTED


async def test_projections_write_rows_as_of_today(both: Rig, postgres_dsn: str) -> None:
    async with open_pool(postgres_dsn) as pool:
        source = JetStreamSource(both.nc, both.js)
        workers = [ProjectionWorker(pool, source, one) for one in ALL]
        running = [asyncio.create_task(worker.run()) for worker in workers]
        ended = "SELECT array_agg(outcome) FROM configtrail.triggers"
        told = (
            "SELECT array_agg(details::jsonb->>'outcome') FROM configtrail.audit"
            " WHERE action = 'config_backup_manual_finished'"
        )

        async def rows() -> bool:
            try:
                return [await pool.fetchval(one) for one in (ended, told)] == [WANTED, WANTED]
            except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
                return False

        await eventually(rows)
        for task in running:
            task.cancel()
        await asyncio.wait(running)
