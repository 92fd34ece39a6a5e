"""Who changed a device gets into the fact of the change, and never holds up a backup."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from domain.events import DeviceSettings, SnapshotCreated
from tests.collecting_stack import DEVICE, TENANT, Stack, only, settings
from tests.doubles.routeros import Action, RouterOSDouble, export_text, serving

SECRET = "hunter2-in-the-history"


async def read(stack: Stack, wanted: DeviceSettings) -> list[SnapshotCreated]:
    """One more reading; the device's snapshots then."""
    async with stack.rig.recording():
        await stack.collecting().collect(TENANT, DEVICE, wanted, only(), source="scheduled")
        await stack.rig.intake_empty()
    history = await stack.rig.history(TENANT, DEVICE)
    return [one.event for one in history if isinstance(one.event, SnapshotCreated)]


def asked(double: RouterOSDouble) -> int:
    return sum("/system history" in one for one in double.commands)


def actions(double: RouterOSDouble, **who: int) -> list[Action]:
    """Actions by these, so many seconds ago, of which each holds a secret."""
    now = datetime.now(UTC) + double.clock
    return [
        Action(
            "user admin changed",
            name,
            now - timedelta(seconds=ago),
            redo=f'/user set admin password="{SECRET}"',
        )
        for name, ago in who.items()
    ]


@pytest.mark.parametrize("version", ["6.49.10 (long-term)", "7.14.3 (stable)"])
async def test_a_change_names_all_who_did_something_since_the_reading_before(
    stack: Stack, version: str
) -> None:
    double = RouterOSDouble(version=version, clock=timedelta(hours=5, minutes=30))
    async with serving(double):
        wanted = settings(double.port, history=True)
        await read(stack, wanted)
        assert len(await read(stack, wanted)) == 1
        # Neither the first configuration nor an unchanged one is asked about.
        assert asked(double) == 0
        double.text = export_text(version.split()[0], name="renamed")
        double.actions = actions(double, ann=0, bob=0, carol=7200)
        first, second = await read(stack, wanted)
    assert asked(double) == 1
    assert first.changed_by is None
    assert second.changed_by is not None
    assert (second.changed_by.certainty, second.changed_by.reason) == ("known", None)
    assert {one.who for one in second.changed_by.people} == {"ann", "bob"}
    for stored in await stack.rig.history(TENANT, DEVICE):
        assert SECRET not in repr(stored)


async def test_who_did_not_ask_for_it_is_not_asked_about(stack: Stack) -> None:
    double = RouterOSDouble()
    async with serving(double):
        await read(stack, settings(double.port))
        double.text = export_text("7.14.3", name="renamed")
        snapshots = await read(stack, settings(double.port))
    assert asked(double) == 0
    assert [one.changed_by for one in snapshots] == [None, None]


@pytest.mark.parametrize(
    ("fault", "clock", "reason"),
    [
        ("refused", 0, "refused"),
        ("hangs", 0, "not_read"),
        ("strange", 0, "not_understood"),
        (None, 400, "clock_off"),
        (None, -1_770_000_000, "clock_off"),
    ],
)
async def test_what_can_not_be_known_is_unknown_and_the_backup_is_made(
    stack: Stack,
    fault: Literal["refused", "hangs", "strange"] | None,
    clock: int,
    reason: str,
) -> None:
    double = RouterOSDouble(history_fault=fault, clock=timedelta(seconds=clock))
    async with serving(double):
        wanted = settings(double.port, history=True, timeout_seconds=5)
        await read(stack, wanted)
        double.text = export_text("7.14.3", name="renamed")
        double.actions = actions(double, ann=0)
        _, second = await read(stack, wanted)
    assert second.changed_by is not None
    assert (second.changed_by.certainty, second.changed_by.reason) == ("unknown", reason)
    assert second.changed_by.people == ()
