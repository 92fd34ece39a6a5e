"""Manual backups: every request is recorded before it is made, and ends in exactly one fact."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime

import pytest

from adapters.embedded.nats import EmbeddedNats
from adapters.roles.trigger_endings import lease_name
from domain.errors import BackupFailed, BackupTimedOut, BackupUnderWay, InvalidInput, Unavailable
from domain.events import (
    DuplicateSkipped,
    ManualBackupFinished,
    ManualBackupTriggered,
    SnapshotCreated,
)
from tests.support import eventually
from tests.trigger_stack import (
    ALICE,
    CONFIG,
    DEVICE,
    OTHER,
    TENANT,
    TriggerStack,
    asked,
    collecting,
    collector,
    is_recorded,
    saying,
    sha256,
)


@pytest.mark.parametrize("name_trigger", [True, False])
async def test_a_new_configuration_is_recorded_and_named(
    recording: TriggerStack, name_trigger: bool
) -> None:
    async with collector(recording, collecting(recording, CONFIG, name_trigger=name_trigger)):
        done = await recording.service.run(TENANT, DEVICE, actor=ALICE, reason="before the change")
    assert (done.status, done.outcome, done.message) == ("success", "succeeded", "done")
    assert done.sha256_hash == sha256(CONFIG)
    async with aclosing(recording.events.read_branch(TENANT, DEVICE)) as branch:
        stored = [one async for one in branch]
    first, fact, end = (one.event for one in stored)
    assert isinstance(first, ManualBackupTriggered)
    assert (first.actor, first.reason, first.trigger_id) == (
        ALICE,
        "before the change",
        done.trigger_id,
    )
    assert isinstance(fact, SnapshotCreated)
    assert fact.snapshot_id == done.snapshot_id
    assert isinstance(end, ManualBackupFinished)
    assert (end.outcome, end.snapshot_id) == ("succeeded", done.snapshot_id)
    assert done.position == stored[-1].position
    assert {one.correlation_id for one in (stored[0], stored[-1])} == {done.trigger_id}


@pytest.mark.parametrize("name_trigger", [True, False])
async def test_an_unchanged_configuration_is_a_duplicate(
    recording: TriggerStack, name_trigger: bool
) -> None:
    async with collector(recording, collecting(recording, CONFIG, name_trigger=name_trigger)):
        first = await recording.service.run(TENANT, DEVICE, actor=ALICE)
        second = await recording.service.run(TENANT, DEVICE, actor=ALICE)
    assert (second.status, second.outcome) == ("success", "duplicate")
    assert second.snapshot_id == first.snapshot_id
    assert await recording.ends() == ["succeeded", "duplicate"]
    async with aclosing(recording.events.read_branch(TENANT, DEVICE)) as branch:
        kinds = [type(one.event) async for one in branch]
    assert kinds.count(DuplicateSkipped) == 1


async def test_an_earlier_reading_of_the_same_text_is_not_taken_for_this_one(
    recording: TriggerStack,
) -> None:
    await recording.intake.publish(TENANT, DEVICE, CONFIG, datetime.now(UTC))
    await eventually(lambda: is_recorded(recording, SnapshotCreated))
    service = recording.another(timeout=1)
    async with collector(recording, saying(status="success", sha256_hash=sha256(CONFIG))):
        with pytest.raises(BackupTimedOut):
            await service.run(TENANT, DEVICE, actor=ALICE)
    assert await recording.ends() == ["timed_out"]


async def test_the_request_is_recorded_before_the_collector_is_asked(
    trigger_stack: TriggerStack,
) -> None:
    seen: list[bool] = []
    asked_for: list[dict[str, str]] = []

    async def answer(request: dict[str, str]) -> object:
        seen.append(await asked(trigger_stack))
        asked_for.append(request)
        return {"status": "failed", "error": "no"}

    async with collector(trigger_stack, answer):
        with pytest.raises(BackupFailed):
            await trigger_stack.service.run(TENANT, DEVICE, actor=ALICE)
    assert seen == [True]
    assert (await trigger_stack.last_end()).trigger_id == asked_for[0]["trigger_id"]
    assert {key: asked_for[0][key] for key in ("device_id", "tenant_id")} == {
        "device_id": DEVICE,
        "tenant_id": TENANT,
    }


async def test_a_failure_is_told_in_the_collectors_words_made_harmless(
    trigger_stack: TriggerStack,
) -> None:
    words = "auth\x1b[31m failed\r\nfor\tadmin " + "x" * 1000
    async with collector(trigger_stack, saying(status="failed", error=words)):
        with pytest.raises(BackupFailed) as failed:
            await trigger_stack.service.run(TENANT, DEVICE, actor=ALICE)
    reason = failed.value.reason
    assert reason.startswith("auth [31m failed for admin xxx")
    assert reason.isprintable()
    assert len(reason) <= 300
    assert await trigger_stack.ends() == ["failed"]
    assert (await trigger_stack.last_end()).message == reason


async def test_without_a_collector_it_fails_at_once(trigger_stack: TriggerStack) -> None:
    with pytest.raises(BackupFailed, match="no collector answers"):
        await trigger_stack.service.run(TENANT, DEVICE, actor=ALICE)
    assert await trigger_stack.ends() == ["failed"]


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"{", "it is not JSON"),
        (b"\xff", "it is not JSON"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `status`"),
        (b'{"status": 7}', "status"),
        (b'{"status": "secret-word"}', "status must be success, failed or locked"),
        (b'{"status": "success", "sha256_hash": "secret-word"}', "sha256_hash must be"),
        (b'{"status": "success", "message": ["secret-word"]}', "message"),
        (b'{"status": "success", "message": "' + b"secret-word" * 8000 + b'"}', "65536 bytes"),
    ],
)
async def test_an_answer_that_breaks_the_contract_is_a_failure(
    trigger_stack: TriggerStack, body: bytes, rule: str
) -> None:
    async def answer(request: dict[str, str]) -> object:
        return body

    async with collector(trigger_stack, answer):
        with pytest.raises(BackupFailed) as failed:
            await trigger_stack.service.run(TENANT, DEVICE, actor=ALICE)
    assert rule in failed.value.reason
    assert "secret-word" not in failed.value.reason
    assert await trigger_stack.ends() == ["failed"]


async def test_a_collector_that_is_busy_with_the_device_means_locked(
    trigger_stack: TriggerStack,
) -> None:
    async with collector(trigger_stack, saying(status="locked", message="busy")):
        with pytest.raises(BackupUnderWay):
            await trigger_stack.service.run(TENANT, DEVICE, actor=ALICE)
    assert await trigger_stack.ends() == ["locked"]
    assert await trigger_stack.leases.holder(lease_name(TENANT, DEVICE)) is None


async def test_a_collector_that_does_not_answer_means_timed_out(
    trigger_stack: TriggerStack,
) -> None:
    async def answer(request: dict[str, str]) -> object:
        await released.wait()
        return {"status": "failed"}

    released = asyncio.Event()
    async with collector(trigger_stack, answer):
        with pytest.raises(BackupTimedOut, match="did not answer within"):
            await trigger_stack.service.run(TENANT, DEVICE, actor=ALICE, timeout=0.5)
        released.set()
    assert await trigger_stack.ends() == ["timed_out"]


async def test_a_success_whose_snapshot_never_arrives_is_timed_out(
    trigger_stack: TriggerStack,
) -> None:
    async with collector(trigger_stack, saying(status="success", sha256_hash=sha256(OTHER))):
        with pytest.raises(BackupTimedOut, match="success, but no new reading was recorded"):
            await trigger_stack.service.run(TENANT, DEVICE, actor=ALICE, timeout=0.5)
    assert await trigger_stack.ends() == ["timed_out"]


async def test_a_false_hash_does_not_hide_the_snapshot_of_this_trigger(
    recording: TriggerStack,
) -> None:
    async with collector(recording, collecting(recording, CONFIG, said=sha256(OTHER))):
        done = await recording.service.run(TENANT, DEVICE, actor=ALICE)
    assert done.outcome == "succeeded"


async def test_without_nats_it_is_unavailable(
    nats_server: EmbeddedNats, trigger_stack: TriggerStack
) -> None:
    await nats_server.kill()
    with pytest.raises(Unavailable):
        await trigger_stack.service.run(TENANT, DEVICE, actor=ALICE)
    await nats_server.start()
    await eventually(lambda: trigger_stack.nc.is_connected)


@pytest.mark.parametrize(
    ("tenant", "device", "actor", "reason", "field"),
    [
        ("a b", DEVICE, ALICE, None, "tenant_id"),
        (TENANT, "", ALICE, None, "device_id"),
        (TENANT, DEVICE, "alice", None, "actor"),
        (TENANT, DEVICE, ALICE, "x" * 501, "reason"),
        (TENANT, DEVICE, ALICE, "two\nlines", "reason"),
    ],
)
async def test_bad_input_is_refused_before_anything_is_recorded(
    trigger_stack: TriggerStack,
    tenant: str,
    device: str,
    actor: str,
    reason: str | None,
    field: str,
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await trigger_stack.service.run(tenant, device, actor=actor, reason=reason)
    assert refused.value.field == field
    assert await trigger_stack.events.head() == 0
