"""Manual backups: every request is recorded before it is made, and ends in exactly one fact."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from adapters.crypto.keys import KeyRing, MasterKey
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.connection import connect
from adapters.jetstream.content_store import JetStreamContentStore
from adapters.jetstream.dead_letters import DeadLetters
from adapters.jetstream.event_store import JetStreamEventStore
from adapters.jetstream.intake import IntakePublisher
from adapters.jetstream.key_store import JetStreamKeyStore
from adapters.jetstream.leases import Leases
from adapters.jetstream.streams import ensure_streams
from adapters.observability.metrics import Metrics
from adapters.roles.devices import DeviceRepository
from adapters.roles.reaper import TriggerReaper
from adapters.roles.recorder import Recorder
from adapters.roles.supervisor import running
from adapters.roles.trigger import SUBJECT, TriggerResult, TriggerService
from adapters.roles.trigger_endings import lease_name
from domain.errors import BackupFailed, BackupTimedOut, BackupUnderWay, InvalidInput, Unavailable
from domain.events import (
    BackupOutcome,
    DuplicateSkipped,
    ManualBackupFinished,
    ManualBackupTriggered,
    SnapshotCreated,
)
from tests.support import eventually

TENANT, DEVICE = "acme", "router.1"
ALICE = "user:alice"
CONFIG = "# 2026-03-01 12:00:00 by RouterOS 7.14\n/system identity\nset name=r1\n"
OTHER = CONFIG.replace("r1", "r2")
MASTER = MasterKey(bytes(range(32)))

Answer = Callable[[dict[str, str]], Awaitable[object]]


class Stack(Struct, frozen=True):
    """What a manual backup needs, on a real server, without a recorder."""

    nc: Client
    devices: DeviceRepository
    events: JetStreamEventStore
    leases: Leases
    keyring: KeyRing
    content: JetStreamContentStore
    dead_letters: DeadLetters
    intake: IntakePublisher
    metrics: Metrics
    service: TriggerService

    def another(self, *, timeout: float = 20) -> TriggerService:
        """The service of another program."""
        return TriggerService(
            self.nc,
            devices=DeviceRepository(self.events),
            events=self.events,
            leases=self.leases,
            keyring=self.keyring,
            metrics=self.metrics,
            timeout=timeout,
        )

    def recorder(self) -> Recorder:
        """A recorder for the intake."""
        return Recorder(
            self.nc,
            self.nc.jetstream(),
            devices=self.devices,
            content=self.content,
            keyring=self.keyring,
            dead_letters=self.dead_letters,
            metrics=self.metrics,
            ack_wait=5,
        )

    def reaper(self, *, overdue_after: float) -> TriggerReaper:
        """A reaper of abandoned requests."""
        return TriggerReaper(
            self.nc,
            self.nc.jetstream(),
            devices=DeviceRepository(self.events),
            leases=self.leases,
            dead_letters=self.dead_letters,
            metrics=self.metrics,
            overdue_after=overdue_after,
            ack_wait=5,
        )

    async def ends(self) -> list[BackupOutcome]:
        """How the device's manual backups ended; each has been asked for, and ends once."""
        asked: list[str] = []
        ended: dict[str, BackupOutcome] = {}
        async with aclosing(self.events.read_branch(TENANT, DEVICE)) as branch:
            async for stored in branch:
                match stored.event:
                    case ManualBackupTriggered() as event:
                        asked.append(event.trigger_id)
                    case ManualBackupFinished() as event:
                        assert event.trigger_id in asked
                        assert event.trigger_id not in ended
                        ended[event.trigger_id] = event.outcome
        assert len(set(asked)) == len(asked)
        assert set(ended) == set(asked)
        return list(ended.values())

    async def last_end(self) -> ManualBackupFinished:
        """The newest end of a backup of the device."""
        async with aclosing(self.events.read_branch(TENANT, DEVICE)) as branch:
            found = [one.event async for one in branch]
        return [one for one in found if isinstance(one, ManualBackupFinished)][-1]


