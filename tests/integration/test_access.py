"""Every route × everybody who may ask: generated from the routes, so that none is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import SecretStr

from adapters.access import keys
from adapters.composition import System, open_system, roles
from adapters.embedded.nats import EmbeddedNats
from adapters.http.access import Route, routes_of
from adapters.http.app import create_app, serve
from adapters.roles.supervisor import running
from adapters.settings import Settings
from domain.access import EVERY_TENANT, PERMISSIONS, Permission, Role
from domain.errors import InvalidInput
from domain.events import AccessRefused, ContentRevealed
from domain.granting import KEYS_BRANCH, REFUSALS_BRANCH
from projections.access import AccessKey, find_key
from projections.rows import Reader
from tests.identity import AUDIENCE, Provider
from tests.rig import api_key
from tests.support import eventually

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "canary-secret-77aa"
TEXT = f"/ppp secret\nadd name=u password={SECRET}\n"


class Served:
    """A program that serves, with a provider of identities, and a client without credentials."""

    def __init__(self, system: System, app: Any, http: httpx.AsyncClient, idp: Provider) -> None:
        self.system = system
        self.app = app
        self.routes: list[Route] = list(routes_of(app).values())
        self.http = http
        self.idp = idp

    async def ask(self, route: Route, credentials: str | None, tenant: str = "acme") -> Any:
        """A request to a route that can do no harm: of a device that there is not."""
        path = route.path
        for name, value in {
            "{tenant}": tenant,
            "{device:path}": "none",
            "{group:path}": "none",
            "{snapshot_id}": "00000000-0000-0000-0000-000000000000",
            "{position}": "1",
            "{sequence}": "1",
            "{projection}": "audit",
            "{level}": "0",
            "{path:path}": "000",
            "{key_id}": "0" * 16,
        }.items():
            path = path.replace(name, value)
        assert "{" not in path, f"say what to put into {path}"
        [method] = route.methods - {"HEAD"}
        headers = {} if credentials is None else {"Authorization": f"Bearer {credentials}"}
        async with self.http.stream(method, path, headers=headers) as answer:
            # A feed has no end.
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                await answer.aread()
            return answer


@pytest.fixture
async def served(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> AsyncIterator[Served]:
    with Provider() as idp:
        settings = Settings(
            nats_url=SecretStr(nats_server.url),
            postgres_dsn=SecretStr(postgres_dsn),
            data_dir=tmp_path,
            oidc_issuer=idp.issuer,
            oidc_audience=AUDIENCE,
            oidc_grants="groups=netops acme operator",
            refusals_told_seconds=1,
            trigger_timeout_seconds=1,
            rate_burst=5_000,
        )
        async with open_system(settings) as system, running(roles(system)):
            app = create_app(system)
            started: asyncio.Queue[str] = asyncio.Queue()
            server = asyncio.create_task(serve(app, "127.0.0.1", 0, started=started.put_nowait))
            async with httpx.AsyncClient(base_url=await started.get(), timeout=30) as http:
                yield Served(system, app, http, idp)
            server.cancel()
            await asyncio.wait([server])


async def test_who_is_not_known_gets_nothing_from_any_route(served: Served) -> None:
    system = served.system
    ends = datetime.now(UTC) + timedelta(seconds=2)
    ended = await api_key(system, expires_at=ends)
    await eventually(lambda: datetime.now(UTC) > ends)
    revoked = await api_key(system)
    key_id = revoked.split("_")[1]
    position = await system.keys.revoke(EVERY_TENANT, key_id, actor="user:a", reason="lost")
    for worker in system.projections:
        await worker.wait(position)
    good = await api_key(system)
    strangers: dict[str, str | None] = {
        "nobody": None,
        "expired": ended,
        "revoked": revoked,
        "another secret": good[:-4] + ("AAAA" if not good.endswith("AAAA") else "BBBB"),
        **served.idp.bad_tokens(),
    }
    for route in served.routes:
        for who, credentials in strangers.items():
            answer = await served.ask(route, credentials)
            if route.permission is None and credentials is None:
                assert answer.status_code in (200, 503), route.path
                continue
            assert answer.status_code == 401, (route.path, who, answer.text)
            assert answer.json()["code"] == "unauthenticated"
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.headers["content-type"] == "application/problem+json"
            assert credentials is None or credentials not in answer.text


@pytest.mark.parametrize("role", list(Role))
async def test_every_route_lets_in_those_who_may_and_nobody_else(
    served: Served, role: Role
) -> None:
    own = await api_key(served.system, role, "acme")
    everywhere = await api_key(served.system, role)
    for route in served.routes:
        if route.permission is None:
            continue
        allowed = route.permission in PERMISSIONS[role]
        of_tenant = "{tenant}" in route.path
        mine = await served.ask(route, own)
        assert (mine.status_code in (401, 403)) != (allowed and of_tenant), (route, mine.text)
        all_of_them = await served.ask(route, everywhere)
        assert (all_of_them.status_code in (401, 403)) != allowed, (route, all_of_them.text)
        if of_tenant:
            other = await served.ask(route, own, "other")
            unknown = await served.ask(route, own, "nobody")
            assert (other.status_code, other.json()["code"]) == (404, "not_found"), route
            assert _same(other, "other") == _same(unknown, "nobody")


def _same(answer: httpx.Response, tenant: str) -> str:
    body = answer.json()
    return str(body).replace(body["request_id"], "").replace(tenant, "T")


async def test_a_token_of_the_provider_is_as_good_as_a_key(served: Served) -> None:
    await api_key(served.system)  # all read models are there
    by_path = {one.path: one for one in served.routes}
    devices = by_path["/api/tenants/{tenant}/devices"]
    known = await served.ask(devices, served.idp.token())
    assert (known.status_code, known.json()["code"]) == (404, "not_found")  # it has no devices
    audit = by_path["/api/tenants/{tenant}/audit-logs"]
    assert (await served.ask(audit, served.idp.token())).status_code == 403


async def test_keys_that_cant_be_had_are_no_refusal(served: Served) -> None:
    served.idp.reachable = False
    answer = await served.ask(served.routes[-1], served.idp.token())
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


async def test_secrets_are_shown_to_those_who_may_and_never_unrecorded(served: Served) -> None:
    system = served.system
    await system.intake.publish("acme", "r1", TEXT, NOON, platform="routeros")
    viewer = await api_key(system, Role.VIEWER, "acme")
    operator = await api_key(system, Role.OPERATOR, "acme")
    narrowed = await api_key(system, Role.ADMIN, "acme", only=frozenset({Permission.READ}))
    path = f"/api/tenants/acme/devices/r1/config/at?time={NOON:%Y-%m-%dT%H:%M:%SZ}"

    async def ask(key: str, more: str = "") -> httpx.Response:
        return await served.http.get(path + more, headers={"Authorization": f"Bearer {key}"})

    async def there() -> bool:
        return (await ask(viewer)).status_code == 200

    await eventually(there)
    for key in (viewer, operator, narrowed):
        assert SECRET not in (await ask(key)).text
    for key in (viewer, narrowed):
        refused = await ask(key, "&reveal=true")
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert SECRET not in refused.text
    history = system.events.read_branch("acme", "r1")
    assert not [one async for one in history if isinstance(one.event, ContentRevealed)]
    assert SECRET in (await ask(operator, "&reveal=true")).text
    history = system.events.read_branch("acme", "r1")
    [told] = [one.event async for one in history if isinstance(one.event, ContentRevealed)]
    assert told.actor == "service:key/tests-operator"
    assert told.key_id == operator.split("_")[1]
    assert told.remote_address == "127.0.0.1"
    assert told.reason is None
    assert SECRET in (await ask(operator, "&reveal=true&reason=ticket%2047")).text
    history = system.events.read_branch("acme", "r1")
    events = [one.event async for one in history if isinstance(one.event, ContentRevealed)]
    assert [one.reason for one in events] == [None, "ticket 47"]
    for more in (
        "&reason=why",
        "&reveal=true&reason=",
        "&reveal=true&reason=%20",
        "&reveal=true&reason=%0a",
        f"&reveal=true&reason={'x' * 501}",
    ):
        refused = await ask(operator, more)
        assert (refused.status_code, refused.json()["field"]) == (422, "reason"), more


async def test_secrets_stay_when_it_cant_be_recorded(
    served: Served, nats_server: EmbeddedNats
) -> None:
    system = served.system
    await system.intake.publish("acme", "r1", TEXT, NOON, platform="routeros")
    key = await api_key(system, Role.OPERATOR, "acme")
    path = f"/api/tenants/acme/devices/r1/config/at?reveal=true&time={NOON:%Y-%m-%dT%H:%M:%SZ}"
    headers = {"Authorization": f"Bearer {key}"}

    async def there() -> bool:
        return (await served.http.get(path, headers=headers)).status_code == 200

    await eventually(there)
    await nats_server.kill()
    answer = await served.http.get(path, headers=headers)
    assert answer.status_code == 503
    assert SECRET not in answer.text
    await nats_server.start()


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


async def test_proofs_tell_nothing_of_the_audit_trail_to_who_may_not_read_it(
    served: Served,
) -> None:
    """A proof has the event's leaf in it: what kind of event it was, when, and how large."""
    log = "/api/tenants/acme/log"
    keys = {role: await api_key(served.system, role, "acme") for role in Role}
    [made, *_] = [one async for one in served.system.events.read_branch("acme", KEYS_BRANCH)]

    async def ask(role: Role, path: str) -> httpx.Response:
        mine = {"Authorization": f"Bearer {keys[role]}"}
        return await served.http.get(f"{log}/{path}", headers=mine)

    async def sealed() -> bool:
        return (await ask(Role.AUDITOR, f"proofs/{made.position}")).status_code == 200

    await eventually(sealed)
    for more in ("", "?log=stream"):
        for role in Role:
            answer = await ask(role, f"proofs/{made.position}{more}")
            may = Permission.AUDIT in PERMISSIONS[role]
            assert answer.status_code == (200 if may else 403), (role, more)
            assert ("tlog-proof" in answer.text) == may
    # Hashes, and how many events there are, are for whoever reads.
    for path in ("checkpoint", "state", "consistency?old=1", "tile/0/000.p/1"):
        assert (await ask(Role.VIEWER, path)).status_code == 200, path


