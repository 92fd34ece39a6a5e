"""What is planned of an inventory from elsewhere: what goes, what stays, what is a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.collecting.files import judge_inventory
from adapters.collecting.netbox import read_netbox
from adapters.collecting.planning import plan_of, resolvable_entries
from adapters.collecting.registered import Inventory
from domain.events import DeviceConfigured, DeviceSettings
from domain.inventory import Entry, InventoryRefused
from tests.doubles.sources import TOKEN, device, problems, serving


async def test_no_device_that_a_netbox_still_has_is_pruned() -> None:
    with serving() as netbox:
        netbox.devices = [device(1), device(2), device(3), device(4)]
        before = (await read_netbox(netbox.url, TOKEN, {})).judged().entries
        netbox.devices = [device(1), device(2, primary_ip=None), device(3, platform=None)]
        found = await read_netbox(netbox.url, TOKEN, {})
    devices = {one.device_id: _told(one) for one in before}
    registered = Inventory(devices, {})
    entries = found.judged().entries
    plan = plan_of(registered, entries, prune=True, kept=found.kept)
    assert plan.absent == ("r4",)
    devices["r2"] = _told(_behind(before[1], "r4"))
    with pytest.raises(InventoryRefused) as refused:
        plan_of(registered, entries, prune=True, kept=found.kept)
    assert [(one.where, one.field) for one in refused.value.problems] == [("device r2", "jump")]
    devices["r2"] = _told(before[1])
    over = _behind(entries[0], "r3")
    assert plan_of(registered, [over], prune=True, kept=found.kept).changed == (over,)


async def test_what_a_netbox_has_out_of_service_goes_and_what_only_rests_there_stays() -> None:
    resting = ("offline", "failed", "planned", "staged", "of-our-own")
    out_of_service = ("decommissioning", "inventory")
    with serving() as netbox:
        netbox.devices = [device(number) for number in range(1, 9)]
        before = (await read_netbox(netbox.url, TOKEN, {})).judged().entries
        secret = {"configtrail_password": "s3cret"}
        netbox.devices = [
            device(1),
            *(
                device(number, status={"value": status}, custom_fields=secret)
                for number, status in enumerate((*resting, *out_of_service), 2)
            ),
        ]
        found = await read_netbox(netbox.url, TOKEN, {})
    assert [one.device_id for one in found.judged().entries] == ["r1"]
    assert found.resting == ["r2", "r3", "r4", "r5", "r6"]
    registered = Inventory({one.device_id: _told(one) for one in before}, {})
    plan = plan_of(registered, found.judged().entries, prune=True, kept=found.kept)
    assert plan.absent == ("r7", "r8")


def _behind(entry: Entry, jump: str) -> Entry:
    return replace(entry, own=replace(entry.own, jump=jump)).within({})


def _told(entry: Entry) -> DeviceConfigured:
    return DeviceConfigured(
        change_id="c",
        actor="user:alice",
        settings=entry.settings,
        own=entry.own,
        fallback=entry.fallback,
    )


async def test_a_netbox_that_shows_no_device_is_told_and_retires_none() -> None:
    """It answers so to a token that may not see them: with --prune all devices would go."""
    with serving() as netbox:
        assert [one.field for one in (await problems(netbox))] == ["devices"]
        netbox.devices = [device(1, primary_ip=None)]
        assert [one.field for one in (await problems(netbox))] == ["devices"]


async def test_hosts_that_cannot_be_resolved_are_told_with_all_other_mistakes(
    tmp_path: Path,
) -> None:
    path = tmp_path / "fleet.csv"
    path.write_text(
        "name,address,platform,jump,credential\nr1,no-such-host.invalid,ios,,agent\n"
        "r2,127.0.0.1,toaster,,\nr3,only-known-there.invalid,ios,r1,env:ROUTERS\n"
        "r4,nor-this-one.invalid,toaster,,env:ROUTERS\nr5,,ios,,hunter2\n"
        "r6,127.0.0.1,ios,,file:../../etc/passwd\nr7,127.0.0.1,ios,,file:a/../b\n"
    )
    with pytest.raises(InventoryRefused) as found:
        await resolvable_entries(judge_inventory(path))
    assert [(one.where, one.field) for one in found.value.problems] == [
        ("fleet.csv line 3", "platform"),
        ("fleet.csv line 5", "platform"),
        ("fleet.csv line 6", "address"),
        ("fleet.csv line 6", "credential"),
        # Variables that no registered device may have, and a file outside of any folder of them.
        ("fleet.csv line 4", "credential"),
        ("fleet.csv line 7", "credential"),
        ("fleet.csv line 5", "credential"),
        ("fleet.csv line 2", "address"),
        ("fleet.csv line 5", "address"),
    ]


@pytest.mark.parametrize("reference", ["file:.", "file:a/..", "file:./", "file:a/../.."])
async def test_a_folder_is_no_credential_and_told_with_all_other_mistakes(
    tmp_path: Path, reference: str
) -> None:
    path = tmp_path / "fleet.csv"
    path.write_text(
        f"name,address,platform,credential\nr1,127.0.0.1,ios,{reference}\nr2,127.0.0.1,toaster,\n"
    )
    with pytest.raises(InventoryRefused) as found:
        await resolvable_entries(judge_inventory(path))
    assert [(one.where, one.field) for one in found.value.problems] == [
        ("fleet.csv line 3", "platform"),
        ("fleet.csv line 2", "credential"),
    ]


@pytest.mark.parametrize("gate", ["offline", "without an address", "by hand"])
@pytest.mark.parametrize("prune", [False, True])
async def test_a_jump_host_that_is_registered_may_rest_in_a_netbox_or_not_be_in_it(
    gate: str, prune: bool
) -> None:
    with serving() as netbox:
        behind = device(1, custom_fields={"configtrail_jump": {"name": "gate"}})
        netbox.devices = [behind, device(2)]
        if gate == "offline":
            netbox.devices.append(device(3, name="gate", status={"value": "offline"}))
        elif gate == "without an address":
            netbox.devices.append(device(3, name="gate", primary_ip=None))
        found = await read_netbox(netbox.url, TOKEN, {})
    gate_settings = DeviceSettings(addresses=("192.0.2.3",), platform="jump")
    told = {"gate": _told(Entry("gate", gate_settings, "by hand"))}
    registered = Inventory(devices=told, groups={})
    entries = await resolvable_entries(found.judged(registered.devices))
    if prune and gate == "by hand":
        with pytest.raises(InventoryRefused, match="NetBox device 1: jump"):
            plan_of(registered, entries, prune=True, kept=found.kept)
    else:
        plan = plan_of(registered, entries, prune=prune, kept=found.kept)
        assert {one.device_id for one in plan.added} == {"r1", "r2"}
    # Where it is not registered, nothing could be reached through it.
    with pytest.raises(InventoryRefused, match="NetBox device 1: jump"):
        await resolvable_entries(found.judged())
