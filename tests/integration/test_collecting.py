"""Collections, whole: from the device through the intake to the facts, and who else is told."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import asyncssh
import pytest
from nats.aio.msg import Msg

from adapters.collecting import collection, once, reported
from adapters.collecting.collection import Collected, DeviceCollector, Failed, NotDue
from adapters.collecting.credentials import BUCKET as CREDENTIALS
from adapters.collecting.credentials import Credentials, Stored
from adapters.collecting.planned import now_utc
from adapters.collecting.schedule import Attempt
from adapters.collecting.vault import Vault
from adapters.composition import System
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.buckets import Bucket
from adapters.roles.collector import Collector
from adapters.roles.devices import DeviceRepository
from adapters.roles.supervisor import running
from adapters.roles.trigger import SUBJECT
from adapters.ssh.failures import DeviceUnread
from adapters.ssh.jumping import JumpHosts
from adapters.ssh.reading import Reading, read_device
from adapters.ssh.target import Target
from domain.errors import BackupFailed, BackupUnderWay, LeaseHeld, LeaseLost, NotFound
from domain.events import (
    CollectionFailed,
    CollectionRecovered,
    DeviceConfigured,
    DeviceSettings,
    DuplicateSkipped,
    HostKeyChanged,
    HostKeyPinned,
    HostKeyReleased,
    ManualBackupFinished,
    ManualBackupTriggered,
    SnapshotCreated,
    Source,
)
from tests.claims import another_programs, claimed
from tests.collecting_stack import (
    ALICE,
    DEVICE,
    PASSWORD,
    TENANT,
    Stack,
    only,
    opened_stack,
    settings,
)
from tests.doubles.jump import Forward, forwarding
from tests.doubles.routeros import RouterOSDouble, export_text, serving, silent_host
from tests.support import eventually


@pytest.fixture
async def stack(nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Stack]:
    async with opened_stack(nats_server.url, tmp_path) as opened:
        yield opened


async def collect(
    stack: Stack, wanted: DeviceSettings, device: str = DEVICE, source: Source = "scheduled"
) -> Collected:
    return await stack.collecting().collect(TENANT, device, wanted, only(), source=source)


@asynccontextmanager
async def hanging_host() -> AsyncIterator[tuple[int, list[asyncio.StreamWriter]]]:
    """The port of a host that answers nothing until it goes away, and who asked it."""
    asked: list[asyncio.StreamWriter] = []

    async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(writer)

    server = await asyncio.start_server(taken, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()
        for writer in asked:
            writer.close()


@asynccontextmanager
async def collecting(stack: Stack, *roles: Collector) -> AsyncIterator[None]:
    """Collectors at work beside a recorder."""
    named = {f"collector {number}": role.run for number, role in enumerate(roles)}
    async with stack.rig.recording(), running(named):
        yield


async def test_a_reading_of_a_megabyte_becomes_a_fact_and_the_next_a_confirmation(
    stack: Stack,
) -> None:
    text = export_text("7.14.3", size=1_200_000)
    async with serving(RouterOSDouble(text=text)) as double, stack.rig.recording():
        done = await collect(stack, settings(double.port))
        await stack.rig.intake_empty()
        again = await collect(stack, settings(double.port))
        await stack.rig.intake_empty()
    stored = await stack.rig.history(TENANT, DEVICE)
    assert await stack.kinds() == ["HostKeyPinned", "SnapshotCreated", "DuplicateSkipped"]
    assert [one.event_id for one in stored[1:]] == [done.event_id, again.event_id]
    fact = stored[1].event
    assert isinstance(fact, SnapshotCreated)
    assert (fact.platform, fact.os_version, fact.source) == ("routeros", "7.14.3", "scheduled")
    assert await stack.rig.content.get(TENANT, DEVICE, "snapshot", fact.content) == text.encode()


async def test_another_host_key_blocks_the_device_until_a_person_releases_it(
    stack: Stack,
) -> None:
    first = RouterOSDouble()
    async with serving(first):
        await collect(stack, settings(first.port))
    impostor = RouterOSDouble(port=first.port)
    async with serving(impostor):
        for _ in range(3):
            with pytest.raises(Failed) as failed:
                await collect(stack, settings(impostor.port))
            assert failed.value.kind == "host_key_changed"
        assert (impostor.logins, impostor.passwords) == ([], [])
        assert await stack.kinds() == ["HostKeyPinned", "HostKeyChanged", "CollectionFailed"]
        shown = impostor.host_key.get_fingerprint()
        changed = (await stack.rig.history(TENANT, DEVICE))[1].event
        assert isinstance(changed, HostKeyChanged)
        assert changed.fingerprint == shown
        assert changed.pinned_fingerprint == first.host_key.get_fingerprint()
        await stack.registrar.release_host_key(
            TENANT,
            DEVICE,
            actor=ALICE,
            reason="new board",
            expected_fingerprint=f"SHA256:{'x' * 43}",
        )
        with pytest.raises(Failed) as failed:
            await collect(stack, settings(impostor.port))
        assert (failed.value.kind, impostor.passwords) == ("host_key_changed", [])
        assert f"than the expected SHA256:{'x' * 43}" in failed.value.reason
        assert "pinned" not in failed.value.reason
        with pytest.raises(Failed, match="than the expected one") as failed:
            await collect(stack, settings(impostor.port))
        assert "pinned" not in failed.value.reason
        await stack.registrar.release_host_key(
            TENANT, DEVICE, actor=ALICE, reason="new board", expected_fingerprint=shown
        )
        await collect(stack, settings(impostor.port))
    events = [one.event for one in await stack.rig.history(TENANT, DEVICE)]
    released = [one for one in events if isinstance(one, HostKeyReleased)]
    assert {(one.actor, one.reason) for one in released} == {(ALICE, "new board")}
    pins = [one for one in events if isinstance(one, HostKeyPinned)]
    assert [base64.b64decode(one.public_key) for one in pins] == [
        first.host_key.public_data,
        impostor.host_key.public_data,
    ]
    assert isinstance(events[-1], CollectionRecovered)


async def test_a_host_key_of_a_failed_login_is_pinned_too(stack: Stack) -> None:
    async with serving(RouterOSDouble(password="another")) as double:
        with pytest.raises(Failed):
            await collect(stack, settings(double.port))
    assert await stack.kinds() == ["HostKeyPinned", "CollectionFailed"]


async def test_a_host_key_can_only_be_released_where_there_is_one(stack: Stack) -> None:
    with pytest.raises(NotFound):
        await stack.registrar.release_host_key(
            TENANT, DEVICE, actor=ALICE, reason="why not", expected_fingerprint=None
        )


async def test_a_failure_is_told_once_and_so_is_its_end(stack: Stack) -> None:
    double = RouterOSDouble(fault="truncated", text=export_text("7.14.3", size=200_000))
    async with serving(double):
        for number in (1, 2, 3):
            with pytest.raises(Failed) as failed:
                await collect(stack, settings(double.port))
            assert failed.value.record.last == await stack.schedule.last(TENANT, DEVICE)
            assert failed.value.record.last is not None
            assert failed.value.record.last.failures == number
        for fault in ("no_permission", "truncated", "no_permission", None, None, "truncated"):
            double.fault = fault
            if fault is None:
                await collect(stack, settings(double.port))
                continue
            with pytest.raises(Failed):
                await collect(stack, settings(double.port))
    events = [one.event for one in await stack.rig.history(TENANT, DEVICE)]
    told = [one for one in events if isinstance(one, CollectionFailed)]
    assert [(one.kind, one.attempt) for one in told] == [
        ("incomplete", 1),
        ("command_refused", 4),
        ("incomplete", 1),
    ]
    ends = [one for one in events if isinstance(one, CollectionRecovered)]
    assert [(one.kind, one.failures) for one in ends] == [("command_refused", 6)]
    assert await stack.schedule.last(TENANT, DEVICE) is not None


def break_reading(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """Reading this device ends with an error that nobody thought of."""

    async def broken(target: Target, *given: Any, **named: Any) -> Reading:
        if target.name == device:
            raise RuntimeError("words of the device")
        return await read_device(target, *given, **named)

    monkeypatch.setattr(collection, "read_device", broken)


async def test_an_unexpected_error_of_a_reading_is_told_as_a_failure_of_its_device(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_reading(monkeypatch, DEVICE)
    async with serving(RouterOSDouble()) as double, collecting(stack, stack.role()):
        await stack.registrar.configure(TENANT, DEVICE, settings(double.port), actor=ALICE)
        await eventually(lambda: stack.count(CollectionFailed))
    events = [one.event for one in await stack.rig.history(TENANT, DEVICE)]
    told = next(one for one in events if isinstance(one, CollectionFailed))
    assert told.kind == "protocol"
    assert "RuntimeError" in told.message
    assert "words" not in told.message
    last = await stack.schedule.last(TENANT, DEVICE)
    assert last is not None
    assert last.failures == 1
    logged = next(one for one in caplog.records if one.name == collection.__name__)
    assert logged.exc_info is not None
    assert isinstance(logged.exc_info[1], RuntimeError)


async def test_an_unexpected_error_of_a_reading_leaves_the_other_readings_alone(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_reading(monkeypatch, "r2")
    results = await collected_once(stack, stack.collecting())
    assert [(one.device_id, one.outcome, one.kind) for one in results] == [
        ("r1", "new", None),
        ("r2", "failed", "protocol"),
        ("r3", "new", None),
    ]


async def test_an_unexpected_error_beside_a_reading_leaves_the_others_alone_too(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collector = stack.collecting()
    collect = collector.collect

    async def broken(tenant_id: str, device_id: str, *given: Any, **named: Any) -> Collected:
        if device_id == "r2":
            raise RuntimeError("words of the device")
        return await collect(tenant_id, device_id, *given, **named)

    monkeypatch.setattr(collector, "collect", broken)
    results = await collected_once(stack, collector)
    assert [(one.device_id, one.outcome, one.kind) for one in results] == [
        ("r1", "new", None),
        ("r2", "failed", "unexpected"),
        ("r3", "new", None),
    ]
    assert "words" not in (results[1].message or "")
    logged = next(one for one in caplog.records if one.name == once.__name__)
    assert logged.exc_info is not None


async def test_once_passes_over_what_somebody_else_reads_and_says_until_when(
    stack: Stack,
) -> None:
    async with claimed(another_programs(stack.rig.js), TENANT, "r2"):
        results = await collected_once(stack, stack.collecting())
    assert [one.outcome for one in results] == ["new", "busy", "new"]
    assert results[1].message == (
        "another is collecting it; if that was killed, it is free again within 20 s"
    )


async def collected_once(stack: Stack, collector: DeviceCollector) -> list[once.Result]:
    """Three devices, one after the other."""
    async with serving(RouterOSDouble()) as double, collecting(stack):
        return await once.collect_once(
            cast(System, stack.rig),  # of a system it needs what the rig has
            collector,
            TENANT,
            {name: settings(double.port) for name in ("r1", "r2", "r3")},
            only=frozenset(),
            at_once=1,
            told=lambda stage, number: None,
            registered=False,
        )


async def test_no_device_is_collected_twice_at_once(stack: Stack) -> None:
    double = RouterOSDouble(hold=asyncio.Event())
    async with serving(double):
        first = asyncio.create_task(collect(stack, settings(double.port)))
        await eventually(lambda: len(double.commands) == 2)
        with pytest.raises(LeaseHeld):
            await collect(stack, settings(double.port))
        assert double.hold is not None
        double.hold.set()
        await first
    assert double.overlaps == []


async def test_who_lost_the_lease_sends_nothing(stack: Stack) -> None:
    double = RouterOSDouble(hold=asyncio.Event())
    async with serving(double):
        slow = asyncio.create_task(
            stack.collecting().collect(
                TENANT, DEVICE, settings(double.port), only(), source="scheduled"
            )
        )
        await eventually(lambda: len(double.commands) == 2)
        # As when the program was stopped for longer than the lease, and another took over.
        await stack.rig.js.purge_stream("KV_CONFIGTRAIL_LEASES")
        async with claimed(another_programs(stack.rig.js), TENANT, DEVICE):
            assert double.hold is not None
            double.hold.set()
            with pytest.raises(LeaseLost):
                await slow
    info = await stack.rig.js.stream_info("CONFIGTRAIL_INTAKE")
    assert info.state.messages == 0


async def test_what_another_program_has_just_read_is_not_due(stack: Stack) -> None:
    async with serving(RouterOSDouble()) as double:
        await collect(stack, settings(double.port))
        with pytest.raises(NotDue) as found:
            await stack.collecting().collect(
                TENANT,
                DEVICE,
                settings(double.port),
                only(),
                source="scheduled",
                is_due=lambda last, _: last is None,
            )
    assert isinstance(found.value.record.last, Attempt)


async def test_a_credential_lies_sealed_and_is_bound_to_its_name(stack: Stack) -> None:
    bucket = Bucket(stack.rig.js, CREDENTIALS)
    raw = await bucket.get(TENANT, "main")
    assert raw is not None
    assert PASSWORD.encode() not in raw
    assert await stack.store.names(TENANT) == ["main"]
    await bucket.put(raw, TENANT, "other")
    with pytest.raises(Failed, match="store:other") as failed:
        await collect(stack, settings(1, credential="store:other"))
    assert failed.value.kind == "no_credential"
    await stack.store.remove(TENANT, "main")
    assert await stack.store.get(TENANT, "main") is None


@pytest.mark.parametrize(
    "reference", ["env:CONFIGTRAIL_MASTER_KEY", "env:HOME", "file:/etc/hostname", "file:../x"]
)
async def test_an_inventory_can_only_name_secrets_that_are_meant_for_it(
    stack: Stack, reference: str
) -> None:
    async with serving(RouterOSDouble()) as double:
        with pytest.raises(Failed) as failed:
            await collect(stack, settings(double.port, username="u", credential=reference))
    assert failed.value.kind == "no_credential"
    assert double.passwords == []


async def test_a_file_in_the_folder_of_credentials_is_a_secret(stack: Stack) -> None:
    secret = json.dumps({"username": "backup", "password": PASSWORD})
    (stack.folder / "routers").write_text(secret)
    async with serving(RouterOSDouble()) as double:
        await collect(stack, settings(double.port, credential="file:routers"))
    assert double.passwords == [PASSWORD]


@pytest.mark.parametrize("trusted", [False, True])
async def test_what_is_no_plain_file_is_no_credential(stack: Stack, trusted: bool) -> None:
    """Opening a named pipe waits for somebody who writes: for ever, and so does the program."""
    os.mkfifo(stack.folder / "pipe")
    (stack.folder / "folder").mkdir()
    credentials = Credentials(stack.store, None, stack.folder, trusted=trusted)
    for place in ("pipe", "folder"):
        with pytest.raises(DeviceUnread, match="no plain file") as failed:
            await credentials.find(TENANT, f"file:{place}", None)
        assert failed.value.kind == "no_credential"


async def test_the_time_of_a_reading_bounds_the_lookup_of_its_credential(stack: Stack) -> None:
    async with silent_host() as port:
        vault = Vault(f"http://127.0.0.1:{port}", "token")
        collector = DeviceCollector(
            devices=DeviceRepository(stack.rig.events),
            credentials=Credentials(stack.store, vault, stack.folder),
            schedule=stack.schedule,
            leases=stack.leases,
            intake=stack.rig.intake,
            keyring=stack.rig.keyring,
        )
        wanted = settings(1, credential="vault:secret/routers", timeout_seconds=1)
        with pytest.raises(Failed, match="was not to be had within 1 s") as failed:
            await collector.collect(TENANT, DEVICE, wanted, only(), source="scheduled")
    assert failed.value.kind == "no_credential"


async def test_a_vault_that_hangs_keeps_no_other_device_from_its_login(stack: Stack) -> None:
    """A login needs a thread of the event loop for a moment: here there is but one."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    (stack.folder / "routers").write_text(json.dumps({"username": "b", "password": PASSWORD}))
    async with hanging_host() as (port, asked), serving(RouterOSDouble()) as double:
        vault = Vault(f"http://127.0.0.1:{port}", "token")
        credentials = Credentials(stack.store, vault, stack.folder)
        hanging = [
            asyncio.create_task(credentials.find(TENANT, f"vault:secret/{number}", None))
            for number in range(30)
        ]
        await eventually(lambda: asked)
        async with asyncio.timeout(20):
            await collect(stack, settings(double.port))
            await collect(stack, settings(double.port, credential="file:routers"))
        assert not any(one.done() for one in hanging)
        for one in hanging:
            one.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_the_inventory_is_followed_without_a_restart(stack: Stack) -> None:
    async with serving(RouterOSDouble()) as double, collecting(stack, stack.role()):
        await stack.registrar.configure(TENANT, DEVICE, settings(double.port), actor=ALICE)
        await eventually(lambda: stack.count(SnapshotCreated))
        await stack.registrar.configure(
            TENANT, "r2", settings(double.port, enabled=False), actor=ALICE
        )
        await stack.registrar.configure(TENANT, "r2", settings(double.port), actor=ALICE)
        await eventually(lambda: stack.count(SnapshotCreated, "r2"))
        await stack.registrar.retire(TENANT, DEVICE, actor=ALICE, reason="sold")
        with pytest.raises(BackupFailed, match="not in the inventory"):
            await stack.trigger().run(TENANT, DEVICE, actor=ALICE)


