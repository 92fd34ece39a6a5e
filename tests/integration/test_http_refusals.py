"""What the API refuses, how it says so, and what it never says."""

from __future__ import annotations

import asyncio
import hashlib
import logging

import httpx
import pytest

from adapters.http import guard
from adapters.http.app import create_app, serve
from domain.access import Role
from domain.errors import InvalidInput
from tests.rig import api_key
from tests.serving import (
    CANARY,
    HOME,
    TEXTS,
    Api,
    snapshot_ids,
)
from tests.support import eventually

BAD = [
    ("/api/tenants/a%20b/devices", 422, "invalid_input", "tenant_id"),
    ("/api/tenants/nobody/devices", 404, "not_found", None),
    ("/api/tenants/other/devices/r1/snapshots", 404, "not_found", None),
    (f"{HOME}/r9", 404, "not_found", None),
    (f"{HOME}/r9/snapshots", 404, "not_found", None),
    (f"{HOME}/r9/config-history", 404, "not_found", None),
    (f"{HOME}/r9/validity", 404, "not_found", None),
    (f"{HOME}/r9/config/00000000-0000-0000-0000-000000000000", 404, "not_found", None),
    (f"{HOME}/r1/config/00000000-0000-0000-0000-000000000000", 404, "not_found", None),
    (f"{HOME}/r1/config/00000000-0000-0000-0000-000000000000/diff", 404, "not_found", None),
    (f"{HOME}/r1/config/latest", 422, "invalid_input", "snapshot_id"),
    (f"{HOME}/r1%0A/snapshots", 404, "not_found", None),
    (f"{HOME}/{'x' * 129}/snapshots", 422, "invalid_input", "device_id"),
    (f"{HOME}?limit=0", 422, "invalid_input", "limit"),
    (f"{HOME}?limit=501", 422, "invalid_input", "limit"),
    (f"{HOME}?offset=-1", 422, "invalid_input", "offset"),
    (f"{HOME}?offset=many", 422, "invalid_input", "offset"),
    (f"{HOME}?not_seen_since=yesterday", 422, "invalid_input", "not_seen_since"),
    (f"{HOME}/r1/config/at", 422, "invalid_input", "time"),
    (f"{HOME}/r1/config/at?time=2026-03-01T12:00:00", 422, "invalid_input", "time"),
    (f"{HOME}/r1/config/at?time=2026-03-01T12:00:00+01:00", 422, "invalid_input", "time"),
    (f"{HOME}/r1/config/at?time=0001-01-01T00:00:00%2B14:00", 422, "invalid_input", "time"),
    (f"{HOME}/r1/config/compare?from=x&to=y", 422, "invalid_input", "from"),
    (f"{HOME}/r1/config/compare?to=y", 422, "invalid_input", "from"),
    ("/api/tenants/acme/audit-logs?page=0", 422, "invalid_input", "page"),
    ("/api/tenants/acme/audit-logs?page=2&before=1", 422, "invalid_input", "page"),
    ("/api/tenants/acme/audit-logs?before=999999", 422, "invalid_input", "before"),
    ("/api/tenants/acme/audit-logs?actor=%00", 422, "invalid_input", "actor"),
    ("/api/tenants/acme/audit-logs?format=csv&page=2", 422, "invalid_input", "page"),
    ("/api/tenants/acme/audit-logs?format=ndjson&before=2", 422, "invalid_input", "before"),
    ("/api/audit-logs?format=csv&cursor=AAAA", 422, "invalid_input", "cursor"),
    ("/api/tenants/acme/audit-logs?format=xml", 422, "invalid_input", "format"),
    (
        "/api/tenants/acme/audit-logs?date_from=2026-03-02T00:00Z&date_to=2026-03-01T00:00Z",
        422,
        "invalid_input",
        "date_to",
    ),
    ("/api/tenants/acme/audit-logs?date_from=2026-02-30", 422, "invalid_input", "date_from"),
    ("/api/tenants/acme/changes?date_from=2026-03-02T00:00", 422, "invalid_input", "date_from"),
    (f"{HOME}?cursor=made-up", 400, "invalid_cursor", "cursor"),
    (f"{HOME}/r1/snapshots?cursor=AAAA&offset=1", 422, "invalid_input", "offset"),
    ("/api/dead-letters?before=0", 422, "invalid_input", "before"),
    ("/api/nothing", 404, "not_found", None),
    ("/", 404, "not_found", None),
    (f"{HOME}?page=2", 422, "invalid_input", "page"),
    (f"{HOME}/r1?redact=true", 422, "invalid_input", "redact"),
    ("/api/tenants/acme/changes?device_id=r1&device_id=r2", 422, "invalid_input", "device_id"),
    ("/api/tenants/acme/changes?risk=input_chain", 422, "invalid_input", "risk"),
    ("/api/tenants/acme/changes?risk=", 422, "invalid_input", "risk"),
    (f"{HOME}?limit=1&limit=1", 422, "invalid_input", "limit"),
    ("/healthz?a=1&a=2", 422, "invalid_input", "a"),
    ("/api/tenants/acme/audit-logs?action=logins", 422, "invalid_input", "action"),
]


