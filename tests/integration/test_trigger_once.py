"""Manual backups beside each other, cancelled, and of programs that die: each ends once."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from nats.js.errors import NotFoundError

from adapters.embedded.nats import EmbeddedNats
from adapters.roles.supervisor import running
from adapters.roles.trigger import TriggerResult, TriggerService
from adapters.roles.trigger_endings import lease_name
from domain.errors import BackupFailed, BackupTimedOut, BackupUnderWay
from domain.events import ManualBackupTriggered, SnapshotCreated
from tests.claims import another_programs, claimed
from tests.support import eventually
from tests.trigger_stack import (
    ALICE,
    CONFIG,
    DEVICE,
    TENANT,
    TriggerStack,
    collecting,
    collector,
    held_up,
    saying,
)

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


async def test_of_eight_at_once_one_runs_and_all_are_recorded(recording: TriggerStack) -> None:
    inside = asyncio.Event()
    refused: list[bool] = []

    async def answer(request: dict[str, str]) -> object:
        inside.set()
        await eventually(lambda: len(refused) == 7)
        return await collecting(recording, CONFIG)(request)

    async def ask(service: TriggerService) -> str:
        try:
            return (await service.run(TENANT, DEVICE, actor=ALICE)).outcome
        except BackupUnderWay:
            refused.append(True)
            return "409"

    services = [recording.another() for _ in range(8)]
    async with collector(recording, answer):
        answers = await asyncio.gather(*(ask(one) for one in services))
    assert inside.is_set()
    assert sorted(answers) == ["409"] * 7 + ["succeeded"]
    assert sorted(await recording.ends()) == ["locked"] * 7 + ["succeeded"]


@pytest.mark.parametrize("name_trigger", [True, False])
async def test_who_joined_a_backup_has_its_end_and_no_other(
    recording: TriggerStack, name_trigger: bool
) -> None:
    async with held_up(recording, collecting(recording, CONFIG, name_trigger=name_trigger)) as gate:
        first = asyncio.create_task(recording.service.run(TENANT, DEVICE, actor=ALICE))
        await gate.reached.wait()
        joined = asyncio.create_task(
            recording.another().run(TENANT, DEVICE, actor=ALICE, join=True)
        )
        await eventually(partial(_has, recording, ManualBackupTriggered, 2))
        await _told_by_others(recording)
        # Another one that joined gives up: that is no end of the backup either.
        with pytest.raises(BackupTimedOut):
            await recording.another(timeout=0.5).run(TENANT, DEVICE, actor=ALICE, join=True)
        gate.released.set()
        made, same = await asyncio.gather(first, joined)
    assert (same.outcome, same.snapshot_id) == ("succeeded", made.snapshot_id)


async def test_who_joined_a_scheduled_collection_has_its_end_and_no_other(
    recording: TriggerStack,
) -> None:
    async with (
        collector(recording, saying(status="locked")),
        claimed(another_programs(recording.nc.jetstream()), TENANT, DEVICE),
    ):
        joined = asyncio.create_task(recording.service.run(TENANT, DEVICE, actor=ALICE, join=True))
        await eventually(partial(_has, recording, ManualBackupTriggered, 1))
        await _told_by_others(recording, datetime.now(UTC))
        await recording.intake.publish(
            TENANT, DEVICE, CONFIG, datetime.now(UTC), source="scheduled"
        )
        done = await joined
    async with aclosing(recording.events.read_branch(TENANT, DEVICE)) as branch:
        facts = [one.event async for one in branch if isinstance(one.event, SnapshotCreated)]
    assert (done.outcome, done.snapshot_id) == ("succeeded", facts[-1].snapshot_id)
    assert len(facts) == 4


async def _told_by_others(trigger_stack: TriggerStack, at: datetime = LONG_AGO) -> None:
    """Readings that are no part of the collection under way become facts: sent by somebody at a
    time of their choice, imported, and one of a collector that arrives late."""
    others = (("pushed", at), ("imported", at), ("scheduled", LONG_AGO))
    for number, (source, moment) in enumerate(others, 1):
        text = CONFIG.replace("r1", f"other{number}")
        await trigger_stack.intake.publish(TENANT, DEVICE, text, moment, source=source)
        await eventually(partial(_has, trigger_stack, SnapshotCreated, number))


async def _has(trigger_stack: TriggerStack, kind: type[object], count: int) -> bool:
    async with aclosing(trigger_stack.events.read_branch(TENANT, DEVICE)) as branch:
        return sum([isinstance(one.event, kind) async for one in branch]) == count


async def test_backups_of_different_devices_do_not_wait_for_each_other(
    trigger_stack: TriggerStack,
) -> None:
    at_once: list[str] = []

    async def answer(request: dict[str, str]) -> object:
        at_once.append(request["device_id"])
        return {"status": "failed", "error": "no"}

    async with (
        trigger_stack.leases.hold(lease_name(TENANT, "another"), 30),
        collector(trigger_stack, answer),
    ):
        with pytest.raises(BackupFailed):
            await trigger_stack.service.run(TENANT, DEVICE, actor=ALICE)
    assert at_once == [DEVICE]


async def test_being_cancelled_is_recorded(trigger_stack: TriggerStack) -> None:
    async with held_up(trigger_stack, saying(status="failed")) as gate:
        task = asyncio.create_task(trigger_stack.service.run(TENANT, DEVICE, actor=ALICE))
        await gate.reached.wait()
        task.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.released.set()
    assert await trigger_stack.ends() == ["failed"]
    assert "stopped" in ((await trigger_stack.last_end()).message or "")
    assert await trigger_stack.leases.holder(lease_name(TENANT, DEVICE)) is None


async def test_cancelled_at_any_moment_it_ends_once(recording: TriggerStack) -> None:
    """The recorded end is one, wherever in its course the request is hit."""
    outcomes: list[BaseException | TriggerResult] = []
    async with collector(recording, collecting(recording, CONFIG)):
        for turns in range(0, 600, 20):
            task = asyncio.create_task(recording.service.run(TENANT, DEVICE, actor=ALICE))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            outcomes += await asyncio.gather(task, return_exceptions=True)
    assert sum(isinstance(one, asyncio.CancelledError) for one in outcomes) > 5
    assert await _no_backup_is_open(recording)
    assert len(await recording.ends()) == len(outcomes) - 1, "only the first one never began"


async def test_a_lease_taken_away_ends_the_backup_as_failed(trigger_stack: TriggerStack) -> None:
    async with held_up(trigger_stack, saying(status="failed")) as gate:
        task = asyncio.create_task(trigger_stack.service.run(TENANT, DEVICE, actor=ALICE))
        await gate.reached.wait()
        thief = b'{"name": "thief", "token": "t"}'
        subject = f"$KV.CONFIGTRAIL_LEASES.{lease_name(TENANT, DEVICE)}"
        await trigger_stack.nc.jetstream().publish(subject, thief)
        with pytest.raises(BackupFailed, match="lease"):
            await task
        gate.released.set()
    assert await trigger_stack.ends() == ["failed"]


PROGRAM = """
    import asyncio, sys
    from adapters.jetstream.connection import connect
    from tests.trigger_stack import ALICE, DEVICE, TENANT, build

    async def main():
        trigger_stack = await build(await connect(sys.argv[1], name="doomed"), lease_seconds=2)
        await trigger_stack.service.run(TENANT, DEVICE, actor=ALICE)

    asyncio.run(main())
