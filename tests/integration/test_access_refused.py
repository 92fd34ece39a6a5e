"""Refusals: who is told of, to whom, and where they end for who only guesses or asks too often."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from adapters.access import keys
from adapters.http.app import create_app
from domain.access import Permission, Role
from domain.errors import InvalidInput
from domain.events import AccessRefused
from domain.granting import REFUSALS_BRANCH
from projections.access import AccessKey, find_key
from projections.rows import Reader
from tests.rig import api_key
from tests.served import Served
from tests.support import eventually


async def test_refusals_are_facts_and_few_however_many_there_were(served: Served) -> None:
    viewer = await api_key(served.system, Role.VIEWER, "acme")
    for number in range(100):
        wrong = f"ctk_{number:016x}_{'A' * 43}"
        answer = await served.http.get(
            "/api/tenants/acme/audit-logs", headers={"Authorization": f"Bearer {wrong}"}
        )
        assert answer.status_code == 401
    for path in ("/api/tenants/acme/audit-logs", "/api/tenants/other/devices"):
        await served.http.get(path, headers={"Authorization": f"Bearer {viewer}"})

    async def told(tenant: str, wanted: int) -> list[AccessRefused] | None:
        branch = served.system.events.read_branch(tenant, REFUSALS_BRANCH)
        found = [one.event async for one in branch if isinstance(one.event, AccessRefused)]
        return found if sum(one.count for one in found) >= wanted else None

    mine = await eventually(lambda: told("acme", 2))
    assert {(one.reason, one.actor) for one in mine} == {
        ("forbidden", "service:key/tests-viewer"),
        ("other_tenant", "service:key/tests-viewer"),
    }
    nobodys = await eventually(lambda: told("_system", 100))
    assert {one.reason for one in nobodys} == {"bad_credentials"}
    assert len(nobodys) < 20


async def test_who_is_refused_is_named_whatever_strangers_do(served: Served) -> None:
    system = served.system
    app = create_app(system)
    viewer = {"Authorization": f"Bearer {await api_key(system, Role.VIEWER, 'acme')}"}
    path = "/api/tenants/acme/audit-logs"
    for number in range(40):
        transport = httpx.ASGITransport(app, client=(f"192.0.2.{number}", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            assert (await http.get(path)).status_code == 401
    assert (await served.http.get(path, headers=viewer)).status_code == 403

    async def told() -> list[AccessRefused]:
        branch = system.events.read_branch("acme", REFUSALS_BRANCH)
        return [one.event async for one in branch if isinstance(one.event, AccessRefused)]

    [mine] = await eventually(told)
    assert (mine.actor, mine.permission) == ("service:key/tests-viewer", "audit")


async def test_what_belongs_to_no_tenant_has_an_audit_log_of_its_own(served: Served) -> None:
    """Keys for all tenants, and strangers that were refused: for who audits all tenants."""
    system = served.system
    auditor = {"Authorization": f"Bearer {await api_key(system, Role.AUDITOR)}"}
    wrong = {"Authorization": f"Bearer ctk_{0:016x}_{'A' * 43}"}
    assert (await served.http.get("/api/audit-logs", headers=wrong)).status_code == 401

    async def told() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = []
        address = "/api/audit-logs?per_page=1"
        while address:
            answer = await served.http.get(address, headers=auditor)
            assert answer.status_code == 200, answer.text
            found += answer.json()["items"]
            address = answer.links["next"]["url"] if "next" in answer.links else ""
        return found if len(found) == 2 else None

    refused, made = await eventually(told)
    assert (made["action"], refused["action"]) == ("access_key_created", "access_refused")
    assert refused["details"]["remote_address"] == "127.0.0.1"
    path = "/api/audit-logs?action=access_refused"
    table = await served.http.get(f"{path}&format=csv", headers=auditor)
    assert table.text.count("\r\n") == 2
    assert 'filename="audit.csv"' in table.headers["content-disposition"]
    of_tenant = (await served.http.get("/api/tenants/acme/audit-logs", headers=auditor)).json()
    assert of_tenant["items"] == []
    cursor = (await served.http.get("/api/audit-logs?per_page=1", headers=auditor)).json()
    foreign = f"/api/tenants/acme/audit-logs?per_page=1&cursor={cursor['next_cursor']}"
    assert (await served.http.get(foreign, headers=auditor)).status_code == 400
    for path in ("/api/tenants/_system/audit-logs", "/api/tenants/_system/devices"):
        assert (await served.http.get(path, headers=auditor)).status_code == 422


async def test_who_asks_for_more_than_they_may_is_told_of_by_name(served: Served) -> None:
    """Also by what the body asks for, and by how often."""
    system = served.system
    only = frozenset({Permission.KEYS, Permission.READ})
    key = await api_key(system, Role.ADMIN, "acme", only=only)
    mine = {"Authorization": f"Bearer {key}"}
    made = await served.http.post(
        "/api/tenants/acme/keys", json={"name": "more", "role": "admin"}, headers=mine
    )
    assert made.status_code == 403
    slow = system.settings.model_copy(update={"rate_per_second": 0.01, "rate_burst": 1})
    transport = httpx.ASGITransport(create_app(replace(system, settings=slow)))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        answers = [await http.get("/api/tenants/acme/fleet", headers=mine) for _ in range(2)]
        assert [one.status_code for one in answers] == [200, 429]

    async def told() -> list[AccessRefused] | None:
        branch = system.events.read_branch("acme", REFUSALS_BRANCH)
        found = [one.event async for one in branch if isinstance(one.event, AccessRefused)]
        return found if len(found) >= 2 else None

    refused = await eventually(told)
    assert {(one.reason, one.permission, one.actor, one.key_id) for one in refused} == {
        ("forbidden", "audit", "service:key/tests-admin", key.split("_")[1]),
        ("too_many_requests", None, "service:key/tests-admin", key.split("_")[1]),
    }


async def test_who_asks_too_often_is_told_when_to_come_back(served: Served) -> None:
    slow = served.system.settings.model_copy(update={"rate_per_second": 0.01, "rate_burst": 3})
    app = create_app(replace(served.system, settings=slow))
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 1))
    one, two = [await api_key(served.system, role, "acme") for role in (Role.VIEWER, Role.ADMIN)]
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        path = "/api/tenants/acme/fleet"
        many = [
            (await http.get(path, headers={"Authorization": f"Bearer {one}"})) for _ in range(4)
        ]
        assert [answer.status_code for answer in many] == [200, 200, 200, 429]
        assert many[3].json()["code"] == "too_many_requests"
        seconds = int(many[3].headers["retry-after"])
        assert 1 <= seconds <= 100
        assert many[3].json()["detail"].endswith(f"try again in {seconds} s")
        other = await http.get(path, headers={"Authorization": f"Bearer {two}"})
        assert other.status_code == 200


async def test_guesses_of_keys_are_bounded_before_anything_is_looked_up(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By address, also when they come at once. Who came with their key before is let in."""
    system = served.system
    mine = {"Authorization": f"Bearer {await api_key(system, Role.VIEWER, 'acme')}"}
    new = {"Authorization": f"Bearer {await api_key(system, Role.AUDITOR, 'acme')}"}
    slow = system.settings.model_copy(update={"rate_per_second": 0.001, "rate_burst": 4})
    transport = httpx.ASGITransport(create_app(replace(system, settings=slow)))
    path = "/api/tenants/acme/fleet"
    looked_up: list[str] = []

    async def counted(reader: Reader, key_id: str) -> AccessKey | None:
        looked_up.append(key_id)
        return await find_key(reader, key_id)

    monkeypatch.setattr(keys, "find_key", counted)
    monkeypatch.setattr(keys, "KEPT_SECONDS", 0.0)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        assert (await http.get(path, headers=mine)).status_code == 200
        guesses = [f"ctk_{number:016x}_{'A' * 43}" for number in range(40)]
        answers = await asyncio.gather(
            *(http.get(path, headers={"Authorization": f"Bearer {one}"}) for one in guesses)
        )
        assert sorted(one.status_code for one in answers) == [401] * 4 + [429] * 36
        assert len(looked_up) == 1 + 4
        # With another secret an id that is known is a guess like any other.
        wrong = mine["Authorization"][:-4] + "AAAA"
        assert (await http.get(path, headers={"Authorization": wrong})).status_code == 429
        assert len(looked_up) == 1 + 4
        for headers, status in ((mine, 200), (new, 429), ({}, 429)):
            assert (await http.get(path, headers=headers)).status_code == status


