"""Inventories: every mistake at once with its place, no secret taken, none quoted."""

from __future__ import annotations

import posixpath
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.collecting.credentials import parse_secret, unfit_for_collectors
from adapters.collecting.files import read_inventory
from adapters.ssh.profiles import PLATFORMS
from domain.errors import InvalidInput
from domain.events import DeviceSettings
from domain.fields import Problem, given_of, is_reference, is_text, seconds_until_open
from domain.inventory import (
    InventoryRefused,
    Row,
    entries_of,
    judge,
)


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path) -> list[tuple[str, str]]:
    with pytest.raises(InventoryRefused) as found:
        read_inventory(path)
    return [(one.where, one.field) for one in found.value.problems]


def test_yaml_with_groups_and_defaults(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "fleet.yaml",
        """
defaults: {username: backup, credential: "env:ROUTERS"}
groups:
  edge: {interval: 1h, window: "22:00-05:00"}
devices:
  - name: r1
    address: 192.0.2.1
    group: edge
  - {name: r2, address: [192.0.2.2, r2.example.net], interval: 1d, secrets: no, jump: gate}
  - {name: gate, address: 192.0.2.3, platform: jump, credential: agent}
""",
    )
    first, second, third = read_inventory(path)
    assert (first.device_id, first.where) == ("r1", "fleet.yaml line 6")
    assert first.settings == DeviceSettings(
        addresses=("192.0.2.1",),
        username="backup",
        credential="env:ROUTERS",
        group="edge",
        interval_seconds=3600,
        window="22:00-05:00",
    )
    assert second.settings.addresses == ("192.0.2.2", "r2.example.net")
    assert (second.settings.interval_seconds, second.settings.secret_values) == (86_400, False)
    assert (second.settings.jump, third.settings.credential) == ("gate", "agent")


def test_csv(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "fleet.csv",
        "name,address,platform,credential\n# not yet\nr1,192.0.2.1,routeros,store:main\n"
        "r2,2001:db8::1,ios,file:/run/secrets/ios\n",
    )
    assert [(one.device_id, one.settings.platform) for one in read_inventory(path)] == [
        ("r1", "routeros"),
        ("r2", "ios"),
    ]


def test_router_db_of_two_tools(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "router.db",
        "# ours\nr1.example.net:routeros\nr2.example.net:ios:backup\n"
        "r3.example.net;mikrotik;up\nr4.example.net;juniper;down\n",
    )
    found = {one.device_id.partition(".")[0]: one.settings for one in read_inventory(path)}
    assert {name: one.platform for name, one in found.items()} == {
        "r1": "routeros",
        "r2": "ios",
        "r3": "routeros",
        "r4": "junos",
    }
    assert found["r2"].username == "backup"
    assert (found["r3"].enabled, found["r4"].enabled) == (True, False)
    assert found["r1"].addresses == ("r1.example.net",)


def test_router_db_of_an_older_rancid(tmp_path: Path) -> None:
    path = written(tmp_path, "router.db", "r1:mikrotik:up\r\nr2:cisco:down\r\n")
    found = {one.device_id: one.settings for one in read_inventory(path)}
    assert (found["r1"].platform, found["r2"].platform) == ("routeros", "ios")
    assert (found["r1"].enabled, found["r2"].enabled) == (True, False)
    assert found["r1"].username is None


def test_yaml_with_a_mark_of_its_encoding_anchors_merges_and_nothing(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "fleet.yaml",
        """\ufeff# by hand
defaults: &usual {username: backup, interval: 1h}
groups:
  core: {<<: *usual, interval: 2h, history: on, legacy: off}
devices:
  - &first {name: r1, address: 192.0.2.1, group: core, window: null, jump: ~}
  - {<<: [{port: 2222}, *first], name: r2, address: [192.0.2.2, r2.example.net]}
""".replace("\n", "\r\n"),
    )
    first, second = (one.settings for one in read_inventory(path))
    assert (first.username, first.interval_seconds) == ("backup", 7200)
    assert (first.window, first.jump) == (None, None)
    assert (first.history, first.legacy, first.port) == (True, False, 22)
    assert (second.port, second.group) == (2222, "core")
    assert second.addresses == ("192.0.2.2", "r2.example.net")


