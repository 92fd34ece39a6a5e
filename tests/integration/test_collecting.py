"""Collections, whole: from the device through the intake to the facts, and who else is told."""

from __future__ import annotations

import asyncio
import base64
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

import pytest

from adapters.collecting import collection, once
from adapters.collecting.collection import Collected, DeviceCollector, Failed, NotDue
from adapters.collecting.credentials import Stored
from adapters.collecting.schedule import BUCKET as SCHEDULE
from adapters.collecting.schedule import Attempt
from adapters.composition import System
from adapters.roles.collector import Collector
from adapters.ssh.reading import Reading, read_device
from adapters.ssh.target import Target
from domain.errors import BackupFailed, LeaseHeld, LeaseLost, NotFound
from domain.events import (
    CollectionFailed,
    CollectionRecovered,
    DeviceConfigured,
    DuplicateSkipped,
    HostKeyChanged,
    HostKeyPinned,
    HostKeyReleased,
    SnapshotCreated,
)
from tests.claims import another_programs, claimed
from tests.collecting_stack import (
    ALICE,
    DEVICE,
    PASSWORD,
    TENANT,
    Stack,
    collect,
    collecting,
    only,
    settings,
)
from tests.doubles.routeros import RouterOSDouble, export_text, serving
from tests.support import eventually


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
    assert re.fullmatch(
        r"another is collecting it since \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ; if that was killed, it "
        r"is free again within 20 s",
        results[1].message or "",
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
        await stack.rig.js.purge_stream(f"KV_{SCHEDULE}")
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


async def test_configuring_the_same_again_is_no_event(stack: Stack) -> None:
    assert await stack.registrar.configure(TENANT, DEVICE, settings(22), actor=ALICE)
    assert not await stack.registrar.configure(TENANT, DEVICE, settings(22), actor=ALICE)
    assert await stack.count(DeviceConfigured) == 1
    assert await stack.count(DuplicateSkipped) == 0


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


async def claimed_once(stack: Stack, device: str) -> bool:
    """Whether somebody claimed a device, now or before."""
    return (await stack.schedule.record(TENANT, device)).revision > 0


async def test_what_waits_for_a_connection_is_left_to_others_and_one_place_is_one_login(
    stack: Stack,
) -> None:
    hanging, other = RouterOSDouble(hold=asyncio.Event()), RouterOSDouble()

    async def read_elsewhere() -> Collected | None:
        try:
            return await collect(stack, settings(other.port), "r2")
        except LeaseHeld:
            return None

    async with serving(hanging), serving(other), collecting(stack, stack.role(at_once=1)):
        assert hanging.hold is not None
        await stack.registrar.configure(TENANT, DEVICE, settings(hanging.port), actor=ALICE)
        await eventually(lambda: hanging.commands)
        await stack.registrar.configure(TENANT, "r2", settings(other.port), actor=ALICE)
        await eventually(lambda: claimed_once(stack, "r2"))
        assert other.logins == []
        await eventually(read_elsewhere)
        hanging.hold.set()
        await stack.registrar.configure(TENANT, "r3", settings(other.port), actor=ALICE)
        await eventually(lambda: stack.count(SnapshotCreated, "r3"))
    assert await stack.count(SnapshotCreated) == 1
    assert (hanging.overlaps, other.overlaps) == ([], [])
    assert len(other.logins) == 2