async def test_a_tenant_without_devices_is_there_for_its_own_and_maybe_a_slip_for_others(
    api: Api,
) -> None:
    own = {"Authorization": f"Bearer {await api_key(api.system, Role.VIEWER, 'fresh')}"}
    home = "/api/tenants/fresh"
    for path in ("devices", "devices?search=r", "statistics?days=1"):
        assert (await api.problem(f"{home}/{path}", 404))["code"] == "not_found"
    devices = await api.http.get(f"{home}/devices", headers=own)
    assert (devices.status_code, devices.json()["items"], devices.json()["total"]) == (200, [], 0)
    numbers = await api.http.get(f"{home}/statistics?days=1", headers=own)
    assert (numbers.status_code, numbers.json()["devices"]) == (200, 0)
    assert (await api.http.get(f"{HOME}", headers=own)).status_code == 404


SINGLE = {
    "Authorization": "Bearer none",
    "Content-Type": "text/plain",
    "Content-Encoding": "identity",
    "Idempotency-Key": "one",
    "Configtrail-Min-Position": "1",
    "Last-Event-ID": "1",
    "Origin": "http://localhost",
    "Sec-Fetch-Site": "none",
}


async def test_a_header_that_means_one_thing_is_refused_when_it_is_there_twice(api: Api) -> None:
    """Of two a proxy may have looked at the other one."""
    own = {name: value for name, value in api.http.headers.items() if name != "authorization"}
    for name, value in SINGLE.items():
        rest = (
            []
            if name == "Authorization"
            else [("Authorization", api.http.headers["authorization"])]
        )
        for second in (value, "", "other"):
            sent = [(name, value), *rest, (name.lower(), second)]
            for method, path in (("GET", HOME), ("PUT", f"{HOME}/r1/config")):
                async with httpx.AsyncClient(base_url=api.address, headers=own) as client:
                    answer = await client.request(method, path, headers=sent)
                found = answer.json()
                assert (name, answer.status_code) == (name, 400)
                assert (found["code"], found["field"]) == ("repeated_header", name)


async def test_a_header_that_is_a_list_may_be_there_in_parts(filled: Api) -> None:
    path = f"{HOME}/r1"
    mark = (await filled.http.get(path)).headers["etag"]
    for first, second in (('"none"', mark), (mark, '"none"'), ('"a", "b"', f'W/{mark}, "c"')):
        sent = [("If-None-Match", first), ("If-None-Match", second)]
        assert (await filled.http.get(path, headers=sent)).status_code == 304
    sent = [("If-None-Match", '"none"'), ("If-None-Match", '"other"')]
    assert (await filled.http.get(path, headers=sent)).status_code == 200
    own = {name: value for name, value in filled.http.headers.items() if name != "accept"}
    async with httpx.AsyncClient(base_url=filled.address) as client:
        client.headers = httpx.Headers(own)
        sent = [("Accept", "text/html;q=1"), ("Accept", "text/csv;q=0.5")]
        answer = await client.get(HOME, headers=sent)
    assert answer.headers["content-type"].startswith("text/csv")


async def test_bad_requests_say_what_is_wrong(filled: Api) -> None:
    for path, status, code, field in BAD:
        answer = await filled.http.get(path)
        assert (path, answer.status_code) == (path, status)
        problem = answer.json()
        assert (path, problem["code"], problem.get("field")) == (path, code, field)
        assert problem["detail"]
        if field is not None:
            assert field in problem["detail"]
        assert CANARY not in str(problem)


NO_TEXT = ("r%ED%A0%80", "r%FF", "%C3", "a%2F%C0%AF", "r%ff%ef%bf%bd")