async def build(nc: Client, *, lease_seconds: float = 10) -> Stack:
    js = nc.jetstream(timeout=10)
    await ensure_streams(js, replicas=1, intake_max_bytes=1 << 28)
    key_store = JetStreamKeyStore(js)
    await key_store.ensure(1)
    keyring = KeyRing(MASTER, key_store)
    leases = Leases(js)
    await leases.ensure()
    events = JetStreamEventStore(nc, js)
    devices = DeviceRepository(events)
    metrics = Metrics()
    return Stack(
        nc,
        devices,
        events,
        leases,
        keyring,
        JetStreamContentStore(js, keyring),
        DeadLetters(js, keyring),
        IntakePublisher(nc, js),
        metrics,
        TriggerService(
            nc,
            devices=devices,
            events=events,
            leases=leases,
            keyring=keyring,
            metrics=metrics,
            timeout=20,
            lease_seconds=lease_seconds,
        ),
    )


@pytest.fixture
async def stack(nats_server: EmbeddedNats) -> AsyncIterator[Stack]:
    nc = await connect(nats_server.url, name="test")
    yield await build(nc)
    await nc.close()


@pytest.fixture
async def recording(stack: Stack) -> AsyncIterator[Stack]:
    """The stack with a recorder at work."""
    async with running({"recorder": stack.recorder().run}):
        yield stack


@asynccontextmanager
async def collector(stack: Stack, answer: Answer) -> AsyncIterator[None]:
    """Somebody who answers on the subject; an answer that is no bytes is sent as JSON."""

    async def on_request(msg: Msg) -> None:
        found = await answer(json.loads(msg.data))
        await msg.respond(found if isinstance(found, bytes) else json.dumps(found).encode())

    subscription = await stack.nc.subscribe(SUBJECT, cb=on_request)
    await stack.nc.flush()
    yield
    await subscription.unsubscribe()


def collecting(
    stack: Stack, text: str, *, name_trigger: bool = True, said: str | None = None
) -> Answer:
    """A collector that reads `text` from the device and publishes it."""

    async def answer(request: dict[str, str]) -> object:
        await stack.intake.publish(
            request["tenant_id"],
            request["device_id"],
            text,
            datetime.now(UTC),
            source="manual",
            trigger_id=request["trigger_id"] if name_trigger else None,
        )
        return {"status": "success", "sha256_hash": said or sha256(text), "message": "done"}

    return answer


def saying(**reply: object) -> Answer:
    async def answer(request: dict[str, str]) -> object:
        return reply

    return answer


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def asked(stack: Stack) -> bool:
    async with aclosing(stack.events.read_branch(TENANT, DEVICE)) as branch:
        return any([isinstance(one.event, ManualBackupTriggered) async for one in branch])


@pytest.mark.parametrize("name_trigger", [True, False])
async def test_a_new_configuration_is_recorded_and_named(
    recording: Stack, name_trigger: bool
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
    recording: Stack, name_trigger: bool
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
    recording: Stack,
) -> None:
    await recording.intake.publish(TENANT, DEVICE, CONFIG, datetime.now(UTC))
    await eventually(lambda: _is_recorded(recording, SnapshotCreated))
    service = recording.another(timeout=1)
    async with collector(recording, saying(status="success", sha256_hash=sha256(CONFIG))):
        with pytest.raises(BackupTimedOut):
            await service.run(TENANT, DEVICE, actor=ALICE)
    assert await recording.ends() == ["timed_out"]


async def _is_recorded(stack: Stack, kind: type[object]) -> bool:
    async with aclosing(stack.events.read_branch(TENANT, DEVICE)) as branch:
        return any([isinstance(one.event, kind) async for one in branch])


async def test_the_request_is_recorded_before_the_collector_is_asked(stack: Stack) -> None:
    seen: list[bool] = []
    asked_for: list[dict[str, str]] = []

    async def answer(request: dict[str, str]) -> object:
        seen.append(await asked(stack))
        asked_for.append(request)
        return {"status": "failed", "error": "no"}

    async with collector(stack, answer):
        with pytest.raises(BackupFailed):
            await stack.service.run(TENANT, DEVICE, actor=ALICE)
    assert seen == [True]
    assert (await stack.last_end()).trigger_id == asked_for[0]["trigger_id"]
    assert {key: asked_for[0][key] for key in ("device_id", "tenant_id")} == {
        "device_id": DEVICE,
        "tenant_id": TENANT,
    }


