"""The devices of a NetBox, read over HTTP."""

from __future__ import annotations

import pytest

from adapters.collecting.fetching import HttpFailed
from adapters.collecting.netbox import read_netbox
from domain.events import GivenSettings
from domain.fields import is_text
from tests.doubles.sources import TOKEN, TOKEN_2, device, problems, serving


async def test_the_devices_of_a_netbox_are_read_page_after_page() -> None:
    with serving() as netbox:
        netbox.devices = [
            device(1),
            device(2, platform={"slug": "cisco-ios"}, custom_fields={"configtrail_port": 2222}),
            device(3, primary_ip=None),
            device(4, platform=None, name="patch-panel"),
            device(5, site=None),
        ]
        found = await read_netbox(netbox.url, TOKEN, {"credential": "store:main"})
    entries = {one.device_id: one.settings for one in found.judged().entries}
    assert found.judged().problems == []
    assert list(entries) == ["r1", "r2", "r5"]
    assert found.left_out == ["r3", "patch-panel"]
    assert entries["r1"].addresses == ("192.0.2.1",)
    assert (entries["r1"].group, entries["r5"].group) == ("berlin", None)
    assert (entries["r2"].platform, entries["r2"].port) == ("ios", 2222)
    assert entries["r1"].credential == "store:main"


async def test_a_netbox_takes_tokens_of_either_version() -> None:
    with serving() as netbox:
        netbox.devices = [device(1)]
        for token in (TOKEN, TOKEN_2):
            assert (await read_netbox(netbox.url, token, {})).judged().entries


async def test_a_token_that_is_refused_and_a_page_that_leads_elsewhere_are_told() -> None:
    with serving() as netbox:
        netbox.devices = [device(number) for number in range(1, 6)]
        with pytest.raises(HttpFailed, match="answers 403"):
            await read_netbox(netbox.url, "wrong", {})
        netbox.next_host = "http://127.0.0.9:1"
        with pytest.raises(HttpFailed, match="another server"):
            await read_netbox(netbox.url, TOKEN, {})


async def test_odd_answers_of_a_netbox_are_told_and_odd_devices_left_out() -> None:
    with serving() as netbox:
        netbox.devices = [
            device(1, primary_ip="192.0.2.1", platform="ios"),
            device(2, custom_fields={"configtrail_history": True}, site=7),
            device(3, custom_fields={"configtrail_platform": {"value": "ios", "label": "IOS"}}),
        ]
        found = await read_netbox(netbox.url, TOKEN, {})
        assert found.left_out == ["r1"]
        second, third = (one.settings for one in found.judged().entries)
        assert (second.history, second.group, third.platform) == (True, None, "ios")
        netbox.devices, netbox.circle = [device(1), device(2), device(3)], True
        with pytest.raises(HttpFailed, match="in a circle"):
            await read_netbox(netbox.url, TOKEN, {})


async def test_a_device_that_is_added_while_pages_are_read_moves_none_to_another_page() -> None:
    with serving() as netbox:
        netbox.devices = [device(number) for number in range(1, 5)]
        netbox.meanwhile = lambda: netbox.devices.insert(0, device(9, name="a9"))
        found = (await read_netbox(netbox.url, TOKEN, {})).judged()
    assert found.problems == []
    assert [one.device_id for one in found.entries] == ["r1", "r2", "r3", "r4", "a9"]


async def test_a_device_that_is_removed_while_pages_are_read_hides_no_other_one() -> None:
    """The next ones move up, one of them to a page that was read: it would count as gone."""
    with serving() as netbox:
        netbox.devices = [device(number) for number in range(1, 6)]
        netbox.meanwhile = lambda: netbox.devices.remove(device(1))
        with pytest.raises(HttpFailed, match="removed from it meanwhile: do it again"):
            await read_netbox(netbox.url, TOKEN, {})
        assert len((await read_netbox(netbox.url, TOKEN, {})).rows) == 4


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((429, {"detail": "slow down"}), "answers 429"),
        ((500, {"detail": "secret-Dompfaff"}), "answers 500"),
        ((200, ["secret-Dompfaff"]), "no JSON object"),
        ((200, {"detail": "secret-Dompfaff"}), "no page of devices"),
        ((200, {"count": 5, "results": [7]}), "no page of devices"),
        ((200, {"results": "secret-Dompfaff"}), "no page of devices"),
        ((302, {}), "answers 302"),
        ((200, None), "can't be asked|no JSON object"),
    ],
)
async def test_a_later_page_that_fails_leaves_nothing_half_read_and_is_told(
    answer: tuple[int, object], told: str
) -> None:
    with serving() as netbox:
        netbox.devices = [device(number) for number in range(1, 6)]
        netbox.later = answer
        with pytest.raises(HttpFailed, match=told) as failed:
            await read_netbox(netbox.url, TOKEN, {})
    assert "Dompfaff" not in str(failed.value)
    assert TOKEN not in str(failed.value)


async def test_wrong_defaults_for_a_netbox_are_told_once_and_without_their_values() -> None:
    with serving() as netbox:
        netbox.devices = [device(number) for number in range(1, 6)]
        given = {"password": "hunter2", "address": "192.0.2.1", "port": "0"}
        found = await read_netbox(netbox.url, TOKEN, given)
    assert [(one.where, one.field) for one in found.judged().problems] == [
        ("default", "password"),
        ("default", "address"),
        ("default", "port"),
    ]


