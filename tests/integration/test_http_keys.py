"""API keys over HTTP: shown once, held by nobody, and never more than whoever makes them may."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import pytest

from adapters.access.first import NAME, first_key
from adapters.access.keys import BUCKET, ApiKeys
from adapters.jetstream.buckets import Bucket
from adapters.memory import MemoryEventStore
from domain.access import EVERY_TENANT, Permission, Role
from domain.envelope import new_event
from domain.errors import EventsUnread, NameTaken
from domain.events import AccessKeyCreated, AccessKeyRevoked, encode_event
from domain.granting import KEYS_BRANCH, NO_TENANT, key_created
from tests.collecting_stack import unreadable
from tests.rig import api_key
from tests.serving import Api
from tests.support import eventually

KEYS = "/api/tenants/acme/keys"
ALL = "/api/keys"


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def make(api: Api, key: str, path: str = KEYS, **body: Any) -> httpx.Response:
    named = {"name": f"ci-{token_hex(4)}", **body}
    return await api.http.post(path, json=named, headers=bearing(key))


async def known(api: Api, key: str) -> int:
    """How a key is answered: 200 where it is let in, though there are no devices."""
    answer = await api.http.get("/api/tenants/acme/devices", headers=bearing(key))
    return answer.status_code


async def test_an_admin_makes_a_key_for_the_tenant_and_ends_it(api: Api) -> None:
    admin = await api_key(api.system, Role.ADMIN, "acme")
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    asked: dict[str, Any] = {
        "name": "ci",
        "role": "operator",
        "only": ["upload", "read"],
        "expires_at": str(ends),
    }
    made = await make(api, admin, **asked)
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    new = made.json()
    position = made.headers["configtrail-position"]
    assert (new["position"], new["key"].split("_")[1]) == (int(position), new["key_id"])
    await eventually(lambda: _is(api, new["key"], 200))
    denied = await api.http.get("/api/tenants/acme/search?q=a", headers=bearing(new["key"]))
    assert denied.status_code == 403

    listed = (await api.http.get(KEYS, headers=bearing(admin))).json()
    [one] = [each for each in listed if each["key_id"] == new["key_id"]]
    assert (one["name"], one["role"], one["tenant"]) == ("ci", "operator", "acme")
    assert one["permissions"] == ["read", "upload"]
    assert datetime.fromisoformat(one["expires_at"]) == ends
    assert one["created_by"].startswith("service:key/tests-admin-")
    assert new["key"].split("_", 2)[2] not in str(listed)

    path = f"{KEYS}/{new['key_id']}/revoke"
    ended = await api.http.post(path, json={"reason": "lost"}, headers=bearing(admin))
    assert (ended.status_code, ended.json()["key_id"]) == (200, new["key_id"])
    await eventually(lambda: _is(api, new["key"], 401))
    again = await api.http.post(path, headers=bearing(admin))
    assert (again.status_code, again.json()["code"]) == (404, "not_found")


async def _is(api: Api, key: str, status: int) -> bool:
    return await known(api, key) == status


async def test_keys_for_all_tenants_are_for_those_who_administer_all(api: Api) -> None:
    mine = await api_key(api.system, Role.ADMIN, "acme")
    all_of_them = await api_key(api.system)
    assert (await make(api, mine, ALL)).status_code == 403
    made = await make(api, all_of_them, ALL)
    assert made.status_code == 201
    new = made.json()["key_id"]

    at_least = {**bearing(all_of_them), "Configtrail-Min-Position": str(made.json()["position"])}
    listed = {one["key_id"]: one for one in (await api.http.get(ALL, headers=at_least)).json()}
    assert new in listed
    assert {one["tenant"] for one in listed.values()} == {EVERY_TENANT}
    # One tenant's admin neither sees nor ends a key that is not the tenant's.
    own = (await api.http.get(KEYS, headers=bearing(mine))).json()
    assert new not in {one["key_id"] for one in own}
    path = f"{KEYS}/{new}/revoke"
    assert (await api.http.post(path, headers=bearing(mine))).status_code == 404
    path = f"{ALL}/{new}/revoke"
    assert (await api.http.post(path, headers=bearing(all_of_them))).status_code == 200


async def test_keys_come_in_pages_oldest_first(api: Api) -> None:
    for _ in range(5):
        await api_key(api.system, Role.VIEWER, "acme")
    whole = (await api.http.get(KEYS)).json()
    assert len(whole) == 5
    assert [one["created_at"] for one in whole] == sorted(one["created_at"] for one in whole)
    seen, address = [], f"{KEYS}?limit=2"
    while address:
        answer = await api.http.get(address)
        seen += answer.json()
        address = answer.links["next"]["url"] if "next" in answer.links else ""
        # One that is made meanwhile does not move the pages.
        await api_key(api.system, Role.VIEWER, "acme")
        assert len(answer.json()) <= 2
    assert [one["key_id"] for one in seen[:5]] == [one["key_id"] for one in whole]
    cursor = (await api.http.get(f"{KEYS}?limit=1")).links["next"]["url"].partition("cursor=")[2]
    foreign = await api.http.get(f"{ALL}?cursor={cursor}")
    assert (foreign.status_code, foreign.json()["code"]) == (400, "invalid_cursor")
    table = await api.http.get(KEYS, headers={"Accept": "text/csv"})
    assert table.text.startswith("key_id,name,tenant,role")


async def test_nobody_makes_a_key_that_may_do_more_than_they_may(api: Api) -> None:
    narrowed = await api_key(
        api.system, Role.ADMIN, "acme", only=frozenset({Permission.KEYS, Permission.READ})
    )
    for body in ({"role": "admin"}, {"role": "operator"}, {"role": "admin", "only": ["reveal"]}):
        refused = await make(api, narrowed, **body)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden"), body
    for body in ({"role": "viewer"}, {"role": "admin", "only": ["keys"]}):
        assert (await make(api, narrowed, **body)).status_code == 201, body


async def test_a_key_that_cant_be_is_refused_by_the_field_to_blame(api: Api) -> None:
    admin = await api_key(api.system, Role.ADMIN, "acme")
    for body, field in (
        ({"name": "a b"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "\x00"}, "name"),
        ({"role": "root"}, "role"),
        ({"only": []}, "only"),
        ({"only": ["everything"]}, "only.0"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2099-01-01T00:00:00"}, "expires_at"),
        ({"tenant": "other"}, "tenant"),
    ):
        refused = await make(api, admin, **body)
        assert (refused.status_code, refused.json()["field"]) == (422, field), body
    assert len((await api.http.get(KEYS, headers=bearing(admin))).json()) == 1


async def test_a_key_is_in_the_answer_that_makes_it_and_nowhere_else(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        admin = await api_key(api.system, Role.ADMIN, "acme")
        key = (await make(api, admin)).json()["key"]
        secret = key.split("_", 2)[2]
        await eventually(lambda: _is(api, key, 200))
        # In an address it is of no use, and is not written down.
        misused = await api.http.get(f"/api/tenants/acme/devices?key={key}", headers=bearing(key))
        assert misused.status_code == 422
        await api.http.post(f"{KEYS}/{key.split('_')[1]}/revoke", headers=bearing(admin))
    head = await api.settled()
    audit = await api.http.get("/api/tenants/acme/audit-logs", params={"min_position": head})
    actions = [one["action"] for one in audit.json()["items"]]
    assert actions.count("access_key_created") == 2
    assert actions.count("access_key_revoked") == 1
    metrics = (await api.http.get("/metrics")).text
    told = [_ours(caplog), audit.text, metrics, misused.text]
    async with aclosing(api.system.events.read()) as batches:
        events = [one.event async for batch in batches for one in batch]
    assert [one for one in events if isinstance(one, AccessKeyRevoked)]
    told += [encode_event(one).decode() for one in events if isinstance(one, AccessKeyCreated)]
    for one in told:
        assert secret not in one


def _ours(caplog: pytest.LogCaptureFixture) -> str:
    """What the program logs. The test's client tells addresses, and so does the server beneath
    once pytest listens to it; test_secrets reads the log of a program on its own."""
    return "\n".join(
        f"{one.getMessage()} {one.exc_text}"
        for one in caplog.records
        if one.name.startswith("adapters")
    )


async def test_no_key_outlives_the_one_that_made_it(api: Api) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    admin = await api_key(api.system, Role.ADMIN, "acme", expires_at=ends)
    for body in ({}, {"expires_at": str(ends + timedelta(seconds=1))}):
        refused = await make(api, admin, **body)
        assert (refused.status_code, refused.json()["field"]) == (422, "expires_at"), body
        assert ends.isoformat() in refused.json()["detail"]
    for until in (ends, ends - timedelta(hours=1)):
        assert (await make(api, admin, expires_at=str(until))).status_code == 201
    lasting = await api_key(api.system, Role.ADMIN, "acme")
    assert (await make(api, lasting)).status_code == 201


async def test_no_two_keys_in_force_that_a_tenant_hears_of_have_one_name(api: Api) -> None:
    """The audit trail has the name alone: as it told at each moment which key that was."""
    everywhere = await api_key(api.system)
    keys = {tenant: await api_key(api.system, Role.ADMIN, tenant) for tenant in ("acme", "other")}
    theirs = "/api/tenants/other/keys"
    ours = (await make(api, keys["acme"], name="poller")).json()
    for path, key, whose in ((KEYS, keys["acme"], "this tenant"), (ALL, everywhere, "acme")):
        refused = await make(api, key, path, name="poller")
        assert (refused.status_code, refused.json()["field"]) == (422, "name"), path
        assert ours["key_id"] in refused.json()["detail"]
        assert whose in refused.json()["detail"]
        assert "choose another name" in refused.json()["detail"]
    assert (await make(api, keys["other"], theirs, name="poller")).status_code == 201

    of_all = (await make(api, everywhere, ALL, name="ops")).json()
    for path, key in ((KEYS, keys["acme"]), (theirs, keys["other"]), (ALL, everywhere)):
        refused = await make(api, key, path, name="ops")
        assert (refused.status_code, refused.json()["field"]) == (422, "name"), path
        assert of_all["key_id"] in refused.json()["detail"]
    # One that is revoked gives its name free.
    await api.http.post(f"{ALL}/{of_all['key_id']}/revoke", headers=bearing(everywhere))
    assert (await make(api, keys["acme"], name="ops")).status_code == 201


async def test_a_key_that_has_ended_gives_its_name_free(api: Api) -> None:
    now = datetime.now(UTC)
    made = key_created(
        "acme",
        key_id="a" * 16,
        name="poller",
        role=Role.VIEWER,
        secret_hash="0" * 64,
        permissions=None,
        expires_at=now - timedelta(hours=1),
        actor="user:a",
        occurred_at=now - timedelta(days=1),
    )
    ring = await api.system.keys.ring("acme")
    await api.system.events.append(made, ring.head)
    admin = await api_key(api.system, Role.ADMIN, "acme")
    assert (await make(api, admin, name="poller")).status_code == 201


async def test_of_keys_that_are_made_at_once_one_gets_the_name(api: Api) -> None:
    """Also for a tenant and for all tenants: those are on branches of their own."""
    everywhere = await api_key(api.system)
    for paths in ((KEYS,) * 4, (KEYS, ALL, "/api/tenants/other/keys", ALL)):
        name = f"race-{token_hex(4)}"
        answers = await asyncio.gather(*(make(api, everywhere, one, name=name) for one in paths))
        assert {one.status_code for one in answers} <= {201, 422}
        made = [one for one in answers if one.status_code == 201]
        await api.settled()
        in_force = [
            tenant
            for tenant in (EVERY_TENANT, "acme", "other")
            for one, _ in await api.system.keys.list(tenant)
            if one.name == name and one.revoked_at is None
        ]
        assert len(in_force) == len(made)
        assert len(in_force) <= 1 or sorted(in_force) == ["acme", "other"], in_force


async def test_the_first_key_is_made_whatever_tenants_called_theirs(
    api: Api, tmp_path: Path
) -> None:
    events = MemoryEventStore()
    keys = ApiKeys(events, api.system.pool, Bucket(api.system.js, BUCKET))
    await keys.create("acme", NAME, Role.VIEWER, actor="user:a")
    first = await first_key(keys, tmp_path)
    assert first is not None
    async with aclosing(events.read_branch(NO_TENANT, KEYS_BRANCH)) as branch:
        [made] = [one.event async for one in branch if isinstance(one.event, AccessKeyCreated)]
    assert made.key_id == first.key_id
    assert made.name.startswith(f"{NAME}-")


async def test_a_key_event_that_cannot_be_read_stops_the_keys_of_its_tenant_alone(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    make_key = partial(api.system.keys.create, role=Role.VIEWER, actor="user:ann")
    await unreadable(api.system.js, "evil", KEYS_BRANCH, "AccessKeyCreated")
    await make_key("acme", "one")
    await make_key(EVERY_TENANT, "two")
    with pytest.raises(EventsUnread, match=r"keys the tenant evil has .* run a version"):
        await make_key("evil", "three")
    await unreadable(api.system.js, NO_TENANT, KEYS_BRANCH, "AccessKeyCreated", version=1)
    await make_key("acme", "four")
    # What can be read counts all the same.
    with pytest.raises(NameTaken):
        await make_key("acme", "two")
    with pytest.raises(EventsUnread, match="keys for all tenants there are"):
        await make_key(EVERY_TENANT, "five")
    told = [one.getMessage() for one in caplog.records if "others' API keys" in one.getMessage()]
    assert any("event " in one for one in told)


async def test_a_key_that_could_do_nothing_is_not_made(api: Api) -> None:
    useless = await make(api, await api_key(api.system), role="viewer", only=["upload", "keys"])
    assert (useless.status_code, useless.json()["field"]) == (422, "only")


async def test_an_end_is_a_time_with_its_zone(api: Api) -> None:
    """A bare number has neither zone nor unit."""
    admin = await api_key(api.system)
    for wrong in (4102444800, "4102444800", "2099-01-01T00:00:00", "2099-01-01"):
        refused = await make(api, admin, expires_at=wrong)
        assert (refused.status_code, refused.json()["field"]) == (422, "expires_at"), wrong


async def test_a_revocation_counts_whatever_was_recorded_before(api: Api) -> None:
    """An end that is in no year in UTC was taken once: it was parked, and held back what came
    later, so that keys which were revoked stayed in force."""
    never = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-10)))
    admin = await api_key(api.system, Role.ADMIN, "acme")
    refused = await make(api, admin, expires_at=never.isoformat())
    assert (refused.status_code, refused.json()["field"]) == (422, "expires_at")

    ring = await api.system.keys.ring("acme")
    event = AccessKeyCreated(
        actor="user:a",
        key_id="f" * 16,
        name="old",
        role="viewer",
        secret_hash="0" * 64,
        expires_at=never,
    )
    old = new_event("acme", KEYS_BRANCH, "key-created.old", datetime.now(UTC), event)
    await api.system.events.append(old, ring.head)
    key = (await make(api, admin)).json()
    await eventually(lambda: _is(api, key["key"], 200))
    await api.http.post(f"{KEYS}/{key['key_id']}/revoke", headers=bearing(admin))
    await eventually(lambda: _is(api, key["key"], 401))
    listed = {one["key_id"]: one for one in (await api.http.get(KEYS)).json()}
    assert listed["f" * 16]["expires_at"].startswith("9998-12-31")


async def test_a_revocation_that_is_held_back_is_not_told_as_done(api: Api) -> None:
    """It is recorded, and takes effect when an operator has seen to what holds it back."""
    admin = await api_key(api.system, Role.ADMIN, "acme")
    key = (await make(api, admin)).json()
    await eventually(lambda: _is(api, key["key"], 200))
    await api.system.pool.execute(
        "INSERT INTO configtrail.parked"
        " (projection, position, tenant_id, device_id, event_id, type_name, error)"
        " VALUES ('access', $1, 'acme', $2, 'odd', 'AccessKeyCreated', 'DataError')",
        key["position"],
        KEYS_BRANCH,
    )
    path = f"{KEYS}/{key['key_id']}/revoke"
    held = await api.http.post(path, headers=bearing(admin))
    assert (held.status_code, held.json()["code"]) == (503, "events_parked")
    assert key["key_id"] in (await api.system.keys.ring("acme")).revoked
    # Another tenant's keys are not held back by that.
    other = await api_key(api.system, Role.VIEWER, "other")
    path = f"/api/tenants/other/keys/{other.split('_')[1]}/revoke"
    assert (await api.http.post(path)).status_code == 200
