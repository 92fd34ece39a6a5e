"""Groups of devices: what a device's settings come to, and where each comes from."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.collecting.grouping import judged_group
from adapters.collecting.guarding import refuse_if_in_use, refuse_if_jumped_over
from adapters.collecting.planning import plan_of, refuse_if_led_astray
from adapters.collecting.registered import Inventory, Registry
from domain.device import DeviceState
from domain.envelope import StoredEvent, new_event, stored_event
from domain.errors import InvalidInput
from domain.events import (
    DeviceConfigured,
    DeviceSettings,
    GivenSettings,
    GroupConfigured,
    decode_event,
    encode_event,
)
from domain.groups import (
    GIVEN,
    changed_by,
    effective,
    group_branch,
    group_configured,
    group_removed,
    origins,
    settings_now,
)
from domain.inventory import Entry, InventoryRefused
from tests.generators import START

ADDRESSES = ("192.0.2.1",)
BUILT_IN = DeviceSettings(addresses=ADDRESSES, group="edge")
WHO: dict[str, Any] = {"change_id": "1", "actor": "user:ann", "occurred_at": START, "reason": "why"}

layer = st.builds(
    GivenSettings,
    port=st.none() | st.integers(1, 9),
    credential=st.none() | st.sampled_from(["agent", "store:main"]),
    enabled=st.none() | st.booleans(),
    interval_seconds=st.none() | st.integers(60, 65),
)


def told(own: GivenSettings | None, fallback: GivenSettings | None = None) -> DeviceConfigured:
    settings = effective(ADDRESSES, "edge", (own, fallback))
    return DeviceConfigured(
        actor="user:ann", change_id="1", settings=settings, own=own, fallback=fallback
    )


@given(layer, st.none() | layer, st.none() | layer)
def test_own_settings_stand_before_the_groups_those_before_the_files_those_before_ours(
    own: GivenSettings, group: GivenSettings | None, fallback: GivenSettings | None
) -> None:
    device = told(own, fallback)
    now, came_from = settings_now(device, group), origins(device, group)
    layers = {"device": own, "group": group, "file": fallback, "default": BUILT_IN}
    assert came_from.keys() == set(GIVEN)
    for name, origin in came_from.items():
        assert getattr(now, name) == getattr(layers[origin], name)
        for stronger in list(layers.values())[: list(layers).index(origin)]:
            assert stronger is None or getattr(stronger, name) is None
    assert (now.addresses, now.group) == (ADDRESSES, "edge")


@given(layer)
def test_a_device_that_was_registered_before_there_were_groups_keeps_what_it_has(
    group: GivenSettings,
) -> None:
    device = msgspec.structs.replace(told(GivenSettings(port=22)), own=None)
    assert settings_now(device, group) == device.settings
    assert set(origins(device, group).values()) == {"device"}


@given(layer, layer, st.sets(st.sampled_from(GIVEN)))
def test_a_change_of_a_group_leaves_what_it_does_not_name(
    before: GivenSettings, change: GivenSettings, without: set[str]
) -> None:
    after = changed_by(before, change, without)
    for name in GIVEN:
        new = getattr(change, name)
        kept = None if name in without else getattr(before, name)
        assert getattr(after, name) == (kept if new is None else new)


def test_a_group_is_told_once_and_its_end_only_when_it_is_there() -> None:
    given_now = GivenSettings(port=2222)
    event = group_configured(DeviceState(), "acme", "edge", defaults=given_now, origin="api", **WHO)
    assert event is not None
    assert event.device_id == group_branch("edge")
    assert decode_event(encode_event(event.event)) == event.event
    there = DeviceState(group=given_now)
    again = group_configured(there, "acme", "edge", defaults=given_now, origin=None, **WHO)
    assert again is None
    assert group_removed(there, "acme", "edge", **WHO) is not None
    assert group_removed(DeviceState(), "acme", "edge", **WHO) is None


def _stored(position: int, branch: str, event: Any) -> StoredEvent:
    new = new_event("acme", branch, f"e{position}", START, event)
    return stored_event(new, position, position, START)


def test_a_registry_knows_the_settings_whatever_comes_first_and_however_often() -> None:
    device = _stored(1, "r1", told(GivenSettings(port=2222)))
    defaults = GivenSettings(port=1, credential="store:main")
    group = _stored(
        2,
        group_branch("edge"),
        GroupConfigured(actor="user:ann", change_id="2", group="edge", defaults=defaults),
    )
    wanted = DeviceSettings(addresses=ADDRESSES, group="edge", port=2222, credential="store:main")
    forwards, backwards = Registry(), Registry()
    assert [forwards.apply(one) for one in (device, group)] == [[("acme", "r1")]] * 2
    assert [backwards.apply(one) for one in (group, device)] == [[], [("acme", "r1")]]
    assert forwards.apply(device) == forwards.apply(group) == []
    for one in (forwards, backwards):
        assert one.settings(("acme", "r1")) == wanted


def _inventory(**devices: DeviceConfigured) -> Inventory:
    return Inventory(
        devices=devices, groups={"edge": GivenSettings(port=2222, window="01:00-02:00")}
    )


def test_all_that_is_wrong_with_a_group_is_told_at_once() -> None:
    fields = {"port": "x", "password": "hunter2", "address": "a", "colour": "red", "interval": "1s"}
    with pytest.raises(InventoryRefused) as found:
        judged_group(_inventory(), " edge", fields, change=False)
    assert [one.field for one in found.value.problems] == [
        "name",
        "password",
        "colour",
        "address",
        "port",
        "interval",
    ]
    assert "hunter2" not in str(found.value)


def test_a_group_names_no_variable_that_collectors_may_not_have() -> None:
    with pytest.raises(InventoryRefused, match="env:CONFIGTRAIL_CREDENTIAL_NAME where collectors"):
        judged_group(_inventory(), "edge", {"credential": "env:ROUTERS"}, change=False)
    with pytest.raises(InventoryRefused, match="must lie in the collectors' folder"):
        judged_group(_inventory(), "edge", {"credential": "file:../x"}, change=False)


def test_a_change_takes_one_away_and_a_new_saying_stands_alone() -> None:
    fields = {"port": "", "interval": "1h"}
    changed = judged_group(_inventory(), "edge", fields, change=True)
    assert changed == GivenSettings(interval_seconds=3600, window="01:00-02:00")
    assert judged_group(_inventory(), "edge", fields, change=False) == GivenSettings(
        interval_seconds=3600
    )


def test_a_group_must_not_lead_its_devices_nowhere_or_in_a_circle() -> None:
    inventory = _inventory(gate=told(GivenSettings(platform="jump")), r1=told(GivenSettings()))
    with pytest.raises(InventoryRefused) as found:
        judged_group(inventory, "edge", {"jump": "gate"}, change=False)
    assert [(one.where, one.field) for one in found.value.problems] == [
        ("device gate", "jump"),
        ("device r1", "jump"),
    ]
    with pytest.raises(InventoryRefused, match="must name a device"):
        judged_group(_inventory(), "other", {"jump": "nowhere"}, change=False)


def test_a_group_with_devices_is_not_removed() -> None:
    devices = {f"r{number}": told(GivenSettings()) for number in range(7)}
    with pytest.raises(InvalidInput, match="r0, r1, r2, r3, r4 and 2 more"):
        refuse_if_in_use(_inventory(**devices), "edge")
    refuse_if_in_use(_inventory(**devices), "core")


def test_a_device_that_others_are_reached_through_is_not_removed() -> None:
    own = told(GivenSettings(jump="gate"))
    by_group = told(GivenSettings())
    inventory = Inventory(
        devices={"gate": told(GivenSettings(jump="")), "r1": own, "r2": by_group},
        groups={"edge": GivenSettings(jump="gate")},
    )
    with pytest.raises(InvalidInput, match="r1, r2"):
        refuse_if_jumped_over(inventory, "gate")
    refuse_if_jumped_over(inventory, "r1")


def test_a_device_must_not_lead_back_to_itself_over_registered_ones() -> None:
    inventory = _inventory(
        gate=told(GivenSettings(platform="jump", jump="")), r9=told(GivenSettings(jump="gate"))
    )
    own = GivenSettings(platform="jump", jump="r9")
    entry = Entry("gate", effective(ADDRESSES, None, (own,)), "here", own)
    for refusing in (refuse_if_led_astray, plan_of):
        with pytest.raises(InventoryRefused, match="here: jump: leads back") as found:
            refusing(inventory, [entry])
        assert len(found.value.problems) == 1
    refuse_if_led_astray(_inventory(r9=told(GivenSettings())), [entry])


def test_a_device_that_others_are_reached_through_is_not_pruned() -> None:
    own = GivenSettings(jump="gate")
    inventory = _inventory(gate=told(GivenSettings(platform="jump")), r1=told(own))
    entry = Entry("r1", effective(ADDRESSES, None, (own,)), "here", own)
    assert plan_of(inventory, [entry]).absent == ("gate",)
    with pytest.raises(InventoryRefused, match="here: jump"):
        plan_of(inventory, [entry], prune=True)