async def test_what_a_netbox_is_given_for_all_stands_behind_what_a_group_gives() -> None:
    with serving() as netbox:
        netbox.devices = [device(1), device(2, custom_fields={"configtrail_credential": "agent"})]
        found = await read_netbox(netbox.url, TOKEN, {"credential": "store:main", "port": "9"})
    edge = {"berlin": GivenSettings(credential="store:berlin")}
    first, second = (one.within(edge).settings for one in found.judged().entries)
    assert (first.credential, first.port) == ("store:berlin", 9)
    assert second.credential == "agent"


async def test_a_secret_in_a_netbox_and_fields_that_are_none_are_told_and_not_passed_over() -> None:
    with serving() as netbox:
        netbox.devices = [
            device(1, custom_fields={"configtrail_password": "hunter2", "configtrail_port": None}),
            device(2, custom_fields={"configtrail_colour": "red", "rack_password": "x"}),
            device(3, custom_fields={"configtrail_password": None, "configtrail_colour": ""}),
            device(4, primary_ip=None, custom_fields={"configtrail_token": "hunter2"}),
        ]
        found = await read_netbox(netbox.url, TOKEN, {})
    assert [(one.where, one.field) for one in found.judged().problems] == [
        ("NetBox device 1", "configtrail_password"),
        ("NetBox device 2", "configtrail_colour"),
        ("NetBox device 4", "configtrail_token"),
    ]
    assert "hunter2" not in str(found.judged().problems)


async def test_a_custom_field_that_is_an_object_of_netbox_is_its_name_or_told() -> None:
    gate = {"id": 2, "url": "http://x/api/dcim/devices/2/", "display": "gate", "name": "gate"}
    with serving() as netbox:
        netbox.devices = [
            device(1, custom_fields={"configtrail_jump": gate}),
            device(2, name="gate", custom_fields={"configtrail_platform": "jump"}),
            device(
                3, custom_fields={"configtrail_jump": [gate], "configtrail_address": ["a", "b"]}
            ),
        ]
        found = (await read_netbox(netbox.url, TOKEN, {})).judged()
        assert found.problems == []
        assert [one.settings.jump for one in found.entries] == ["gate", None, "gate"]
        assert found.entries[2].settings.addresses == ("a", "b")
        netbox.devices[0] = device(1, custom_fields={"configtrail_jump": {"id": 2}})
        netbox.devices[1] = device(2, custom_fields={"configtrail_password": {"x": "hunter2"}})
        netbox.devices[2] = device(3, custom_fields={"configtrail_address": [{"id": 4}]})
        assert [(one.where, one.field) for one in await problems(netbox)] == [
            ("NetBox device 1", "configtrail_jump"),
            ("NetBox device 2", "configtrail_password"),
            ("NetBox device 3", "configtrail_address"),
        ]


async def test_an_unknown_platform_in_a_custom_field_is_a_mistake_and_an_empty_field_none() -> None:
    with serving() as netbox:
        netbox.devices = [
            device(1, custom_fields={"configtrail_platform": "toaster"}),
            device(2, primary_ip=None, custom_fields={"configtrail_platform": "toaster"}),
            device(3, custom_fields={"configtrail_jump": "r1"}),
        ]
        assert [(one.where, one.field) for one in await problems(netbox)] == [
            ("NetBox device 1", "configtrail_platform"),
            ("NetBox device 2", "configtrail_platform"),
        ]
        empty = {f"configtrail_{one}": " " for one in ("address", "platform", "group", "name")}
        netbox.devices = [device(1, custom_fields=empty)]
        found = (await read_netbox(netbox.url, TOKEN, {})).judged()
    assert found.problems == []
    (entry,) = found.entries
    assert (entry.device_id, entry.settings.addresses) == ("r1", ("192.0.2.1",))
    assert (entry.settings.platform, entry.settings.group) == ("routeros", "berlin")


async def test_a_next_page_that_is_no_address_is_told() -> None:
    with serving() as netbox:
        netbox.devices = [device(number) for number in range(1, 6)]
        netbox.next_host = "http://["
        with pytest.raises(HttpFailed, match="another server"):
            await read_netbox(netbox.url, TOKEN, {})


async def test_half_a_surrogate_pair_in_a_netbox_is_a_mistake_with_its_device() -> None:
    with serving() as netbox:
        netbox.devices = [
            device(1),
            device(2, custom_fields={"configtrail_credential": "store:\ud800"}),
            device(3, name="r\ud800"),
            device(4, name="r\ud800", status={"value": "offline"}),
            device(5, name="r\ud800", primary_ip=None),
            device(6, custom_fields={"configtrail_port": "\ud800"}),
            device(7, custom_fields={"configtrail_\ud800": "x"}),
            device(8, site={"slug": "\ud800"}),
        ]
        found = await read_netbox(netbox.url, TOKEN, {})
    told = {one.where.removeprefix("NetBox device ") for one in found.judged().problems}
    assert told == {"2", "3", "4", "5", "6", "7", "8"}
    assert all(is_text(one.field) for one in found.judged().problems)
    assert (found.left_out, found.resting) == ([], [])
