"""Inventories and secrets from other systems, spoken to over HTTP."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from msgspec.structs import replace

from adapters.cli.credentials import set_credential
from adapters.collecting.credentials import Credentials, CredentialStore, parse_secret
from adapters.collecting.fetching import HttpFailed
from adapters.collecting.files import judge_inventory
from adapters.collecting.netbox import read_netbox
from adapters.collecting.planning import plan_of, resolvable_entries
from adapters.collecting.registered import Inventory
from adapters.collecting.vault import Vault
from adapters.settings import Settings
from adapters.ssh.failures import DeviceUnread
from adapters.ssh.target import Credential
from domain.errors import InvalidInput
from domain.events import DeviceConfigured, DeviceSettings, GivenSettings
from domain.fields import Problem, is_text
from domain.inventory import Entry, InventoryRefused
from tests.support import answering

TOKEN = "0123456789abcdef"
# As NetBox makes them since 4.5.
TOKEN_2 = "nbt_4F9DAouzURLb.zjebxBPzICiPbWz0Wtx0fTL7bCKXKGTYhNzkgC2S"


class _Server(ThreadingHTTPServer):
    """Speaks NetBox's list of devices and a Vault's KV engine, as far as they are documented."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.devices: list[dict[str, object]] = []
        self.secrets: dict[str, dict[str, object]] = {}
        self.next_host: str | None = None
        self.page = 2
        self.circle = False
        self.later: tuple[int, object] | None = None
        self.meanwhile: Callable[[], None] | None = None
        self.stolen: list[str] = []
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/api/dcim/devices/":
            self._netbox(parse_qs(parts.query))
        elif parts.path.startswith("/v1/"):
            self._vault(parts.path.removeprefix("/v1/"))
        elif parts.path == "/moved/v1/secret/data/routers":
            self._send(302, {}, {"Location": f"{self.server.url}/stolen"})
        else:
            self.server.stolen.append(self.headers.get("X-Vault-Token") or "")
            self._send(404, {})

    def _netbox(self, query: dict[str, list[str]]) -> None:
        if self.headers.get("Authorization") not in (f"Token {TOKEN}", f"Bearer {TOKEN_2}"):
            self._send(403, {"detail": "Invalid token"})
            return
        start = int(query.get("offset", ["0"])[0])
        if start and self.server.later is not None:
            status, body = self.server.later
            self._send(status, body, {"Location": "/stolen"} if status == 302 else None)
            return
        if start and self.server.meanwhile is not None:
            self.server.meanwhile()
            self.server.meanwhile = None
        devices = self.server.devices
        by = query.get("ordering")
        if by is not None:
            devices = sorted(devices, key=lambda one: str(one[by[0]]))
        end = 0 if self.server.circle else start + self.server.page
        host = self.server.next_host or self.server.url
        asked = urlencode({**query, "limit": 2, "offset": end}, doseq=True)
        following = f"{host}/api/dcim/devices/?{asked}" if end < len(devices) else None
        results = devices[start : start + self.server.page]
        told = {"count": len(devices), "next": following, "previous": None, "results": results}
        self._send(200, told)

    def _vault(self, place: str) -> None:
        self.server.asked += 1
        if self.headers.get("X-Vault-Token") != TOKEN or place not in self.server.secrets:
            self._send(403, {"errors": ["permission denied"]})
            return
        data = {"data": self.server.secrets[place], "metadata": {"version": 1}}
        self._send(200, {"request_id": "x", "data": data})

    def _send(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(raw)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)