def test_defaults_and_groups_are_judged_where_they_stand_and_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "fleet.yaml",
        """defaults: {port: 0, name: r0}
groups:
  edge: {interval: soon, address: 192.0.2.9, colour: red}
  " core": {password: hunter2}
devices:
  - {name: r1, address: 192.0.2.1, group: edge}
  - {name: r2, address: 192.0.2.2, group: edge}
""",
    )
    assert refused(path) == [
        ("fleet.yaml line 1", "name"),
        ("fleet.yaml line 1", "port"),
        ("fleet.yaml line 3", "colour"),
        ("fleet.yaml line 3", "address"),
        ("fleet.yaml line 3", "interval"),
        ("fleet.yaml line 4", "groups"),
        ("fleet.yaml line 4", "password"),
    ]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("devices:\n  - {name: r1, address: a, address: b}\n", [(2, "address")]),
        ("devices:\n  r1: {address: a}\n  r1: {address: b}\n", [(3, "name")]),
        ("devices:\n\t- {name: r1}\n", [(2, "file")]),
        ("devices: []\ndevices: []\n", [(2, "devices")]),
        ("devices: &a\n  - {<<: *a, name: r1, address: b}\n", [(1, "devices")]),
        (
            "a: &a {<<: *a}\ndevices:\n  - {<<: *a, name: r, address: b}\n",
            [(1, "a"), (1, "devices")],
        ),
        ("--- {devices: []}\n--- {devices: []}\n", [(2, "file")]),
        (
            "groups:\n  edge: {jump: nowhere}\n  core: {jump: r}\n"
            "devices: [{name: r, address: b}]\n",
            [(2, "jump")],
        ),
    ],
)
def test_odd_yaml_is_refused_at_its_line(
    tmp_path: Path, text: str, problems: list[tuple[int, str]]
) -> None:
    path = written(tmp_path, "fleet.yaml", text)
    assert refused(path) == [(f"fleet.yaml line {line}", field) for line, field in problems]


def test_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "fleet.csv",
        '\ufeffName, Address ,group\r\nr1,"192.0.2.1, r1.example.net",a\u2028b\r\n,,\r\n'
        'r2,192.0.2.2,"two\r\nlines"\r\nr3,192.0.2.3,\r\n',
    )
    assert refused(path) == [("fleet.csv line 2", "group"), ("fleet.csv line 5", "group")]


def test_every_mistake_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "fleet.yaml",
        """devices:
  - {name: r1, address: 192.0.2.1, platform: toaster}
  - {name: r2, address: 192.0.2.2, password: hunter2}
  - {name: r2, address: 192.0.2.2}
  - {name: r2, address: 192.0.2.4}
  - {name: r5, adress: 192.0.2.2}
  - {name: r6, address: 192.0.2.6, credential: hunter2, port: 0, interval: soon, window: late}
  - {name: r7, address: 192.0.2.7, jump: nowhere}
  - {name: r8, address: 192.0.2.8, port: 0, jump: nowhere}
""",
    )
    assert refused(path) == [
        ("fleet.yaml line 2", "platform"),
        ("fleet.yaml line 3", "password"),
        ("fleet.yaml line 6", "adress"),
        ("fleet.yaml line 6", "address"),
        ("fleet.yaml line 7", "credential"),
        ("fleet.yaml line 7", "window"),
        ("fleet.yaml line 7", "port"),
        ("fleet.yaml line 7", "interval"),
        ("fleet.yaml line 9", "port"),
        ("fleet.yaml line 4", "name"),
        ("fleet.yaml line 5", "name"),
        ("fleet.yaml line 8", "jump"),
        ("fleet.yaml line 9", "jump"),
    ]
    with pytest.raises(InventoryRefused) as found:
        read_inventory(path)
    assert "hunter2" not in str(found.value)