async def test_a_failure_is_told_in_the_collectors_words_made_harmless(stack: Stack) -> None:
    words = "auth\x1b[31m failed\r\nfor\tadmin " + "x" * 1000
    async with collector(stack, saying(status="failed", error=words)):
        with pytest.raises(BackupFailed) as failed:
            await stack.service.run(TENANT, DEVICE, actor=ALICE)
    reason = failed.value.reason
    assert reason.startswith("auth [31m failed for admin xxx")
    assert reason.isprintable()
    assert len(reason) <= 300
    assert await stack.ends() == ["failed"]
    assert (await stack.last_end()).message == reason


async def test_without_a_collector_it_fails_at_once(stack: Stack) -> None:
    with pytest.raises(BackupFailed, match="no collector answers"):
        await stack.service.run(TENANT, DEVICE, actor=ALICE)
    assert await stack.ends() == ["failed"]


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
    stack: Stack, body: bytes, rule: str
) -> None:
    async def answer(request: dict[str, str]) -> object:
        return body

    async with collector(stack, answer):
        with pytest.raises(BackupFailed) as failed:
            await stack.service.run(TENANT, DEVICE, actor=ALICE)
    assert rule in failed.value.reason
    assert "secret-word" not in failed.value.reason
    assert await stack.ends() == ["failed"]


async def test_a_collector_that_is_busy_with_the_device_means_locked(stack: Stack) -> None:
    async with collector(stack, saying(status="locked", message="busy")):
        with pytest.raises(BackupUnderWay):
            await stack.service.run(TENANT, DEVICE, actor=ALICE)
    assert await stack.ends() == ["locked"]
    assert await stack.leases.holder(lease_name(TENANT, DEVICE)) is None


async def test_a_collector_that_does_not_answer_means_timed_out(stack: Stack) -> None:
    async def answer(request: dict[str, str]) -> object:
        await released.wait()
        return {"status": "failed"}

    released = asyncio.Event()
    async with collector(stack, answer):
        with pytest.raises(BackupTimedOut, match="did not answer within"):
            await stack.service.run(TENANT, DEVICE, actor=ALICE, timeout=0.5)
        released.set()
    assert await stack.ends() == ["timed_out"]


async def test_a_success_whose_snapshot_never_arrives_is_timed_out(stack: Stack) -> None:
    async with collector(stack, saying(status="success", sha256_hash=sha256(OTHER))):
        with pytest.raises(BackupTimedOut, match="success, but no new reading was recorded"):
            await stack.service.run(TENANT, DEVICE, actor=ALICE, timeout=0.5)
    assert await stack.ends() == ["timed_out"]


async def test_a_false_hash_does_not_hide_the_snapshot_of_this_trigger(recording: Stack) -> None:
    async with collector(recording, collecting(recording, CONFIG, said=sha256(OTHER))):
        done = await recording.service.run(TENANT, DEVICE, actor=ALICE)
    assert done.outcome == "succeeded"


async def test_of_eight_at_once_one_runs_and_all_are_recorded(recording: Stack) -> None:
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


async def test_backups_of_different_devices_do_not_wait_for_each_other(stack: Stack) -> None:
    at_once: list[str] = []

    async def answer(request: dict[str, str]) -> object:
        at_once.append(request["device_id"])
        return {"status": "failed", "error": "no"}

    async with stack.leases.hold(lease_name(TENANT, "another"), 30), collector(stack, answer):
        with pytest.raises(BackupFailed):
            await stack.service.run(TENANT, DEVICE, actor=ALICE)
    assert at_once == [DEVICE]


async def test_being_cancelled_is_recorded(stack: Stack) -> None:
    async def answer(request: dict[str, str]) -> object:
        reached.set()
        await released.wait()
        return {"status": "failed"}

    reached, released = asyncio.Event(), asyncio.Event()
    async with collector(stack, answer):
        task = asyncio.create_task(stack.service.run(TENANT, DEVICE, actor=ALICE))
        await reached.wait()
        task.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        released.set()
    assert await stack.ends() == ["failed"]
    assert "stopped" in ((await stack.last_end()).message or "")
    assert await stack.leases.holder(lease_name(TENANT, DEVICE)) is None