async def test_two_collectors_share_the_work_and_read_each_device_once(stack: Stack) -> None:
    double = RouterOSDouble(text_of=lambda user: export_text("7.14.3", name=user))
    names = [f"d{number:02}" for number in range(40)]
    async with serving(double):
        for name in names:
            await stack.registrar.configure(
                TENANT, name, settings(double.port, username=name), actor=ALICE
            )
        async with collecting(stack, stack.role(), stack.role()):
            for name in names:
                await eventually(partial(stack.count, SnapshotCreated, name))
            assert sorted(double.logins) == names
            assert double.overlaps == []


async def test_wrong_credentials_wait_for_a_person_and_go_on_with_the_settings(
    stack: Stack,
) -> None:
    await stack.store.put(TENANT, "wrong", Stored(username="backup", password="wrong"))
    async with serving(RouterOSDouble()) as double, collecting(stack, stack.role()):
        await stack.registrar.configure(
            TENANT, DEVICE, settings(double.port, credential="store:wrong"), actor=ALICE
        )
        await eventually(lambda: stack.count(CollectionFailed))
        await stack.registrar.configure(TENANT, DEVICE, settings(double.port), actor=ALICE)
        await eventually(lambda: stack.count(SnapshotCreated))
    assert double.passwords == ["wrong", PASSWORD]
    assert "CollectionRecovered" in await stack.kinds()


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