"""


async def test_a_killed_programs_backup_is_ended_by_the_reaper(
    nats_server: EmbeddedNats, trigger_stack: TriggerStack
) -> None:
    async with held_up(trigger_stack, saying(status="failed")) as gate:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            textwrap.dedent(PROGRAM),
            nats_server.url,
            cwd=Path(__file__).parents[2],
        )
        await gate.reached.wait()
        process.kill()
        await process.wait()
        assert await trigger_stack.leases.holder(lease_name(TENANT, DEVICE)) is not None
        async with running({"reaper": trigger_stack.reaper(overdue_after=0).run}):
            await eventually(lambda: _no_backup_is_open(trigger_stack))
        gate.released.set()
    assert await trigger_stack.leases.holder(lease_name(TENANT, DEVICE)) is None
    assert await trigger_stack.ends() == ["interrupted"]
    end = await trigger_stack.last_end()
    assert end.actor == "system:reaper"
    assert "interrupted" in (end.message or "")


async def _no_backup_is_open(trigger_stack: TriggerStack) -> bool:
    return not (await trigger_stack.devices.refresh(TENANT, DEVICE)).open_triggers


async def test_the_reaper_leaves_a_running_backup_alone(recording: TriggerStack) -> None:
    async with held_up(recording, collecting(recording, CONFIG)) as gate:
        task = asyncio.create_task(recording.service.run(TENANT, DEVICE, actor=ALICE))
        await gate.reached.wait()
        # For this one everything is overdue; it looks at the backup, and at others' leases.
        async with running({"reaper": recording.reaper(overdue_after=0).run}):
            await eventually(lambda: _is_watched(recording))
            gate.released.set()
            done = await task
    assert done.outcome == "succeeded"
    assert await recording.ends() == ["succeeded"]


async def _is_watched(trigger_stack: TriggerStack) -> bool:
    try:
        info = await trigger_stack.nc.jetstream().consumer_info(
            "CONFIGTRAIL_EVENTS", "trigger-reaper"
        )
    except NotFoundError:
        return False
    return bool(info.num_ack_pending)