def test_wrong_columns_and_passwords_in_csv_and_router_db(tmp_path: Path) -> None:
    no_address = written(tmp_path, "a.csv", "name,host\nr1,192.0.2.1\n")
    assert refused(no_address) == [("a.csv line 1", "columns"), ("a.csv line 1", "host")]
    both = written(tmp_path, "d.csv", "name,password,port\nr1,hunter2,0\n,hunter2,22\n")
    assert refused(both) == [
        ("d.csv line 1", "columns"),
        ("d.csv line 1", "password"),
        ("d.csv line 2", "port"),
        ("d.csv line 3", "name"),
    ]
    secret = written(tmp_path, "b.csv", "name,address,password\nr1,192.0.2.1,hunter2\n")
    assert refused(secret) == [("b.csv line 1", "password")]
    short = written(tmp_path, "c.csv", "name,address,port\nr1,192.0.2.1\nr2,192.0.2.2,1,2\n")
    assert refused(short) == [("c.csv line 2", "columns"), ("c.csv line 3", "columns")]
    broken = written(
        tmp_path,
        "f.csv",
        "name,address,jump,port\nr1,192.0.2.1,,22,23\nr1,192.0.2.1,,0\n"
        'r3,"192.0.2.3"x,,22\nr4,192.0.2.4,gate\nr5,192.0.2.5,,0\ngate,192.0.2.6,,22,\n',
    )
    assert refused(broken) == [
        ("f.csv line 2", "columns"),
        ("f.csv line 4", "file"),
        ("f.csv line 5", "columns"),
        ("f.csv line 7", "columns"),
        ("f.csv line 3", "port"),
        ("f.csv line 6", "port"),
        ("f.csv line 3", "name"),
    ]
    headless = written(tmp_path, "e.csv", "r1,192.0.2.1,hunter2\nr2,192.0.2.2,hunter2\n")
    assert refused(headless) == [("e.csv line 1", "first line")]
    with pytest.raises(InventoryRefused) as found:
        read_inventory(headless)
    assert "hunter2" not in str(found.value)
    database = written(tmp_path, "router.db", "r1:routeros:admin:hunter2\nr2\n")
    assert refused(database) == [("router.db line 1", "password"), ("router.db line 2", "columns")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "devices: [{name"),
        ("a.yaml", "devices: 7"),
        ("a.yaml", "devices: " + "[" * 5000 + "]" * 5000),
        ("a.yaml", "devices: " + "{a: " * 5000 + "}" * 5000),
        ("a.yaml", "- r1"),
        ("a.yaml", ""),
        ("a.yaml", "devices: [{name: r1, address: {a: b}}]"),
        ("a.csv", ""),
        ("a.txt", "r1"),
        ("a.csv", 'name,address\n"r1'),
        ("absent.yaml", None),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path: Path, name: str, text: str | None) -> None:
    path = tmp_path / name if text is None else written(tmp_path, name, text)
    assert refused(path)


@pytest.mark.parametrize(
    "address",
    [
        *("-oProxyCommand=x", "user@h", "http://h", "h/../x", "$(id)", "`id`", "h|x", "[::1]"),
        *("\u202eh", "h\x1b[2J", "h\x00", "-", "x" * 300, "\uff48"),
        *("r1..example.net", "x" * 64, "r1." + "x" * 70 + ".net"),
    ],
)
def test_an_address_is_a_name_or_an_ip_address_and_nothing_else(address: str) -> None:
    for field in ("address", "jump"):
        row = Row("here", {"name": "r1", "address": "192.0.2.1", field: address})
        assert field in [one.field for one in judge([row], PLATFORMS).problems]


@pytest.mark.parametrize(
    "address",
    ["x" * 63 + "." + "y" * 63, "fe80::1%eth0.100", "::1", "2001:db8:0:0:0:0:192.0.2.1", "a_b-c"],
)
def test_addresses_of_all_kinds_are_taken(address: str) -> None:
    assert not judge([Row("here", {"name": "r1", "address": address})], PLATFORMS).problems


def test_a_device_has_no_more_addresses_than_are_ever_tried() -> None:
    def told(number: int) -> list[str]:
        row = Row("here", {"name": "r1", "address": "192.0.2.1 " * number})
        return [one.field for one in judge([row], PLATFORMS).problems]

    assert (told(16), told(17), told(100_000)) == ([], ["address"], ["address"])


def test_a_device_is_in_no_group_that_can_never_be_set() -> None:
    def told(group: str) -> list[str]:
        row = Row("here", {"name": "r1", "address": "192.0.2.1", "group": group})
        return [one.field for one in judge([row], PLATFORMS).problems]

    assert (told("g" * 100), told("g" * 101), told("g\n")) == ([], ["group"], [])
    assert (told("a\u2028b"), told("g" * 200)) == (["group"], ["group"])


def test_a_user_name_that_no_login_can_send_is_told_with_its_line(tmp_path: Path) -> None:
    line = "  - {name: r1, address: r1..example.net, username: b\U0001f600}\n"
    path = written(tmp_path, "fleet.yaml", "devices:\n" + line)
    assert refused(path) == [("fleet.yaml line 2", "address"), ("fleet.yaml line 2", "username")]