async def test_a_key_that_is_right_is_no_guess(served: Served) -> None:
    """However many new ones come from one address."""
    system = served.system
    slow = system.settings.model_copy(update={"rate_per_second": 0.001, "rate_burst": 2})
    transport = httpx.ASGITransport(create_app(replace(system, settings=slow)))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        for _ in range(6):
            headers = {"Authorization": f"Bearer {await api_key(system, Role.VIEWER, 'acme')}"}
            answer = await http.get("/api/tenants/acme/fleet", headers=headers)
            assert answer.status_code == 200


async def test_who_asks_by_way_of_a_proxy_is_who_it_says_if_it_is_ours(served: Served) -> None:
    system = served.system
    key = await api_key(system, Role.VIEWER, "acme")
    headers = {"Authorization": f"Bearer {key}", "X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    for proxies, told in (("", "192.0.2.1"), ("192.0.2.0/24, 10.0.0.1", "198.51.100.7")):
        named = system.settings.model_copy(update={"http_proxies": proxies})
        transport = httpx.ASGITransport(
            create_app(replace(system, settings=named)), client=("192.0.2.1", 1)
        )
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            refused = await http.get("/api/tenants/acme/audit-logs", headers=headers)
            assert refused.status_code == 403

        async def found(told: str = told) -> bool:
            branch = system.events.read_branch("acme", REFUSALS_BRANCH)
            events = [one.event async for one in branch]
            return told in [one.remote_address for one in events if isinstance(one, AccessRefused)]

        await eventually(found)
    for wrong in ("*", "proxy.example", "192.0.2.1/24"):
        named = system.settings.model_copy(update={"http_proxies": wrong})
        with pytest.raises(InvalidInput):
            create_app(replace(system, settings=named))
