"""What is registered, over HTTP: devices, groups and credentials, in pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from adapters.collecting import collection
from adapters.collecting.collection import Failed
from adapters.collecting.credential_changes import CredentialKeeper
from adapters.collecting.credentials import BUCKET as CREDENTIALS
from adapters.collecting.credentials import Stored
from tests.collecting_stack import only, settings
from tests.serving import Api

TENANT = "/api/tenants/acme"


async def pages(api: Api, path: str) -> list[list[dict[str, Any]]]:
    found, address = [], f"{path}?limit=2"
    while address:
        answer = await api.http.get(address)
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
        address = answer.links["next"]["url"] if "next" in answer.links else ""
    return found


async def test_devices_groups_and_credentials_come_in_pages_by_name(api: Api) -> None:
    keeper = CredentialKeeper(api.system.credentials, api.system.devices)
    names = ["a", "b/c", "d e", "z?", "\u00fc"]
    for name in names:
        given = {"address": "192.0.2.1"}
        path = f"{TENANT}/inventory/{quote(name, safe='')}"
        assert (await api.http.put(path, json=given)).status_code == 200
    for name in ["a", "g2", "g3"]:
        path = f"{TENANT}/device-groups/{name}"
        assert (await api.http.put(path, json={"defaults": {"port": 2222}})).status_code == 200
        await keeper.set(
            "acme", name, Stored(username="u", password="p"), actor="user:ann", reason=None
        )
    for path, field, wanted in (
        (f"{TENANT}/inventory", "device_id", names),
        (f"{TENANT}/device-groups", "group", ["a", "g2", "g3"]),
        (f"{TENANT}/credentials", "name", ["a", "g2", "g3"]),
    ):
        whole = (await api.http.get(path)).json()
        assert [one[field] for one in whole] == wanted
        parted = await pages(api, path)
        assert len(parted) == (len(wanted) + 1) // 2
        assert [one for page in parted for one in page] == whole
        first = await api.http.get(path)
        same = await api.http.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert same.status_code == 304
        lines = await api.http.get(path, headers={"Accept": "application/x-ndjson"})
        assert len(lines.text.splitlines()) == len(wanted)


async def test_while_the_bucket_of_credentials_is_missing_they_are_unavailable(api: Api) -> None:
    await api.system.js.delete_stream(f"KV_{CREDENTIALS}")
    answer = await api.http.get(f"{TENANT}/credentials")
    assert answer.status_code == 503, answer.text
    assert "is not there" in answer.text


async def test_a_device_whose_reading_ended_in_an_error_that_nobody_foresaw_is_failing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*given: object, **named: object) -> None:
        raise RuntimeError("words of the device")

    monkeypatch.setattr(collection, "read_device", broken)
    with pytest.raises(Failed):
        await api.system.collecting.collect(
            "acme", "r1", settings(22, credential="agent"), only(), source="scheduled"
        )
    await api.settled()
    shown = await api.get(f"{TENANT}/devices/r1")
    assert (shown["failing"], shown["last_failure_kind"]) == (True, "protocol")
    assert "words" not in str(shown)
    assert (await api.get(f"{TENANT}/statistics"))["failing"] == 1


@pytest.mark.parametrize(
    "body",
    [
        r'{"address": "192.0.2.1", "credential": "store:\ud800"}',
        r'{"address": "\ud800"}',
        r'{"address": "192.0.2.1", "\ud800": "x"}',
        r'{"address": "192.0.2.1", "\ud800": ["x"]}',
        r'{"address": "192.0.2.1", "group": "\ud800"}',
    ],
)
async def test_half_a_surrogate_pair_is_told_as_a_mistake_of_its_field(api: Api, body: str) -> None:
    groups = body.replace('"address": "192.0.2.1", ', "")
    for path, sent in (
        ("inventory/r1", body),
        ("device-groups/g1", f'{{"defaults": {groups}}}'),
        ("device-groups/g1", r'{"defaults": {"port": 22}, "reason": "\ud800"}'),
    ):
        answer = await api.http.put(
            f"{TENANT}/{path}", content=sent, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422, answer.text
    assert (await api.http.get(f"{TENANT}/inventory")).json() == []
    assert (await api.http.get(f"{TENANT}/device-groups")).json() == []


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("inventory/r1", '{"address": "192.0.2.1", "address": "192.0.2.2"}', "address"),
        ("inventory/r1", r'{"address": "192.0.2.1", "\u0061ddress": "192.0.2.2"}', "address"),
        ("inventory/r1", r'{"address": "192.0.2.1", "\ud800": "", "\ud800": ""}', "?"),
        ("device-groups/g1", '{"defaults": {"port": 22, "port": 23}}', "port"),
    ],
)
async def test_a_body_that_can_be_read_in_two_ways_is_refused(
    api: Api, path: str, body: str, name: str
) -> None:
    for form in ("application/json", "application/merge-patch+json; charset=utf-8"):
        answer = await api.http.put(
            f"{TENANT}/{path}", content=body, headers={"Content-Type": form}
        )
        assert answer.status_code == 400, answer.text
        told = answer.json()
        assert (told["code"], told["field"]) == ("repeated_name", name)
    assert (await api.http.get(f"{TENANT}/inventory")).json() == []
    assert (await api.http.get(f"{TENANT}/device-groups")).json() == []


async def test_a_change_of_a_group_that_is_not_there_makes_none(api: Api) -> None:
    path, given = f"{TENANT}/device-groups/sites", {"defaults": {"port": 22}}
    answer = await api.http.patch(path, json=given)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), answer.text
    assert (await api.http.get(f"{TENANT}/device-groups")).json() == []
    assert (await api.http.put(path, json=given)).status_code == 200
    assert (await api.http.patch(path, json=given)).status_code == 200


async def test_whatever_the_audit_log_shows_as_device_can_be_asked_for(api: Api) -> None:
    group = await api.http.put(f"{TENANT}/device-groups/sites", json={"defaults": {"port": 22}})
    device = await api.http.put(f"{TENANT}/inventory/r1", json={"address": "192.0.2.1"})
    key = await api.http.post(f"{TENANT}/keys", json={"name": "grafana"})
    assert [one.status_code for one in (group, device, key)] == [200, 200, 201], key.text
    await CredentialKeeper(api.system.credentials, api.system.devices).set(
        "acme", "main", Stored(password="x"), actor="user:ann", reason=None
    )
    await api.settled()
    entries = (await api.get(f"{TENANT}/audit-logs"))["items"]
    devices = {one["device_id"] for one in entries}
    assert devices == {"r1", " group sites", " keys", " credential main"}
    for one in devices:
        found = (await api.get(f"{TENANT}/audit-logs", device_id=one))["items"]
        assert found == [entry for entry in entries if entry["device_id"] == one]
    await api.problem(f"{TENANT}/audit-logs", 422, device_id="x" * 201)