async def test_cancelled_at_any_moment_it_ends_once(recording: Stack) -> None:
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


async def test_a_lease_taken_away_ends_the_backup_as_failed(stack: Stack) -> None:
    async def answer(request: dict[str, str]) -> object:
        reached.set()
        await released.wait()
        return {"status": "failed"}

    reached, released = asyncio.Event(), asyncio.Event()
    async with collector(stack, answer):
        task = asyncio.create_task(stack.service.run(TENANT, DEVICE, actor=ALICE))
        await reached.wait()
        thief = b'{"name": "thief", "token": "t"}'
        subject = f"$KV.CONFIGTRAIL_LEASES.{lease_name(TENANT, DEVICE)}"
        await stack.nc.jetstream().publish(subject, thief)
        with pytest.raises(BackupFailed, match="lease"):
            await task
        released.set()
    assert await stack.ends() == ["failed"]


PROGRAM = """
    import asyncio, sys
    from adapters.jetstream.connection import connect
    from tests.integration.test_trigger import ALICE, DEVICE, TENANT, build

    async def main():
        stack = await build(await connect(sys.argv[1], name="doomed"), lease_seconds=2)
        await stack.service.run(TENANT, DEVICE, actor=ALICE)

    asyncio.run(main())
"""


async def test_a_killed_programs_backup_is_ended_by_the_reaper(
    nats_server: EmbeddedNats, stack: Stack
) -> None:
    async def answer(request: dict[str, str]) -> object:
        reached.set()
        await released.wait()
        return {"status": "failed"}

    reached, released = asyncio.Event(), asyncio.Event()
    async with collector(stack, answer):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            textwrap.dedent(PROGRAM),
            nats_server.url,
            cwd=Path(__file__).parents[2],
        )
        await reached.wait()
        process.kill()
        await process.wait()
        assert await stack.leases.holder(lease_name(TENANT, DEVICE)) is not None
        async with running({"reaper": stack.reaper(overdue_after=0).run}):
            await eventually(lambda: _no_backup_is_open(stack))
        released.set()
    assert await stack.leases.holder(lease_name(TENANT, DEVICE)) is None
    assert await stack.ends() == ["interrupted"]
    end = await stack.last_end()
    assert end.actor == "system:reaper"
    assert "interrupted" in (end.message or "")


async def _no_backup_is_open(stack: Stack) -> bool:
    return not (await stack.devices.refresh(TENANT, DEVICE)).open_triggers


async def test_the_reaper_leaves_a_running_backup_alone(recording: Stack) -> None:
    async def answer(request: dict[str, str]) -> object:
        reached.set()
        await released.wait()
        return await collecting(recording, CONFIG)(request)

    reached, released = asyncio.Event(), asyncio.Event()
    async with collector(recording, answer):
        task = asyncio.create_task(recording.service.run(TENANT, DEVICE, actor=ALICE))
        await reached.wait()
        # For this one everything is overdue; it looks at the backup, and at others' leases.
        async with running({"reaper": recording.reaper(overdue_after=0).run}):
            await eventually(lambda: _is_watched(recording))
            released.set()
            done = await task
    assert done.outcome == "succeeded"
    assert await recording.ends() == ["succeeded"]


async def _is_watched(stack: Stack) -> bool:
    try:
        info = await stack.nc.jetstream().consumer_info("CONFIGTRAIL_EVENTS", "trigger-reaper")
    except NotFoundError:
        return False
    return bool(info.num_ack_pending)


async def test_without_nats_it_is_unavailable(nats_server: EmbeddedNats, stack: Stack) -> None:
    await nats_server.kill()
    with pytest.raises(Unavailable):
        await stack.service.run(TENANT, DEVICE, actor=ALICE)
    await nats_server.start()
    await eventually(lambda: stack.nc.is_connected)


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
    stack: Stack, tenant: str, device: str, actor: str, reason: str | None, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await stack.service.run(tenant, device, actor=actor, reason=reason)
    assert refused.value.field == field
    assert await stack.events.head() == 0