@asynccontextmanager
async def jump_host(passwords: list[str], tried: list[str] | None = None) -> AsyncIterator[int]:
    """The port of a host to jump over, which takes these passwords (they may change)."""

    class Jump(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            if tried is not None:
                tried.append(password)
            return password in passwords

        def connection_requested(
            self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
        ) -> Forward:
            return forwarding(dest_host, dest_port)

    key = asyncssh.generate_private_key("ssh-ed25519")
    acceptor = await asyncssh.create_server(Jump, "127.0.0.1", 0, server_host_keys=[key])
    try:
        yield acceptor.get_port()
    finally:
        acceptor.close()
        await acceptor.wait_closed()


async def test_a_device_behind_a_jump_host_of_the_inventory_is_collected(stack: Stack) -> None:
    async with jump_host([PASSWORD]) as port, serving(RouterOSDouble()) as double:
        await stack.collecting().collect(
            TENANT,
            DEVICE,
            settings(double.port, jump="gate"),
            only(gate=settings(port, platform="jump")),
            source="scheduled",
        )
    assert await stack.kinds() == ["HostKeyPinned"]
    assert await stack.kinds("gate") == ["HostKeyPinned"]


async def test_a_refused_login_at_a_jump_host_stops_no_device_behind_it(stack: Stack) -> None:
    """It is mended at the jump host: nothing of the device behind it changes then."""
    ahead = timedelta()
    role = Collector(
        stack.rig.nc,
        stack.rig.js,
        collecting=stack.collecting(jump_hosts=JumpHosts(lambda: ahead.total_seconds())),
        schedule=stack.schedule,
        trigger=stack.trigger(),
        metrics=stack.rig.metrics,
        at_once=8,
        clock=lambda: datetime.now(UTC) + ahead,
    )
    passwords, tried, others = list[str](), list[str](), [f"behind{n}" for n in range(3)]
    async with (
        jump_host(passwords, tried) as port,
        serving(RouterOSDouble()) as double,
        collecting(stack, role),
    ):
        gate = settings(port, platform="jump")
        await stack.registrar.configure(TENANT, "gate", gate, actor=ALICE)
        behind = settings(double.port, jump="gate")
        await stack.registrar.configure(TENANT, DEVICE, behind, actor=ALICE)
        for one in others:
            await stack.registrar.configure(TENANT, one, behind, actor=ALICE)
        for one in (DEVICE, *others):
            await eventually(partial(stack.count, CollectionFailed, one))
        assert len(tried) == 1, "each wrong login brings the account nearer to its lock"
        (failed,) = [
            one.event
            for one in await stack.rig.history(TENANT, DEVICE)
            if isinstance(one.event, CollectionFailed)
        ]
        assert failed.kind == "unreachable"
        assert "at the jump host gate" in failed.message
        passwords.append(PASSWORD)
        ahead = timedelta(minutes=2)
        await stack.registrar.configure(TENANT, "r2", settings(double.port), actor=ALICE)
        await eventually(lambda: stack.count(CollectionRecovered))


async def test_a_manual_backup_tries_a_jump_host_that_refused_a_moment_ago(stack: Stack) -> None:
    collector = stack.collecting()
    passwords, tried = list[str](), list[str]()
    async with jump_host(passwords, tried) as port, serving(RouterOSDouble()) as double:
        gate, behind = settings(port, platform="jump"), settings(double.port, jump="gate")

        async def read(source: Source) -> Collected:
            return await collector.collect(TENANT, DEVICE, behind, only(gate=gate), source=source)

        with pytest.raises(Failed, match="refuses the login"):
            await read("scheduled")
        passwords.append(PASSWORD)
        with pytest.raises(Failed, match="not asked by each device behind it"):
            await read("scheduled")
        assert len(tried) == 1
        await read("manual")
        await read("scheduled")


async def test_a_jump_host_refuses_a_login_only_with_the_credential_as_it_is_now(
    stack: Stack,
) -> None:
    collector = stack.collecting()
    secret = stack.folder / "gate"
    secret.write_text(PASSWORD)
    passwords = [PASSWORD]
    async with jump_host(passwords) as port, serving(RouterOSDouble()) as double:
        gate = settings(port, platform="jump", credential="file:gate", username="jumper")
        behind = settings(double.port, jump="gate")

        async def read() -> Collected:
            return await collector.collect(
                TENANT, DEVICE, behind, only(gate=gate), source="scheduled"
            )

        await read()
        secret.write_text("rotated")
        passwords[:] = ["rotated"]
        await read()


async def test_configuring_the_same_again_is_no_event(stack: Stack) -> None:
    assert await stack.registrar.configure(TENANT, DEVICE, settings(22), actor=ALICE)
    assert not await stack.registrar.configure(TENANT, DEVICE, settings(22), actor=ALICE)
    assert await stack.count(DeviceConfigured) == 1
    assert await stack.count(DuplicateSkipped) == 0


async def test_a_device_that_tells_of_a_change_is_collected_before_its_turn(stack: Stack) -> None:
    role = stack.role()
    double = RouterOSDouble()
    async with serving(double), collecting(stack, role):
        assert not role.hurry(TENANT, DEVICE)
        await stack.registrar.configure(TENANT, DEVICE, settings(double.port), actor=ALICE)
        await eventually(partial(stack.count, SnapshotCreated))
        double.text = export_text("7.14.3", name="renamed")
        assert role.hurry(TENANT, DEVICE)
        await eventually(lambda: _has(stack, SnapshotCreated, 2))
    fact = (await stack.rig.history(TENANT, DEVICE))[-1].event
    assert isinstance(fact, SnapshotCreated)
    assert fact.source == "pushed"


async def test_a_device_that_tells_of_a_change_is_collected_whatever_its_window(
    stack: Stack,
) -> None:
    role = stack.role()
    hour = datetime.now(UTC).hour
    closed = f"{(hour + 4) % 24:02}:00-{(hour + 5) % 24:02}:00"
    async with serving(RouterOSDouble()) as double, collecting(stack, role):
        await stack.registrar.configure(
            TENANT, DEVICE, settings(double.port, window=closed), actor=ALICE
        )
        await eventually(lambda: role.hurry(TENANT, DEVICE))
        await eventually(partial(stack.count, SnapshotCreated))
    fact = (await stack.rig.history(TENANT, DEVICE))[-1].event
    assert isinstance(fact, SnapshotCreated)
    assert fact.source == "pushed"


async def test_a_reported_change_is_read_at_once_though_the_device_is_planned_anew_meanwhile(
    stack: Stack,
) -> None:
    """Its settings are changed while it waits for room: that moves it behind no window."""
    role = stack.role(at_once=1)
    hour = datetime.now(UTC).hour
    closed = f"{(hour + 4) % 24:02}:00-{(hour + 5) % 24:02}:00"
    busy = RouterOSDouble(hold=asyncio.Event())
    async with serving(busy), serving(RouterOSDouble()) as double, collecting(stack, role):
        assert busy.hold is not None
        await stack.registrar.configure(TENANT, "busy", settings(busy.port), actor=ALICE)
        await eventually(lambda: len(busy.commands) == 2)
        wanted = settings(double.port, window=closed)
        await stack.registrar.configure(TENANT, DEVICE, wanted, actor=ALICE)
        await eventually(lambda: role.hurry(TENANT, DEVICE))
        other = settings(double.port, window=closed, interval_seconds=7200)
        await stack.registrar.configure(TENANT, DEVICE, other, actor=ALICE)
        await eventually(lambda: role.settings_at()[TENANT, DEVICE] == other)
        busy.hold.set()
        await eventually(partial(stack.count, SnapshotCreated))
    assert len(double.logins) == 1


async def test_a_reported_change_is_read_though_the_collector_that_heard_of_it_is_gone(
    stack: Stack,
) -> None:
    first, double = stack.role(), RouterOSDouble()
    async with serving(double):
        async with collecting(stack, first):
            await stack.registrar.configure(TENANT, DEVICE, settings(double.port), actor=ALICE)
            await eventually(partial(stack.count, SnapshotCreated))
            double.hold = asyncio.Event()
            assert first.hurry(TENANT, DEVICE)
            await eventually(stack.schedule.reported)
            await eventually(lambda: len(double.logins) == 2)
        double.hold = None
        async with collecting(stack, stack.role()):
            await eventually(partial(stack.count, DuplicateSkipped))
            await eventually(partial(_nothing_reported, stack))
    fact = (await stack.rig.history(TENANT, DEVICE))[-1].event
    assert isinstance(fact, DuplicateSkipped)
    assert fact.source == "pushed"


async def test_a_change_that_somebody_else_was_told_of_is_read_here_once_it_is_overdue(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reported, "LOOK_SECONDS", 0.05)
    double = RouterOSDouble()
    role = stack.role()
    async with serving(double), collecting(stack, role):
        for name in (DEVICE, "r2"):
            await stack.registrar.configure(TENANT, name, settings(double.port), actor=ALICE)
            await eventually(partial(stack.count, SnapshotCreated, name))
        now = datetime.now(UTC)
        await stack.schedule.report(TENANT, "r2", now)
        await stack.schedule.report(TENANT, "gone", now - timedelta(hours=1))
        await stack.schedule.report(TENANT, DEVICE, now - timedelta(hours=1))
        await eventually(partial(stack.count, DuplicateSkipped))
        await eventually(partial(_only_reported, stack, "r2"))
    assert await stack.count(DuplicateSkipped, "r2") == 0


async def test_what_a_device_tells_while_it_is_read_is_not_settled_by_that_reading(
    stack: Stack,
) -> None:
    changes, key = reported.ReportedChanges(stack.schedule, now_utc), (TENANT, DEVICE)
    changes.note(key)
    before = changes.newest(key)
    changes.note(key)
    changes.settle(key, before)
    assert changes.newest(key) is not None
    changes.settle(key, changes.newest(key))
    assert changes.newest(key) is None


async def test_a_change_of_a_device_that_is_not_collected_is_not_written_down(stack: Stack) -> None:
    role, double = stack.role(), RouterOSDouble(hold=asyncio.Event())
    async with serving(double), collecting(stack, role):
        await stack.registrar.configure(TENANT, DEVICE, settings(double.port), actor=ALICE)
        await eventually(lambda: len(double.logins) == 1)
        role.hear(TENANT, "r2")
        role.hear(TENANT, DEVICE)
        await eventually(partial(_only_reported, stack, DEVICE))


async def _nothing_reported(stack: Stack) -> bool:
    return not await stack.schedule.reported()


async def _only_reported(stack: Stack, device: str) -> bool:
    return set(await stack.schedule.reported()) == {(TENANT, device)}


async def _has(stack: Stack, kind: type[object], times: int) -> bool:
    return await stack.count(kind) == times


async def test_a_collector_begins_with_other_devices_each_time(stack: Stack) -> None:
    """One that is killed again and again would never come to those at the end of an order."""
    names = [f"d{number:02}" for number in range(12)]
    double = RouterOSDouble()
    async with serving(double):
        for name in names:
            given = settings(double.port, username=name)
            await stack.registrar.configure(TENANT, name, given, actor=ALICE)
        async with collecting(stack, stack.role(at_once=1)):
            await eventually(lambda: len(double.logins) == len(names))
    assert sorted(double.logins) == names
    assert double.logins != names


async def test_a_clock_that_is_set_back_makes_no_device_wait_for_it(stack: Stack) -> None:
    ahead = timedelta()
    role = Collector(
        stack.rig.nc,
        stack.rig.js,
        collecting=stack.collecting(),
        schedule=stack.schedule,
        trigger=stack.trigger(),
        metrics=stack.rig.metrics,
        at_once=8,
        clock=lambda: datetime.now(UTC) + ahead,
    )
    async with serving(RouterOSDouble()) as double, collecting(stack, role):
        wanted = settings(double.port, interval_seconds=86_400)
        await stack.registrar.configure(TENANT, DEVICE, wanted, actor=ALICE)
        await eventually(lambda: stack.count(SnapshotCreated))
        ahead = -timedelta(days=3)
        await stack.registrar.configure(TENANT, "r2", wanted, actor=ALICE)
        await eventually(lambda: stack.count(DuplicateSkipped))
        await eventually(lambda: stack.count(SnapshotCreated, "r2"))
    assert len(double.logins) == 3


async def test_a_login_is_refused_only_with_the_credential_as_it_is_now(stack: Stack) -> None:
    """What was looked up a moment ago may be the one before: nobody has to mend that by hand."""
    collector = stack.collecting()
    secret = stack.folder / "routers"
    secret.write_text(PASSWORD)
    async with serving(RouterOSDouble()) as double:
        wanted = settings(double.port, credential="file:routers", username="backup")

        async def read() -> Collected:
            return await collector.collect(TENANT, DEVICE, wanted, only(), source="scheduled")

        await read()
        secret.write_text("rotated")
        double.password = "rotated"
        await read()
        assert double.passwords == [PASSWORD, PASSWORD, "rotated"]
        double.password = "another"
        with pytest.raises(Failed) as failed:
            await read()
        assert failed.value.kind == "auth_failed"
        assert double.passwords[3:] == ["rotated"], "tried once with one and the same"
        secret.unlink()
        with pytest.raises(Failed) as failed:
            await read()
        assert failed.value.kind == "no_credential"


async def test_a_credential_that_comes_later_is_used_without_a_persons_help(stack: Stack) -> None:
    ahead = timedelta()
    role = Collector(
        stack.rig.nc,
        stack.rig.js,
        collecting=stack.collecting(),
        schedule=stack.schedule,
        trigger=stack.trigger(),
        metrics=stack.rig.metrics,
        at_once=8,
        clock=lambda: datetime.now(UTC) + ahead,
    )
    async with serving(RouterOSDouble()) as double, collecting(stack, role):
        wanted = settings(double.port, credential="file:late", username="backup")
        await stack.registrar.configure(TENANT, DEVICE, wanted, actor=ALICE)
        await eventually(lambda: stack.count(CollectionFailed))
        assert double.logins == []
        (stack.folder / "late").write_text(PASSWORD)
        ahead = timedelta(minutes=2)
        await stack.registrar.configure(TENANT, "r2", settings(double.port), actor=ALICE)
        await eventually(lambda: stack.count(CollectionRecovered))


async def test_a_device_that_is_removed_while_it_is_read_keeps_what_came_and_is_left_alone(
    stack: Stack,
) -> None:
    double = RouterOSDouble(hold=asyncio.Event())
    async with serving(double), collecting(stack, stack.role()):
        assert double.hold is not None
        await stack.registrar.configure(TENANT, DEVICE, settings(double.port), actor=ALICE)
        await eventually(lambda: double.commands)
        await stack.registrar.retire(TENANT, DEVICE, actor=ALICE, reason="sold")
        double.hold.set()
        await eventually(lambda: stack.count(SnapshotCreated))
        with pytest.raises(BackupFailed, match="does one run, and is a device registered"):
            await stack.trigger().run(TENANT, DEVICE, actor=ALICE)
    assert len(double.logins) == 1


async def test_a_device_that_is_removed_while_its_reading_fails_is_not_failing(
    stack: Stack,
) -> None:
    double = RouterOSDouble(fault="no_permission", hold=asyncio.Event())
    async with serving(double), collecting(stack, stack.role()):
        assert double.hold is not None
        await stack.registrar.configure(TENANT, DEVICE, settings(double.port), actor=ALICE)
        await eventually(lambda: double.commands)
        await stack.registrar.retire(TENANT, DEVICE, actor=ALICE, reason="sold")
        double.hold.set()
        value = stack.rig.metrics.registry.get_sample_value
        counted = {"outcome": "command_refused"}
        await eventually(lambda: value("configtrail_collections_total", counted))
    assert await stack.count(CollectionFailed) == 0
    assert await stack.schedule.last(TENANT, DEVICE) is None


async def test_of_a_device_that_is_removed_while_it_is_logged_in_to_no_host_key_is_told(
    stack: Stack,
) -> None:
    double = RouterOSDouble(hold=asyncio.Event())
    async with serving(double):
        await stack.registrar.configure(TENANT, DEVICE, settings(double.port), actor=ALICE)
        given = (TENANT, DEVICE, settings(double.port), only())
        reading = asyncio.create_task(
            stack.collecting().collect(*given, source="scheduled", registered=True)
        )
        await eventually(lambda: double.commands)
        await stack.registrar.retire(TENANT, DEVICE, actor=ALICE, reason="sold")
        assert double.hold is not None
        double.hold.set()
        await reading
    assert await stack.kinds() == ["DeviceConfigured", "DeviceRetired"]


async def test_a_device_that_the_collector_does_not_know_to_be_removed_yet_is_not_failing(
    stack: Stack,
) -> None:
    await stack.registrar.configure(TENANT, DEVICE, settings(1), actor=ALICE)
    await stack.registrar.retire(TENANT, DEVICE, actor=ALICE, reason="sold")
    given = (TENANT, DEVICE, settings(1), only())
    with pytest.raises(Failed):
        await stack.collecting().collect(*given, source="scheduled", registered=True)
    assert await stack.count(CollectionFailed) == 0
    # With an inventory of somebody's own it is read all the same.
    with pytest.raises(Failed):
        await stack.collecting().collect(*given, source="scheduled")
    assert await stack.count(CollectionFailed) == 1


async def test_a_device_that_is_given_longer_than_usual_may_be_silent_for_longer(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = []

    async def noted(target: Target, *given: Any, **named: Any) -> Reading:
        limits.append(target.limits)
        return await read_device(target, *given, **named)

    monkeypatch.setattr(collection, "read_device", noted)
    async with serving(RouterOSDouble()) as double:
        for seconds in (10, 300, 600):
            await collect(stack, settings(double.port, timeout_seconds=seconds))
    assert [(one.total, one.silence) for one in limits] == [(10, 10), (300, 30), (600, 60)]
