"""Devices that tell of changes: they are read before their turn, and no change is forgotten."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from adapters.collecting import reported
from adapters.collecting.planned import now_utc
from domain.events import (
    DuplicateSkipped,
    SnapshotCreated,
)
from tests.collecting_stack import (
    ALICE,
    DEVICE,
    TENANT,
    Stack,
    collecting,
    settings,
)
from tests.doubles.routeros import RouterOSDouble, export_text, serving
from tests.support import eventually


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