async def test_a_key_is_kept_as_a_hash_and_its_use_is_known(served: Served) -> None:
    key = await api_key(served.system, Role.VIEWER, "acme")
    [(listed, _)] = await served.system.keys.list("acme")
    assert key.split("_", 2)[2] not in repr(listed)
    await served.ask(served.routes[-1], key)

    async def used() -> bool:
        [(_, at)] = await served.system.keys.list("acme")
        return at is not None

    await eventually(used)
    raw = await served.system.pool.fetch("SELECT access_keys::text FROM configtrail.access_keys")
    assert key.split("_", 2)[2] not in str(raw)


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


async def test_open_to_everybody_only_on_the_loopback(served: Served) -> None:
    off = served.system.settings.model_copy(update={"auth": "off", "http_host": "0.0.0.0"})
    with pytest.raises(InvalidInput, match="lets everybody in"):
        create_app(replace(served.system, settings=off))


async def test_only_origins_that_are_named_may_use_it_from_pages(served: Served) -> None:
    named = served.system.settings.model_copy(update={"http_cors_origins": "https://ui.example"})
    app = create_app(replace(served.system, settings=named))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        asked = {"Access-Control-Request-Method": "GET"}
        for origin, allowed in (("https://ui.example", True), ("https://evil.example", False)):
            answer = await http.options(
                "/api/tenants/acme/fleet", headers={"Origin": origin, **asked}
            )
            assert (answer.headers.get("access-control-allow-origin") == origin) == allowed
            assert (answer.status_code == 204) == allowed
        key = await api_key(served.system)
        read = {"Origin": "https://ui.example", "Authorization": f"Bearer {key}"}
        shown = await http.get("/api/tenants/acme/fleet", headers=read)
        # A page of a bare list goes on by a header alone.
        assert "Link" in shown.headers["access-control-expose-headers"].split(", ")
        assert set(shown.headers["vary"].split(", ")) == {"Accept", "Origin"}


