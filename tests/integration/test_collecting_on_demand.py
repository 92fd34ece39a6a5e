"""Manual backups by a collector of ours: asked for, joined, and of other programs over NATS."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime
from functools import partial

import pytest
from nats.aio.msg import Msg

from adapters.collecting.collection import Failed
from adapters.roles.trigger import SUBJECT
from domain.errors import BackupFailed, BackupUnderWay
from domain.events import (
    ManualBackupFinished,
    ManualBackupTriggered,
    SnapshotCreated,
)
from tests.collecting_stack import (
    ALICE,
    DEVICE,
    TENANT,
    Stack,
    collect,
    collecting,
    settings,
)
from tests.doubles.routeros import RouterOSDouble, export_text, serving
from tests.support import eventually


async def test_a_manual_backup_reaches_the_device_and_comes_back_with_the_truth(
    stack: Stack,
) -> None:
    double = RouterOSDouble()
    async with serving(double), collecting(stack, stack.role()):
        await stack.registrar.configure(
            TENANT, DEVICE, settings(double.port, interval_seconds=86_400), actor=ALICE
        )
        await eventually(lambda: stack.count(SnapshotCreated))
        done = await stack.trigger().run(TENANT, DEVICE, actor=ALICE)
        assert done.outcome == "duplicate"
        double.text = export_text("7.14.3", name="renamed")
        changed = await stack.trigger().run(TENANT, DEVICE, actor=ALICE)
        assert changed.outcome == "succeeded"
        double.password = "rotated"
        with pytest.raises(BackupFailed, match="auth_failed"):
            await stack.trigger().run(TENANT, DEVICE, actor=ALICE)
    last = (await stack.rig.history(TENANT, DEVICE))[-1].event
    assert isinstance(last, ManualBackupFinished)
    assert last.outcome == "failed"


async def test_a_manual_backup_joins_a_collection_under_way_when_asked_to(stack: Stack) -> None:
    double = RouterOSDouble(hold=asyncio.Event())
    async with serving(double), collecting(stack, stack.role()):
        await stack.registrar.configure(TENANT, DEVICE, settings(double.port), actor=ALICE)
        await eventually(lambda: len(double.commands) == 2)
        with pytest.raises(BackupUnderWay):
            await stack.trigger().run(TENANT, DEVICE, actor=ALICE)
        joined = [
            asyncio.create_task(stack.trigger().run(TENANT, DEVICE, actor=ALICE, join=True))
            for _ in range(2)
        ]
        await eventually(lambda: _asked(stack, 3))
        assert double.hold is not None
        double.hold.set()
        results = await asyncio.gather(*joined)
    assert double.overlaps == []
    assert {one.outcome for one in results} <= {"succeeded", "duplicate"}
    ends = [one.event for one in await stack.rig.history(TENANT, DEVICE)]
    outcomes = [one.outcome for one in ends if isinstance(one, ManualBackupFinished)]
    assert outcomes[0] == "locked"
    assert set(outcomes[1:]) <= {"succeeded", "duplicate"}


async def answering_as_busy(stack: Stack) -> list[bytes]:
    """Answer as a collector would while it reads the device, which is not to be asked again; what
    was asked."""
    asked: list[bytes] = []

    async def answer(msg: Msg) -> None:
        status = "failed" if asked else "locked"
        asked.append(msg.data)
        await msg.respond(json.dumps({"status": status}).encode())

    await stack.rig.nc.subscribe(SUBJECT, cb=answer)
    return asked


async def test_who_joined_waits_for_a_slow_recorder_and_the_device_is_read_once(
    stack: Stack,
) -> None:
    double = RouterOSDouble(hold=asyncio.Event())
    asked = await answering_as_busy(stack)
    async with serving(double):
        under_way = asyncio.create_task(collect(stack, settings(double.port)))
        await eventually(lambda: len(double.commands) == 2)
        joined = asyncio.create_task(stack.trigger().run(TENANT, DEVICE, actor=ALICE, join=True))
        await eventually(lambda: len(asked) == 1)
        assert double.hold is not None
        double.hold.set()
        await under_way
        # The reading waits on the intake, for longer than a recorder that is not slow would take.
        done, _ = await asyncio.wait([joined], timeout=3)
        assert not done
        async with stack.rig.recording():
            assert (await joined).outcome == "succeeded"
    assert len(asked) == len(double.logins) == 1


async def test_who_joined_a_collection_that_syslog_set_off_has_its_end_and_no_uploads(
    stack: Stack,
) -> None:
    double = RouterOSDouble(hold=asyncio.Event())
    asked = await answering_as_busy(stack)
    async with serving(double), stack.rig.recording():
        under_way = asyncio.create_task(collect(stack, settings(double.port), source="pushed"))
        await eventually(lambda: len(double.commands) == 2)
        joined = asyncio.create_task(stack.trigger().run(TENANT, DEVICE, actor=ALICE, join=True))
        await eventually(lambda: len(asked) == 1)
        sent = export_text("7.14.3", name="sent")
        await stack.rig.intake.publish(TENANT, DEVICE, sent, datetime.now(UTC), source="pushed")
        await eventually(partial(stack.count, SnapshotCreated))
        assert double.hold is not None
        double.hold.set()
        read = await under_way
        done = await joined
    assert done.outcome == "succeeded"
    assert read.event_id == f"observation.{uuid.UUID(done.snapshot_id).hex}"
    assert len(asked) == len(double.logins) == 1


async def test_who_joined_a_collection_that_syslog_set_off_hears_that_it_failed(
    stack: Stack,
) -> None:
    double = RouterOSDouble(fault="truncated", hold=asyncio.Event())
    asked: list[bytes] = []

    async def answer(msg: Msg) -> None:
        asked.append(msg.data)
        await msg.respond(b'{"status": "locked"}')

    await stack.rig.nc.subscribe(SUBJECT, cb=answer)
    async with serving(double):
        under_way = asyncio.create_task(collect(stack, settings(double.port), source="pushed"))
        await eventually(lambda: len(double.commands) == 2)
        joined = asyncio.create_task(stack.trigger().run(TENANT, DEVICE, actor=ALICE, join=True))
        await eventually(lambda: len(asked) == 1)
        assert double.hold is not None
        double.hold.set()
        with pytest.raises(Failed):
            await under_way
        with pytest.raises(BackupFailed, match="broke off"):
            await joined
    assert len(asked) == 1


async def _asked(stack: Stack, times: int) -> bool:
    return await stack.count(ManualBackupTriggered) == times


@pytest.mark.parametrize("own", [{}, {"trigger_id": "ticket-4711"}])
async def test_a_request_of_another_program_on_nats_is_recorded_before_it_is_done(
    stack: Stack, own: dict[str, str]
) -> None:
    double = RouterOSDouble()
    async with serving(double), collecting(stack, stack.role()):
        await stack.registrar.configure(TENANT, DEVICE, settings(double.port), actor=ALICE)
        await eventually(lambda: stack.count(SnapshotCreated))
        body = json.dumps({"tenant_id": TENANT, "device_id": DEVICE, **own}).encode()
        reply = json.loads((await stack.rig.nc.request(SUBJECT, body, timeout=20)).data)
        nonsense = json.loads((await stack.rig.nc.request(SUBJECT, b"{", timeout=20)).data)
    assert reply["status"] == "success"
    assert len(reply["sha256_hash"]) == 64
    assert nonsense["status"] == "failed"
    assert (await stack.kinds())[-3:] == [
        "ManualBackupTriggered",
        "DuplicateSkipped",
        "ManualBackupFinished",
    ]
    asked = (await stack.rig.history(TENANT, DEVICE))[-3].event
    assert asked.actor == "service:nats"


async def test_requests_of_other_programs_on_nats_may_join_a_collection_under_way(
    stack: Stack,
) -> None:
    double = RouterOSDouble(hold=asyncio.Event())
    plain = {"tenant_id": TENANT, "device_id": DEVICE}

    async def ask(**more: object) -> dict[str, str]:
        body = json.dumps({**plain, **more}).encode()
        reply = json.loads((await stack.rig.nc.request(SUBJECT, body, timeout=20)).data)
        assert isinstance(reply, dict)
        return reply

    async with serving(double), collecting(stack, stack.role()):
        await stack.registrar.configure(TENANT, DEVICE, settings(double.port), actor=ALICE)
        await eventually(lambda: len(double.commands) == 2)
        refused = await ask()
        assert (refused["status"], "sha256_hash" in refused) == ("locked", False)
        joined = [asyncio.create_task(ask(join=True, reason="why")) for _ in range(2)]
        await eventually(lambda: _asked(stack, 3))
        assert double.hold is not None
        double.hold.set()
        replies = await asyncio.gather(*joined)
        odd = await ask(join="yes")
    assert [one["status"] for one in replies] == ["success"] * 2
    # Of a text that another collection read nobody here has a hash.
    assert all(one["message"] and "sha256_hash" not in one for one in replies)
    assert odd["status"] == "failed"
    assert len(double.logins) <= 2
    assert double.overlaps == []
    asked = [
        one.event
        for one in await stack.rig.history(TENANT, DEVICE)
        if isinstance(one.event, ManualBackupTriggered)
    ]
    assert [one.reason for one in asked] == [None, "why", "why"]
    assert {one.actor for one in asked} == {"service:nats"}