@contextmanager
def serving() -> Iterator[_Server]:
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def device(number: int, **given: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "id": number,
        "name": f"r{number}",
        "platform": {"id": 1, "name": "MikroTik RouterOS", "slug": "mikrotik-routeros"},
        "primary_ip": {"id": 4, "family": {"value": 4}, "address": f"192.0.2.{number}/24"},
        "site": {"id": 1, "name": "Berlin", "slug": "berlin"},
        "status": {"value": "active"},
        "custom_fields": {},
    }
    return {**fields, **given}


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
        assert [(one.where, one.field) for one in await _problems(netbox)] == [
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
        assert [(one.where, one.field) for one in await _problems(netbox)] == [
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
        assert [one.field for one in (await _problems(netbox))] == ["devices"]
        netbox.devices = [device(1, primary_ip=None)]
        assert [one.field for one in (await _problems(netbox))] == ["devices"]


async def _problems(netbox: _Server) -> list[Problem]:
    return (await read_netbox(netbox.url, TOKEN, {})).judged().problems


async def test_a_secret_of_a_vault_is_read_and_its_token_follows_no_redirect() -> None:
    with serving() as vault:
        vault.secrets["secret/data/routers"] = {"username": "backup", "password": "pw"}
        text = await Vault(vault.url, TOKEN).read("secret/routers")
        assert (parse_secret(text).username, parse_secret(text).password) == ("backup", "pw")
        for wrong in (
            Vault(vault.url, "wrong"),
            Vault(f"{vault.url}/moved", TOKEN),
            Vault("ftp://x", TOKEN),
        ):
            with pytest.raises(DeviceUnread) as failed:
                await wrong.read("secret/routers")
            assert failed.value.kind == "no_credential"
            assert TOKEN not in str(failed.value)
        assert vault.stolen == []


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-Dompfaff\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nDompfaff",
        b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{Dompfaff",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000,
    ],
)
async def test_a_server_that_speaks_no_http_is_told_and_not_quoted(said: bytes) -> None:
    async with answering(said) as port:
        url = f"http://127.0.0.1:{port}"
        with pytest.raises(DeviceUnread) as failed:
            await Vault(url, TOKEN).read("secret/routers")
        assert failed.value.kind == "no_credential"
        with pytest.raises(HttpFailed) as refused:
            await read_netbox(url, TOKEN, {})
    assert "Dompfaff" not in f"{failed.value} {refused.value}"


@pytest.mark.parametrize(
    "url",
    [
        "http://user:Dompfaff@vault",
        "https://user:Dompfaff@127.0.0.1:1/x",
        "http://Dompfaff@[",
        "http://127.0.0.1:Dompfaff",
        "http://127.0.0.1:1/a b",
        "Dompfaff",
    ],
)
async def test_a_secret_in_an_address_is_in_no_error(url: str) -> None:
    with pytest.raises(DeviceUnread) as failed:
        await Vault(url, TOKEN).read("secret/routers")
    assert failed.value.kind == "no_credential"
    with pytest.raises(HttpFailed) as refused:
        await read_netbox(url, TOKEN, {})
    told = [failed.value, refused.value]
    assert "Dompfaff" not in "".join("".join(traceback.format_exception(one)) for one in told)


async def test_a_next_page_that_is_no_address_is_told() -> None:
    with serving() as netbox:
        netbox.devices = [device(number) for number in range(1, 6)]
        netbox.next_host = "http://["
        with pytest.raises(HttpFailed, match="another server"):
            await read_netbox(netbox.url, TOKEN, {})


async def test_a_secret_that_many_ask_for_at_once_is_looked_for_once(tmp_path: Path) -> None:
    with serving() as server:
        server.secrets["secret/data/routers"] = {"username": "backup", "password": "x"}
        vault = Vault(server.url, TOKEN, None)
        unused = cast(CredentialStore, None)
        credentials = Credentials(unused, vault, tmp_path)

        async def ask(place: str) -> list[object]:
            asked = (credentials.find("acme", f"vault:{place}", None) for _ in range(20))
            return await asyncio.gather(*asked, return_exceptions=True)

        found = await ask("secret/routers")
        assert {one.password for one in found if isinstance(one, Credential)} == {"x"}
        assert server.asked == 1
        failed = await ask("secret/nothing")
        assert {type(one) for one in failed} == {DeviceUnread}
        assert server.asked == 2
        credentials.forget("acme", "vault:secret/routers")
        await ask("secret/routers")
        assert server.asked == 3


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


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("place", [".", "a/..", "a\0b", "\ud800"])
async def test_what_can_be_no_file_is_no_credential(
    tmp_path: Path, place: str, trusted: bool
) -> None:
    credentials = Credentials(cast(CredentialStore, None), None, tmp_path, trusted=trusted)
    with pytest.raises(DeviceUnread) as failed:
        await credentials.find("acme", f"file:{place}", None)
    assert failed.value.kind == "no_credential"


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


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
async def test_a_password_on_standard_input_that_is_no_text_is_refused_and_not_quoted(
    monkeypatch: pytest.MonkeyPatch, errors: str
) -> None:
    given = io.TextIOWrapper(io.BytesIO(b"correct \xff horse\n"), "utf-8", errors)
    monkeypatch.setattr("sys.stdin", given)
    with pytest.raises(InvalidInput, match="UTF-8") as failed:
        await set_credential(Settings(), name="main")
    assert "correct" not in "".join(traceback.format_exception(failed.value))
    assert failed.value.__context__ is None


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