@pytest.mark.parametrize("part", NO_TEXT)
async def test_an_address_that_is_no_text_is_refused_and_makes_nothing(
    filled: Api, part: str
) -> None:
    before = (await filled.http.get("/api/tenants/acme/inventory")).json()
    device = {"platform": "routeros", "address": "192.0.2.7", "credential": None}
    for answer in (
        await filled.http.put(f"/api/tenants/acme/inventory/{part}", json=device),
        await filled.http.get(f"{HOME}/{part}"),
        await filled.http.get(f"/api/tenants/acme/audit-logs?actor={part}"),
        await filled.http.delete(f"/api/tenants/acme/groups/{part}"),
        await filled.http.get(f"/{part}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_address")
        assert "UTF-8" in answer.json()["detail"]
        assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert (await filled.http.get("/api/tenants/acme/inventory")).json() == before
    # U+FFFD itself is a character as any other, and so is what no id may have.
    for sent in ("r%EF%BF%BD", "caf%C3%A9", "%F0%9F%9A%80"):
        assert (await filled.http.get(f"{HOME}/{sent}")).status_code in (404, 422)


async def test_what_is_only_written_to_is_not_read(filled: Api) -> None:
    for path in (f"{HOME}/r1/config", f"{HOME}/nobody/config"):
        answer = await filled.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert answer.headers["allow"] == "PUT"
    # As an id it has its slash encoded.
    assert (await filled.http.get(f"{HOME}/r1%2Fconfig")).status_code == 404
    other = await filled.http.post(f"{HOME}/r1")
    assert (other.status_code, other.headers["allow"]) == (405, "GET, HEAD")


async def test_nobody_is_sent_to_another_address(filled: Api) -> None:
    """Behind a proxy it would be one without TLS."""
    for path in ("/healthz/", "/api/tenants/acme/fleet/", f"{HOME}/r1/snapshots/"):
        assert (await filled.http.get(path)).status_code == 404


async def raw(api: Api, head: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which a request has begun."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.address.rpartition(":")[2]))
    key = api.http.headers["Authorization"]
    writer.write(f"{head} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {key}\r\n".encode())
    return reader, writer


@pytest.mark.parametrize("begun", [f"PUT {HOME}/r1/config", "POST /api/tenants/acme/keys"])
async def test_who_goes_away_is_no_failure_of_ours(
    api: Api, begun: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await raw(api, begun)
    writer.write(b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()

    async def counted() -> bool:
        return 'status="499"' in (await api.http.get("/metrics")).text

    await eventually(counted)
    assert 'status="500"' not in (await api.http.get("/metrics")).text
    assert "failed" not in caplog.text


async def test_a_body_must_come_in_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.2)
    reader, writer = await raw(api, "POST /api/tenants/acme/keys")
    writer.write(b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
    answered = await reader.read()
    assert answered.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"too_slow"' in answered
    writer.close()


async def test_requests_from_other_sites_and_to_other_names_are_refused(api: Api) -> None:
    path = f"{HOME}/r1/config-snapshot/trigger"
    host = api.address.removeprefix("http://")
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": ""},
        *({"Origin": bad} for bad in ("http://[", "http://[::1", "http://a]b", "http://[x]")),
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = await api.http.post(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")
    for name in (
        *("evil.example", f"evil.example:{host.rpartition(':')[2]}", "", "[", "127.0.0.1.x"),
        *(
            "a@localhost",
            "localhost:80, evil.example",
            "localhost:x",
            "localhost/",
            "localhost:1:2",
        ),
        *("[::1", "::1]", "[localhost]:x"),
    ):
        answer = await api.http.get("/healthz", headers={"Host": name})
        assert (answer.status_code, answer.json()["code"]) == (421, "unknown_host")
    for name in ("localhost", "LOCALHOST:80", "[::1]:8480", "127.0.0.1"):
        assert (await api.http.get("/healthz", headers={"Host": name})).status_code == 200
    own = await api.http.post(path, headers={"Origin": f"http://{host}"})
    assert own.status_code == 502


async def test_every_answer_has_the_requests_id(api: Api) -> None:
    given = await api.http.get("/healthz", headers={"X-Request-ID": "deploy-42"})
    assert given.headers["x-request-id"] == "deploy-42"
    for bad in ("two words", "x" * 65, "<script>", ""):
        answer = await api.http.get("/api/nothing", headers={"X-Request-ID": bad})
        assert answer.headers["x-request-id"] != bad
        assert len(answer.headers["x-request-id"]) == 32


async def test_no_configuration_gets_into_logs_metrics_or_errors(
    filled: Api, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        first, second, _ = await snapshot_ids(filled)
        assert CANARY in str(await filled.get(f"{HOME}/r1/config/{first}", reveal="true"))
        await filled.get(f"{HOME}/r1/config/{second}/diff")
        for path, status, _, _ in BAD:
            assert (await filled.http.get(path)).status_code == status
    assert CANARY not in caplog.text
    assert CANARY not in (await filled.http.get("/metrics")).text
    assert CANARY not in str(await filled.get("/api/tenants/acme/audit-logs"))
    assert CANARY not in str(await filled.get(f"{HOME}/r1/config-history"))
    for text in TEXTS:
        digest = hashlib.sha256(text.encode()).hexdigest()
        assert digest not in str(await filled.get("/api/tenants/acme/audit-logs"))
        assert digest not in str(await filled.get(f"{HOME}/r1/snapshots"))


async def test_a_taken_port_is_said_plainly(api: Api) -> None:
    port = int(api.address.rpartition(":")[2])
    with pytest.raises(InvalidInput, match="choose another one"):
        await serve(create_app(api.system), "127.0.0.1", port)


async def test_served_to_others_it_warns_that_there_is_no_tls(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    started = asyncio.Event()
    server = asyncio.create_task(
        serve(create_app(api.system), "0.0.0.0", 0, started=lambda _: started.set())
    )
    await started.wait()
    server.cancel()
    await asyncio.wait([server])
    assert "WITHOUT TLS" in caplog.text