def test_jumps_must_not_lead_back() -> None:
    rows = [
        Row(name, {"name": name, "address": name, "jump": over})
        for name, over in (("a", "b"), ("b", "a"))
    ]
    with pytest.raises(InventoryRefused) as found:
        entries_of(rows, PLATFORMS)
    assert [one.field for one in found.value.problems] == ["jump", "jump"]


@given(
    st.dictionaries(
        st.sampled_from(["name", "address", "port", "interval", "window", "credential", "x"]),
        st.text(st.characters(codec=None, categories=None), max_size=30),
    )
)
def test_whatever_stands_in_the_fields_is_taken_or_told(fields: dict[str, str]) -> None:
    told: list[Problem] = []
    given_of(fields, PLATFORMS, "here", told)
    judged = judge([Row("here", fields)], PLATFORMS)
    assert set(told) <= set(judged.problems)
    assert bool(judged.entries) != bool(judged.problems)


@pytest.mark.parametrize(
    ("window", "hour", "hours"),
    [
        (None, 3, 0),
        ("22:00-05:00", 23, 0),
        ("22:00-05:00", 3, 0),
        ("22:00-05:00", 5, 17),
        ("01:00-05:00", 6, 19),
        ("01:00-05:00", 0, 1),
    ],
)
def test_a_window_says_how_long_to_wait(window: str | None, hour: int, hours: int) -> None:
    assert seconds_until_open(window, hour * 3600) == hours * 3600


@given(st.text(st.sampled_from("a./\\\0 \n\ud800"), max_size=8))
def test_of_every_file_that_a_credential_may_name_it_is_known_whether_it_is_fit(
    place: str,
) -> None:
    told = unfit_for_collectors(f"file:{place}")
    inside = [one for one in posixpath.normpath(place).split("/") if one not in ("", ".")]
    assert bool(told) or bool(inside)


def test_a_reference_has_no_character_that_no_name_can_have() -> None:
    assert is_reference("file:a b")
    assert not is_reference("file:a\0b")
    assert not is_reference("env:\0")
    assert not is_reference("store:\ud800")


@pytest.mark.parametrize(
    "line",
    [
        'credential: "store:\\ud800"',
        'username: "\\udfff"',
        'jump: "\\ud800"',
        'group: "\\ud800"',
        'platform: "\\ud800"',
        'window: "\\ud800"',
        'address: "\\ud800"',
        'name: "\\ud800"',
        '"\\ud800": x',
    ],
)
def test_half_a_surrogate_pair_is_told_with_its_line(tmp_path: Path, line: str) -> None:
    fields = {"name": "r2", "address": "192.0.2.2"}
    fields.pop(line.partition(":")[0], None)
    device = "".join(f"    {name}: {value}\n" for name, value in fields.items())
    head = "devices:\n  - {name: r1, address: 192.0.2.1}\n"
    path = written(tmp_path, "fleet.yaml", f"{head}  - enabled: no\n{device}    {line}\n")
    places = {where for where, _ in refused(path)}
    assert places == {"fleet.yaml line 3"}


def test_half_a_surrogate_pair_that_is_given_to_many_is_told_with_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "fleet.yaml",
        'defaults:\n  {credential: "store:\\ud800"}\ngroups:\n  edge: {credential: "env:\\udfff"}\n'
        '  "\\ud800": {}\ndevices:\n  - {name: r1, address: 192.0.2.1}\n',
    )
    assert refused(path) == [
        ("fleet.yaml line 2", "credential"),
        ("fleet.yaml line 4", "credential"),
        ("fleet.yaml line 5", "groups"),
    ]


@pytest.mark.parametrize("escape", ["\\U00110000", "\\UFFFFFFFF", "\x01"])
def test_what_is_no_character_of_yaml_is_told_with_its_line(tmp_path: Path, escape: str) -> None:
    path = written(tmp_path, "fleet.yaml", f'devices:\n  - name: "{escape}"\n    address: r1\n')
    assert refused(path) == [("fleet.yaml line 2", "file")]


@given(st.text(st.characters(codec=None, categories=None)))
def test_a_text_is_one_that_utf_8_can_hold(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        assert not is_text(text)
    else:
        assert is_text(text)


@pytest.mark.parametrize(
    "secret", ["pass\udcffword", '{"password": "\udcff"}', "-----BEGIN \udcff"]
)
def test_a_secret_that_is_no_text_is_refused_and_not_quoted(secret: str) -> None:
    with pytest.raises(InvalidInput, match="UTF-8") as failed:
        parse_secret(secret)
    assert failed.value.__cause__ is None
    assert failed.value.__context__ is None
