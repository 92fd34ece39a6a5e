"""What waits for a person goes on once that person acts, whoever it was that failed to read it."""

from __future__ import annotations

from functools import partial

import pytest

from adapters.collecting.credential_changes import CredentialKeeper
from adapters.collecting.credentials import Stored
from adapters.roles.devices import DeviceRepository
from adapters.roles.supervisor import running
from domain.errors import BackupFailed
from domain.events import CollectionFailed, CollectionRecovered, SnapshotCreated
from tests.collecting_stack import ALICE, DEVICE, PASSWORD, TENANT, Stack, settings
from tests.doubles.routeros import RouterOSDouble, serving
from tests.support import eventually

DAY = 86_400


async def read_once(stack: Stack, port: int) -> None:
    await stack.registrar.configure(
        TENANT, DEVICE, settings(port, interval_seconds=DAY), actor=ALICE
    )
    await eventually(lambda: stack.count(SnapshotCreated))


async def fails_by_hand(stack: Stack, kind: str) -> None:
    with pytest.raises(BackupFailed, match=kind):
        await stack.trigger().run(TENANT, DEVICE, actor=ALICE)


async def test_a_released_host_key_resumes_what_a_manual_backup_found_blocked(stack: Stack) -> None:
    async with stack.rig.recording(), running({"collector": stack.role().run}):
        first = RouterOSDouble()
        async with serving(first):
            await read_once(stack, first.port)
        async with serving(RouterOSDouble(port=first.port)):
            await fails_by_hand(stack, "host_key_changed")
            await stack.registrar.release_host_key(
                TENANT, DEVICE, actor=ALICE, reason="new board", expected_fingerprint=None
            )
            await eventually(lambda: stack.count(CollectionRecovered))


@pytest.mark.parametrize("mended_by", ["settings", "secret"])
async def test_what_was_changed_after_a_failed_manual_backup_is_tried_at_once(
    stack: Stack, mended_by: str
) -> None:
    double = RouterOSDouble()
    async with (
        serving(double),
        stack.rig.recording(),
        running({"collector": stack.role().run}),
    ):
        await read_once(stack, double.port)
        double.password = "rotated"
        await fails_by_hand(stack, "auth_failed")
        if mended_by == "settings":
            await stack.store.put(TENANT, "new", Stored(username="backup", password="rotated"))
            wanted = settings(double.port, interval_seconds=DAY, credential="store:new")
            await stack.registrar.configure(TENANT, DEVICE, wanted, actor=ALICE)
        else:
            keeper = CredentialKeeper(stack.store, DeviceRepository(stack.rig.events))
            rotated = Stored(username="backup", password="rotated")
            await keeper.set(TENANT, "main", rotated, actor=ALICE, reason=None)
        await eventually(lambda: stack.count(CollectionRecovered))
    assert double.passwords == [PASSWORD, PASSWORD, "rotated"]


async def failed_as_often(stack: Stack, times: int) -> bool:
    last = await stack.schedule.last(TENANT, DEVICE)
    told = await stack.count(CollectionFailed)
    return last is not None and last.failures == told == times


async def test_a_device_that_is_back_in_the_inventory_is_tried_anew(stack: Stack) -> None:
    """Being taken out ended its failure: nobody would hear that it waits for a person."""
    double = RouterOSDouble(password="another")
    async with (
        serving(double),
        stack.rig.recording(),
        running({"collector": stack.role().run}),
    ):
        wanted = settings(double.port, interval_seconds=DAY)
        for times in (1, 2):
            await stack.registrar.configure(TENANT, DEVICE, wanted, actor=ALICE)
            await eventually(partial(failed_as_often, stack, times))
            await stack.registrar.retire(TENANT, DEVICE, actor=ALICE, reason="moved")
        double.password = PASSWORD
        await stack.registrar.configure(TENANT, DEVICE, wanted, actor=ALICE)
        await eventually(lambda: stack.count(SnapshotCreated))