def calls(dependant: Dependant) -> Iterator[Any]:
    """What is called for a request: the endpoint, and all that it depends on."""
    yield dependant.call
    for one in dependant.dependencies:
        yield from calls(one)


async def test_no_request_waits_for_a_thread(served: Served) -> None:
    """What is no coroutine would be called in one of few threads, however little it does."""
    for context in iter_route_contexts(served.app.routes):
        if isinstance(context.original_route, APIRoute):
            for call in calls(context.dependant):
                assert iscoroutinefunction(call) or iscoroutinefunction(call.__call__), call


async def test_rubbish_is_refused_clearly(served: Served) -> None:
    key = await api_key(served.system)
    rubbish = ["'", "-1", "\x00", "9" * 40, "$1; DROP \u202e"]
    for route in served.routes:
        if route.methods != {"GET"} or route.permission is None:
            continue
        for name in sorted(route.query):
            for value in rubbish:
                path = route.path
                for part in ("{device:path}", "{snapshot_id}", "{position}", "{level}"):
                    path = path.replace(part, "7")
                path = path.replace("{tenant}", "acme").replace("{path:path}", "000")
                answer = await served.http.get(
                    path, params={name: value}, headers={"Authorization": f"Bearer {key}"}
                )
                assert answer.status_code < 500, (path, name, value, answer.text)
                assert "SELECT" not in answer.text
                assert "configtrail." not in answer.text
