"""Devices and groups whose newest event can't be read: they may be anything, and so nothing is
removed, pruned or registered that hangs on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.cli.credentials import remove_credential
from adapters.collecting.credential_changes import CredentialKeeper
from adapters.collecting.credentials import Stored
from adapters.collecting.guarding import refuse_if_in_use, refuse_if_jumped_over, refuse_if_used
from adapters.collecting.planning import plan_of
from adapters.collecting.registered import Inventory, registered_inventory
from adapters.composition import open_system
from adapters.embedded.nats import EmbeddedNats
from adapters.ssh.profiles import PLATFORMS
from domain.errors import EventsUnread, InvalidInput
from domain.events import GivenSettings
from domain.groups import group_branch
from domain.inventory import Entry, InventoryRefused, Row, judge
from tests.collecting_stack import ALICE, TENANT, Stack, unreadable
from tests.serving import Api, settings_for


async def registered(stack: Stack) -> Inventory:
    return await registered_inventory(stack.rig.nc, stack.rig.js, TENANT)


def entries(*names: str, **fields: str) -> list[Entry]:
    rows = [
        Row(f"line {number}", {"name": name, "address": "192.0.2.1", **fields})
        for number, name in enumerate(names, 1)
    ]
    return judge(rows, PLATFORMS).entries


async def register(stack: Stack, name: str, **fields: str) -> None:
    (entry,) = judge(
        [Row("here", {"name": name, "address": "192.0.2.1", **fields})], PLATFORMS, known=["gate"]
    ).entries
    await stack.registrar.register(TENANT, entry, actor=ALICE, origin="test")


async def test_nothing_is_removed_that_a_device_may_need_that_cannot_be_read(stack: Stack) -> None:
    await register(stack, "gate", platform="jump")
    await stack.registrar.configure_group(TENANT, "edge", GivenSettings(port=1), actor=ALICE)
    await register(stack, "c7", credential="store:seven", jump="gate")
    await register(stack, "c8", group="edge")
    found = await registered(stack)
    for refuse, name in (
        (refuse_if_used, "seven"),
        (refuse_if_jumped_over, "gate"),
        (refuse_if_in_use, "edge"),
    ):
        with pytest.raises(InvalidInput):
            refuse(found, name)
    await stack.unreadable("c7", "DeviceConfigured")
    await stack.unreadable("c8", "DeviceConfigured", version=1)
    found = await registered(stack)
    with pytest.raises(EventsUnread, match=r"store:seven .* c7, c8 can't be read .* --force"):
        refuse_if_used(found, "seven")
    with pytest.raises(EventsUnread, match=r"through gate can't be told.* nothing was done: run a"):
        refuse_if_jumped_over(found, "gate")
    with pytest.raises(EventsUnread, match="in the group edge") as error:
        refuse_if_in_use(found, "edge")
    assert set(error.value.unread) == {"c7", "c8"}


async def test_what_a_device_says_itself_counts_also_while_its_group_cannot_be_read(
    stack: Stack,
) -> None:
    await register(stack, "gate", platform="jump")
    await stack.registrar.configure_group(TENANT, "edge", GivenSettings(port=1), actor=ALICE)
    await register(stack, "c7", group="edge", credential="store:seven")
    await stack.unreadable(group_branch("edge"), "GroupConfigured")
    found = await registered(stack)
    assert found.unread().keys() == {"c7"}
    refuse_if_used(found, "other")
    for refuse, name in ((refuse_if_used, "seven"), (refuse_if_in_use, "edge")):
        with pytest.raises(InvalidInput, match="c7"):
            refuse(found, name)
    # Its group may lead it over any device.
    with pytest.raises(EventsUnread, match="c7"):
        refuse_if_jumped_over(found, "gate")


async def test_nothing_is_pruned_that_a_device_may_need_that_cannot_be_read(stack: Stack) -> None:
    await register(stack, "gate", platform="jump")
    await register(stack, "c7", jump="gate")
    await register(stack, "c8")
    await stack.unreadable("c7", "DeviceConfigured")
    found = await registered(stack)
    with pytest.raises(InventoryRefused, match=r"device c7: .*--prune.*: event 4 has the type"):
        plan_of(found, entries("c8"), prune=True)
    assert plan_of(found, entries("c8")).absent == ("gate",)
    # Where nothing goes, nothing is in doubt.
    assert plan_of(found, entries("c8", "gate"), prune=True).absent == ()


async def test_an_inventory_that_hangs_on_what_cannot_be_read_is_refused_as_a_whole(
    stack: Stack,
) -> None:
    await register(stack, "c1")
    await register(stack, "c3")
    await stack.registrar.configure_group(TENANT, "edge", GivenSettings(port=1), actor=ALICE)
    await stack.unreadable("c1", "DeviceConfigured")
    await stack.unreadable(group_branch("edge"), "GroupConfigured")
    found = await registered(stack)
    given = [*entries("c1", "c2", "c3"), *entries("c5", group="edge")]
    with pytest.raises(InventoryRefused) as refused:
        plan_of(found, given, {"edge": GivenSettings(port=2)})
    assert [(one.where, one.field) for one in refused.value.problems] == [
        ("group edge", "name"),
        ("line 1", "name"),
        ("line 1", "group"),
    ]
    # Nor can anything be decided on a history in which something else can't be read.
    await stack.unreadable("c3", "HostKeyChanged")
    await stack.unreadable("c4", "HostKeyPinned", version=1)
    plan = plan_of(found, entries(*(f"c{number}" for number in range(2, 200)), port="2222"))
    with pytest.raises(InventoryRefused) as refused:
        await stack.registrar.apply(TENANT, plan, actor=ALICE, origin="f", prune=False)
    assert [(one.where, one.field) for one in refused.value.problems] == [
        ("line 3", "history"),
        ("line 2", "history"),
    ]
    assert set((await registered(stack)).devices) == {"c3"}


async def test_a_device_is_led_into_no_group_and_over_no_device_that_cannot_be_read(
    api: Api,
) -> None:
    inventory, groups = "/api/tenants/acme/inventory", "/api/tenants/acme/device-groups"
    given = {"address": "192.0.2.1"}
    assert (await api.http.put(f"{groups}/edge", json={"defaults": {"port": 1}})).is_success
    for name, more in (("gate", {}), ("c7", {}), ("c8", {"group": "edge"})):
        assert (await api.http.put(f"{inventory}/{name}", json=given | more)).is_success
    await unreadable(api.system.js, "acme", group_branch("edge"), "GroupConfigured")
    await unreadable(api.system.js, "acme", "c7", "DeviceConfigured")
    for more, field in (
        ({"group": "edge"}, "group"),
        ({"jump": "c7"}, "jump"),
        ({"jump": "c8"}, "jump"),
    ):
        answer = await api.http.put(f"{inventory}/new", json=given | more)
        assert (answer.status_code, answer.json()["field"]) == (422, field)
        assert "can't be read: event" in answer.json()["detail"]
    answer = await api.http.put(f"{groups}/edge", json={"defaults": {"port": 2}})
    assert (answer.status_code, answer.json()["field"]) == (422, "name")
    for method, path in (
        ("GET", f"{inventory}/c7"),
        ("GET", f"{inventory}/c8"),
        ("DELETE", f"{inventory}/c7"),
        ("DELETE", f"{inventory}/gate"),
        ("DELETE", f"{groups}/edge"),
    ):
        answer = await api.http.request(method, path)
        if path == f"{groups}/edge":
            assert answer.status_code == 422
        else:
            assert (answer.status_code, answer.json()["code"]) == (503, "events_unread")
            assert "run a version of Configtrail" in answer.json()["detail"]
    assert (await api.http.get(f"{inventory}/new")).status_code == 404
    # It can be taken out of the group.
    assert (await api.http.put(f"{inventory}/c8", json=given)).is_success


async def test_a_credential_that_may_be_in_use_is_removed_by_force_alone(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    settings = settings_for(nats_server, postgres_dsn, tmp_path, tenant=TENANT)
    async with open_system(settings) as system:
        keeper = CredentialKeeper(system.credentials, system.devices)
        await keeper.set(TENANT, "seven", Stored(password="p"), actor=ALICE, reason=None)
        await unreadable(system.js, TENANT, "c7", "DeviceConfigured")
        with pytest.raises(EventsUnread, match="--force"):
            await remove_credential(settings, name="seven")
        assert await system.credentials.names(TENANT) == ["seven"]
        await remove_credential(settings, name="seven", force=True)
        assert await system.credentials.names(TENANT) == []
