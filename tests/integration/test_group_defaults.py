"""Groups that give their devices settings: told, followed without a restart, and the device's own
settings before them. And credentials that are changed: told without what they are."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from adapters.collecting.credential_changes import CredentialKeeper, stored_credentials
from adapters.collecting.credentials import Stored
from adapters.collecting.files import judge_inventory
from adapters.collecting.planning import plan_of
from adapters.collecting.registered import registered_inventory
from adapters.roles.collector import Collector
from adapters.roles.devices import DeviceRepository
from adapters.roles.supervisor import running
from adapters.ssh.profiles import PLATFORMS
from domain.credentials import credential_branch
from domain.errors import InvalidInput, NotFound
from domain.events import (
    CollectionFailed,
    CredentialRemoved,
    CredentialSet,
    DeviceSettings,
    GivenSettings,
    GroupConfigured,
    GroupRemoved,
    SnapshotCreated,
    encode_event,
)
from domain.groups import group_branch
from domain.inventory import Entry, Row, judge
from tests.collecting_stack import ALICE, DEVICE, PASSWORD, TENANT, Stack
from tests.doubles.routeros import RouterOSDouble, serving
from tests.support import eventually


@asynccontextmanager
async def collecting(stack: Stack, role: Collector) -> AsyncIterator[None]:
    async with stack.rig.recording(), running({"collector": role.run}):
        yield


async def register(stack: Stack, **fields: str) -> Entry:
    row = Row("here", {"name": DEVICE, "address": "127.0.0.1", **fields})
    (entry,) = judge([row], PLATFORMS).entries
    await stack.registrar.register(TENANT, entry, actor=ALICE, origin="test")
    return entry


async def give(stack: Stack, **given: object) -> bool:
    return await stack.registrar.configure_group(
        TENANT,
        "edge",
        GivenSettings(**given),  # type: ignore[arg-type]
        actor=ALICE,
        reason="why",
    )


async def settings_of(stack: Stack, device: str = DEVICE) -> DeviceSettings:
    return (await registered_inventory(stack.rig.nc, stack.rig.js, TENANT)).settings()[device]


def keeper(stack: Stack) -> CredentialKeeper:
    return CredentialKeeper(stack.store, DeviceRepository(stack.rig.events))


async def test_what_a_group_gives_takes_effect_without_a_restart_and_is_told_once(
    stack: Stack,
) -> None:
    async with serving(RouterOSDouble()) as double, collecting(stack, stack.role()):
        # Without a credential it waits for a person: its group gives it one, and a port.
        await register(stack, group="edge")
        await eventually(lambda: stack.count(CollectionFailed))
        assert await give(stack, credential="store:main", port=double.port)
        await eventually(lambda: stack.count(SnapshotCreated))
    assert not await give(stack, credential="store:main", port=double.port)
    (told,) = [one.event for one in await stack.rig.history(TENANT, group_branch("edge"))]
    assert isinstance(told, GroupConfigured)
    assert (told.actor, told.reason, told.group) == (ALICE, "why", "edge")
    assert told.defaults == GivenSettings(credential="store:main", port=double.port)


async def test_a_devices_own_setting_wins_and_each_is_known_by_where_it_comes_from(
    stack: Stack,
) -> None:
    await give(stack, port=2222, interval_seconds=3600, jump="gate")
    await register(stack, group="edge", port="22")
    inventory = await registered_inventory(stack.rig.nc, stack.rig.js, TENANT)
    now, origins = inventory.settings()[DEVICE], inventory.origins(DEVICE)
    assert (now.port, now.interval_seconds, now.jump) == (22, 3600, "gate")
    assert [origins[one] for one in ("port", "jump", "window")] == ["device", "group", "default"]
    assert await stack.collecting().registered(TENANT, DEVICE) == now
    await give(stack, interval_seconds=60)
    assert (await settings_of(stack)).jump is None
    assert await stack.collecting().registered(TENANT, DEVICE) == await settings_of(stack)


async def test_a_removed_group_gives_nothing_and_is_told(stack: Stack) -> None:
    await give(stack, port=2222)
    await register(stack, group="edge")
    await stack.registrar.remove_group(TENANT, "edge", actor=ALICE, reason="sold")
    assert (await settings_of(stack)).port == 22
    last = (await stack.rig.history(TENANT, group_branch("edge")))[-1].event
    assert isinstance(last, GroupRemoved)
    assert (last.reason, last.actor) == ("sold", ALICE)
    with pytest.raises(NotFound):
        await stack.registrar.remove_group(TENANT, "edge", actor=ALICE, reason=None)


async def test_two_changes_of_a_group_at_once_do_not_lose_one_another(stack: Stack) -> None:
    seen = GivenSettings()
    await give(stack, port=1)
    with pytest.raises(InvalidInput, match="by somebody else meanwhile"):
        await stack.registrar.configure_group(
            TENANT, "edge", GivenSettings(legacy=True), actor=ALICE, instead_of=seen
        )
    (told,) = await stack.rig.history(TENANT, group_branch("edge"))
    assert isinstance(told.event, GroupConfigured)


async def test_the_groups_of_a_file_are_registered_with_its_devices(
    stack: Stack, tmp_path: Path
) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(
        "defaults: {credential: agent, interval: 2h}\n"
        "groups: {edge: {interval: 1h}, core: {}}\n"
        "devices: [{name: r1, address: 127.0.0.1, group: edge, port: 23},"
        " {name: r2, address: 127.0.0.1}]\n"
    )

    async def apply(*, prune: bool = False) -> tuple[int, int, int]:
        judged = judge_inventory(path)
        before = await registered_inventory(stack.rig.nc, stack.rig.js, TENANT)
        plan = plan_of(before, judged.entries, judged.groups)
        await stack.registrar.apply(TENANT, plan, actor=ALICE, origin=path.name, prune=prune)
        return len(plan.added), len(plan.changed), len(plan.groups)

    assert await apply() == (2, 0, 2)
    assert await apply() == (0, 0, 0)
    first = await settings_of(stack)
    assert (first.credential, first.interval_seconds, first.port) == ("agent", 3600, 23)
    assert (await settings_of(stack, "r2")).interval_seconds == 7200
    await give(stack, interval_seconds=60, credential="store:main", port=9)
    changed = await settings_of(stack)
    assert (changed.credential, changed.interval_seconds, changed.port) == ("store:main", 60, 23)
    # The file says otherwise: its groups are as it has them, and one that it leaves out goes.
    path.write_text(path.read_text().replace(", core: {}", ""))
    assert await apply(prune=True) == (0, 0, 1)
    assert await settings_of(stack) == first
    assert list((await registered_inventory(stack.rig.nc, stack.rig.js, TENANT)).groups) == ["edge"]


async def test_a_rotated_credential_is_told_and_wakes_the_devices_that_waited_for_it(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong, secrets = "wrong-Zilpzalp-71", (PASSWORD, "wrong-Zilpzalp-71")
    keep = keeper(stack)
    given = Stored(username="backup", password=wrong)
    assert not await keep.set(TENANT, "lab", given, actor=ALICE, reason="new")
    async with serving(RouterOSDouble()) as double, collecting(stack, stack.role()):
        await register(stack, port=str(double.port), credential="store:lab")
        await eventually(lambda: stack.count(CollectionFailed))
        right = Stored(username="backup", password=PASSWORD)
        assert await keep.set(TENANT, "lab", right, actor="user:bo", reason="a typo")
        await eventually(lambda: stack.count(SnapshotCreated))
    assert double.passwords == [wrong, PASSWORD]
    branch = await stack.rig.history(TENANT, credential_branch("lab"))
    first, second = (one.event for one in branch)
    assert isinstance(first, CredentialSet)
    assert isinstance(second, CredentialSet)
    assert (first.rotated, second.rotated) == (False, True)
    assert (second.actor, second.reason, second.place) == ("user:bo", "a typo", "store")
    assert second.holds == ("username", "password")
    metrics = stack.rig.metrics.exposition().decode()
    async with aclosing(stack.rig.events.read()) as batches:
        events = [encode_event(one.event).decode() async for batch in batches for one in batch]
    assert len(events) > 4
    for told in (*events, metrics, caplog.text, *(str(vars(one)) for one in caplog.records)):
        assert not [secret for secret in secrets if secret in told]


async def test_a_credential_may_stand_for_a_place_and_its_users_are_known(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONFIGTRAIL_CREDENTIAL_LAB", PASSWORD)
    keep = keeper(stack)
    await keep.set(
        TENANT,
        "lab",
        Stored(username="backup"),
        actor=ALICE,
        reason=None,
        reference="env:CONFIGTRAIL_CREDENTIAL_LAB",
    )
    await give(stack, credential="store:lab")
    async with serving(RouterOSDouble()) as double:
        await register(stack, group="edge", port=str(double.port))
        wanted = await settings_of(stack)
        done = await stack.collecting().collect(
            TENANT, DEVICE, wanted, lambda name: _nothing(), source="manual"
        )
    assert done.size_bytes
    listed = await stored_credentials(stack.rig.nc, stack.rig.js, stack.store, TENANT)
    assert [(one.name, one.place, one.set_by, one.devices) for one in listed] == [
        ("lab", "env:CONFIGTRAIL_CREDENTIAL_LAB", ALICE, [DEVICE]),
        ("main", None, None, []),
    ]
    for wrong in ("store:main", "env:", "agent", "hunter2", "env:HOME", "file:../x"):
        with pytest.raises(InvalidInput):
            await keep.set(TENANT, "lab", Stored(), actor=ALICE, reason=None, reference=wrong)
    with pytest.raises(InvalidInput, match="username"):
        await keep.set(TENANT, "lab", Stored(username="b\U0001f600"), actor=ALICE, reason=None)


async def _nothing() -> None:
    return None


async def test_a_removed_credential_is_told_with_how_many_devices_use_it(stack: Stack) -> None:
    keep = keeper(stack)
    await keep.remove(TENANT, "main", actor=ALICE, reason="leaked", used_by=3)
    (told,) = await stack.rig.history(TENANT, credential_branch("main"))
    assert told.event == CredentialRemoved(
        actor=ALICE,
        change_id=told.event.change_id,  # type: ignore[union-attr]
        name="main",
        used_by=3,
        reason="leaked",
    )
    assert await stack.store.names(TENANT) == []
    with pytest.raises(NotFound):
        await keep.remove(TENANT, "main", actor=ALICE, reason=None, used_by=0)
