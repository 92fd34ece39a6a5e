"""Whatever is sent, the answer is a clear one: never an error of ours, never a word of SQL.

For a longer run: CONFIGTRAIL_FUZZ_EXAMPLES=2000.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.embedded.nats import EmbeddedNats
from adapters.http.app import create_app, serve
from tests.serving import HOME, NOON, TEXTS, Api, program, settings_for

EXAMPLES = int(os.environ.get("CONFIGTRAIL_FUZZ_EXAMPLES", "40"))
fuzzed = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
# What an answer must not quote: statements, names of tables, and where our code is.
OURS = ("SELECT ", "INSERT ", "WHERE ", "configtrail.", "asyncpg", "Traceback", ".py")
# Nobody collects here, and nothing is sealed yet.
EXPECTED = {"backup_failed", "backup_timed_out", "not_verified"}

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    scalars, lambda one: st.lists(one) | st.dictionaries(st.text(), one), max_leaves=8
)
# What has meant something to some parser, once.
words = st.sampled_from(
    [
        *("'", "\x00", "%00", "../../etc/passwd", "' OR 1=1 --", "$1", "\u202e", "\ud7ff", "\r\n"),
        *("9" * 40, "-1", "NaN", "Infinity", "((((a*)*)*)*)b"),
        *("2026-02-30", "0001-01-01T00:00:00+14:00"),
    ]
)
texts = st.text(max_size=60) | words
visible = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30)
broken_names = st.sampled_from(
    [
        *(b"http://[", b"http://[::1", b"http://a]b", b"http://[v1.x]", b"//[", b"[::1", b"a]b"),
        *("http://\u2100".encode(), b"http://\xff", b"http://127.0.0.1:99999999", b"null", b""),
    ]
)


@pytest.fixture
async def api(nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path) -> AsyncIterator[Api]:
    # The log's own name is quoted where nothing is sealed: not one that looks like a schema's.
    more = {"rate_per_second": 100_000, "trigger_timeout_seconds": 1, "log_name": "log.example"}
    async with program(settings_for(nats_server, postgres_dsn, tmp_path, **more)) as running:
        await running.system.intake.publish("acme", "r1", TEXTS[0], NOON)
        await running.settled()
        yield running


async def fuzz(api: Api, run: Callable[[httpx.Client], None]) -> None:
    """Run it beside the program, with a client."""
    with httpx.Client(base_url=api.address, headers=api.http.headers, timeout=60) as http:
        await asyncio.to_thread(run, http)


def check(answer: httpx.Response) -> None:
    """A refusal is a problem with a code, and says nothing about our insides."""
    if answer.status_code < 400:
        return
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert answer.status_code < 500 or problem["code"] in EXPECTED, problem
    assert problem["code"]
    assert not [word for word in OURS if word in answer.text], problem


def filled(path: str) -> str:
    for name, value in {
        "tenant": "acme",
        "device": "r1",
        "group": "core",
        "snapshot_id": "00000000-0000-0000-0000-000000000000",
        "key_id": "0" * 16,
        "projection": "audit",
        "position": "1",
        "sequence": "1",
        "level": "0",
        "path": "000",
    }.items():
        path = path.replace(f"{{{name}}}", value)
    return path


async def test_bodies(api: Api) -> None:
    """Valid ones with a part exchanged, ones of any form, and ones that are no JSON."""
    document = await api.get("/api/openapi.json")
    targets = [
        (method, filled(path), operation["requestBody"]["content"]["application/json"]["example"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    ]
    assert len(targets) > 8

    @fuzzed
    @given(data=st.data())
    def run(http: httpx.Client, data: st.DataObject) -> None:
        method, path, example = data.draw(st.sampled_from(targets))
        kind = data.draw(st.sampled_from(["part", "any", "bytes"]))
        if kind == "bytes":
            content = data.draw(st.binary(max_size=200))
        elif kind == "any":
            content = json.dumps(data.draw(values)).encode()
        else:
            name = data.draw(st.sampled_from(sorted(example)) | st.text(max_size=20))
            content = json.dumps({**example, name: data.draw(values | texts)}).encode()
        headers = {"Content-Type": "application/json"}
        check(http.request(method, path, content=content, headers=headers))

    await fuzz(api, run)


async def test_uploads(api: Api) -> None:
    """Packed rightly, wrongly, twice, cut, or not at all; with parameters of any kind."""
    pack: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "zstd": zstandard.compress,
        "identity": bytes,
    }

    @fuzzed
    @given(data=st.data())
    def run(http: httpx.Client, data: st.DataObject) -> None:
        text = data.draw(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
        packed = pack[data.draw(st.sampled_from(sorted(pack)))](text)
        packed = packed[: data.draw(st.integers(0, len(packed) + 5))]
        names = st.sampled_from(["collected_at", "platform", "os_version", "x"])
        params: dict[str, str] = data.draw(st.dictionaries(names, texts, max_size=2))
        coding = data.draw(st.sampled_from([*pack, "br", "gzip, gzip", ""]))
        headers = {"Content-Encoding": coding, "Content-Type": "text/plain"}
        check(http.put(f"{HOME}/r1/config", content=packed, params=params, headers=headers))

    await fuzz(api, run)


async def test_names_of_hosts_and_origins(api: Api) -> None:
    """Also where every name of a host is answered to."""
    open_to_all = api.system.settings.model_copy(update={"http_names": "*"})
    started: asyncio.Queue[str] = asyncio.Queue()
    app = create_app(replace(api.system, settings=open_to_all))
    server = asyncio.create_task(serve(app, "127.0.0.1", 0, started=started.put_nowait))
    addresses = st.sampled_from([api.address, await started.get()])
    names = st.sampled_from([b"Origin", b"Host", b"Sec-Fetch-Site"])
    named = st.dictionaries(names, broken_names | visible.map(str.encode), min_size=1)

    @fuzzed
    @given(addresses, st.sampled_from(["GET", "PUT", "POST", "OPTIONS"]), named)
    def run(http: httpx.Client, address: str, method: str, more: dict[bytes, bytes]) -> None:
        check(http.request(method, f"{address}{HOME}/r1/config", headers=list(more.items())))

    await fuzz(api, run)
    server.cancel()
    await asyncio.wait([server])


async def test_filters_ids_and_cursors(api: Api) -> None:
    document = await api.get("/api/openapi.json")
    targets: list[tuple[str, list[str]]] = [
        (path, [one["name"] for one in operations["get"]["parameters"] if one["in"] == "query"])
        for path, operations in document["paths"].items()
        if "parameters" in operations.get("get", {}) and not path.endswith("/events")
    ]
    audit = "/api/tenants/acme/audit-logs"
    given_one = (await api.get(audit, per_page=1))["next_cursor"] or "AAAA"

    @fuzzed
    @given(data=st.data())
    def run(http: httpx.Client, data: st.DataObject) -> None:
        path, names = data.draw(st.sampled_from(targets))
        for name in ("device", "snapshot_id", "tenant"):
            if f"{{{name}}}" in path and data.draw(st.booleans()):
                path = path.replace(f"{{{name}}}", quote(data.draw(texts.filter(bool)), safe=""))
        params: dict[str, Any] = {
            name: data.draw(texts | st.integers())
            for name in (data.draw(st.lists(st.sampled_from(names), max_size=3)) if names else [])
        }
        if data.draw(st.booleans()):
            at = data.draw(st.integers(0, len(given_one) - 1))
            params["cursor"] = given_one[:at] + data.draw(texts) + given_one[at + 1 :]
        check(http.get(filled(path), params=params))

    await fuzz(api, run)
