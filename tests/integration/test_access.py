"""Every route × everybody who may ask: generated from the routes, so that none is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from inspect import iscoroutinefunction
from typing import Any

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from adapters.embedded.nats import EmbeddedNats
from adapters.http.app import create_app
from domain.access import EVERY_TENANT, PERMISSIONS, Permission, Role
from domain.errors import InvalidInput
from domain.events import ContentRevealed
from domain.granting import KEYS_BRANCH
from tests.rig import api_key
from tests.served import Served
from tests.support import eventually

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "canary-secret-77aa"
TEXT = f"/ppp secret\nadd name=u password={SECRET}\n"


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
    assert (known.status_code, known.json()["items"]) == (200, [])
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
