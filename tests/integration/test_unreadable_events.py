"""Events that a program can't read, a newer one's or broken ones: what they are about stands still,
and everything else goes on."""

from __future__ import annotations

import logging
from functools import partial

import pytest

from adapters.collecting.registered import registered_inventory
from adapters.jetstream import wire
from adapters.retention.fleet import devices_with_texts, ever_held, policies
from adapters.roles.supervisor import running
from domain.envelope import Head, new_event
from domain.events import DeviceConfigured, Fact, GivenSettings, SnapshotCreated
from domain.groups import group_branch
from domain.ids import TENANT_BRANCH
from tests.behaviour.event_store import NOON
from tests.collecting_stack import ALICE, DEVICE, TENANT, Stack, settings
from tests.doubles.routeros import RouterOSDouble, serving
from tests.support import eventually


async def configured(stack: Stack, device: str, *, after: Head, port: int) -> None:
    """As a program tells it that can read what lies before."""
    event = DeviceConfigured(actor=ALICE, change_id="one", settings=settings(port))
    told = new_event(TENANT, device, f"configured.{device}", NOON, event)
    subject, headers, body = wire.encode_next(told, after.version + 1)
    await stack.rig.js.publish(subject, body, headers=headers)


async def test_a_device_or_group_that_cannot_be_read_is_left_out_and_the_others_are_collected(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    role = stack.role()
    async with serving(RouterOSDouble()) as double, stack.rig.recording():
        await stack.registrar.configure(TENANT, "c7", settings(double.port), actor=ALICE)
        await stack.registrar.configure_group(
            TENANT, "edge", GivenSettings(port=double.port), actor=ALICE, reason=None
        )
        await stack.unreadable("c8", "DeviceConfigured", version=1)
        await stack.unreadable("c9", "DeviceConfigured")
        await stack.unreadable("c9", "HostKeyChanged")
        await stack.unreadable(" credential main", "CredentialSet")
        async with running({"collector": role.run}):
            await eventually(lambda: (TENANT, "c7") in role.settings_at())
            # Also what comes, and what was readable before.
            await stack.unreadable("c7", "DeviceConfigured")
            await stack.unreadable(group_branch("edge"), "GroupConfigured")
            await stack.registrar.configure(TENANT, DEVICE, settings(double.port), actor=ALICE)
            await eventually(partial(stack.count, SnapshotCreated))
            assert set(role.settings_at()) == {(TENANT, DEVICE)}
            inventory = await registered_inventory(stack.rig.nc, stack.rig.js, TENANT)
            assert set(inventory.settings()) == {DEVICE}
            assert set(inventory.left_out) == {"c7", "c8", "c9", group_branch("edge")}
            await configured(stack, "c9", after=Head(1), port=double.port)
            await eventually(lambda: (TENANT, "c9") in role.settings_at())
    (doubted,) = [one for one in caplog.records if "credential main" in one.getMessage()]
    assert (doubted.levelno, "what is stored is used" in doubted.getMessage()) == (40, True)
    told = [one.getMessage() for one in caplog.records if "left out" in one.getMessage()]
    assert sorted(line.partition(" is left out")[0] for line in told) == [
        f"{TENANT}/{one}" for one in (group_branch("edge"), "c7", "c8", "c9")
    ]


@pytest.mark.parametrize("version", [1, 2])
async def test_what_is_kept_is_judged_without_what_cannot_be_read(
    stack: Stack, version: int
) -> None:
    """Nothing of it is let go, and nothing of it is forgotten where all is meant."""
    of: tuple[type[Fact] | str, ...] = ("RetentionPolicySet", "LegalHoldPlaced")
    for name in of:
        await stack.unreadable(TENANT_BRANCH, str(name), version)
    await stack.unreadable("c9", "SnapshotCreated", version)
    nc, js = stack.rig.nc, stack.rig.js
    assert await policies(nc, js) == {}
    assert await ever_held(nc, js, TENANT) == [None]
    assert await devices_with_texts(nc, js, TENANT) == ["c9"]
