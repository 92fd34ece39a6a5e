"""The direct way to a read answers as FastAPI's own does, whatever is asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.composition import open_system
from adapters.embedded.nats import EmbeddedNats
from adapters.http.access import routes_of
from adapters.http.app import create_app, serve
from adapters.http.direct import Direct
from tests.serving import NOON, TEXTS, program, settings_for

IDS = ("r1", "r1", "site/ü", "r1/snapshots", "absent", "..", "a b", "x\n", "\ufdd0", "r" * 200)
VALUES = (
    "",
    "0",
    "1",
    "2",
    "-1",
    " 1",
    "1000",
    "99999999",
    "x",
    "true",
    "/ip address",
    "2026-03-01",
    "json",
    "csv",
    "\0",
)
FORMS = ("*/*", "application/json", "text/csv", "application/x-ndjson", "image/png")
PARAMETER = re.compile(r"{(\w+)(?::path)?}")

OWN = ("x-request-id", "date")

some = st.sampled_from


def direct_of(app: FastAPI) -> Direct:
    direct = app.router.middleware_stack
    assert isinstance(direct, Direct)
    return direct


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    addresses: asyncio.Queue[str] = asyncio.Queue()
    server = asyncio.create_task(serve(app, "127.0.0.1", 0, started=addresses.put_nowait))
    try:
        yield await addresses.get()
    finally:
        server.cancel()
        await asyncio.wait([server])


async def test_both_ways_answer_the_same(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    these = settings_for(nats_server, postgres_dsn, tmp_path, rate_per_second=1e6)
    async with program(these) as api:
        for hours, text in enumerate(TEXTS):
            await api.system.intake.publish("acme", "r1", text, NOON + timedelta(hours=hours))
        await api.system.intake.publish("acme", "site/ü", TEXTS[0], NOON)
        await api.settled()
        snapshots = (await api.get("/api/tenants/acme/devices/r1/snapshots"))["items"]
        key = api.http.headers["Authorization"]
    # No role runs: nothing changes between two requests.
    async with open_system(these) as system:
        app, plain = create_app(system), create_app(system)
        plain.router.middleware_stack = plain.router.app
        known = routes_of(app)
        routes = sorted(known[one].path for one in direct_of(app).endpoints)
        parameters = {known[one].path: sorted(known[one].query) for one in known}
        routes.remove("/metrics")
        ids = [one["id"] for one in snapshots]
        statuses: set[int] = set()

        @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.data())
        def run(clients: list[httpx.Client], data: st.DataObject) -> None:
            route = data.draw(some(routes))
            method, path, query, headers = asked(data, route, parameters[route], ids)
            if data.draw(some((True,) * 9 + (False,))):
                headers.append(("Authorization", key))
            found = [
                told(one.request(method, path, params=query, headers=headers)) for one in clients
            ]
            assert found[0] == found[1]
            statuses.add(found[0][0])

        async with served(app) as one, served(plain) as other:
            with httpx.Client(base_url=one) as first, httpx.Client(base_url=other) as second:
                await asyncio.to_thread(run, [first, second])
    assert {200, 401, 404, 405, 422} <= statuses


def asked(
    data: st.DataObject, route: str, parameters: list[str], snapshots: list[str]
) -> tuple[str, str, httpx.QueryParams, list[tuple[str, str]]]:
    """A request to a route, or nearly."""

    def part(found: re.Match[str]) -> str:
        name = found[1]
        values = {
            "tenant": ("acme", "acme", "acme", "other", "-"),
            "device": IDS,
            "snapshot_id": (*snapshots, "x"),
        }
        return quote(data.draw(some(values.get(name, ("0", "1", "x")))), safe=data.draw(some("/ ")))

    path = PARAMETER.sub(part, route)
    names = data.draw(st.lists(some([*parameters, "unknown"]), max_size=3))
    # Revealing is written down, and moves the position.
    query: list[tuple[str, Any]] = [
        (name, data.draw(some(VALUES))) for name in names if name != "reveal"
    ]
    headers = [("Accept", data.draw(some(FORMS)))]
    # Of several the first counts, or the last: the same one either way.
    positions = st.lists(some(("0", "1", "x", "", "99999999", "+1", "1.0")), max_size=2)
    headers += [("Configtrail-Min-Position", one) for one in data.draw(positions)]
    return (
        data.draw(some(("GET", "GET", "GET", "HEAD", "POST"))),
        path,
        httpx.QueryParams(query),
        headers,
    )


def told(answer: httpx.Response) -> tuple[int, dict[str, str], Any]:
    """An answer without what is each request's own, and without ages."""
    said = {name: answer.headers[name] for name in answer.headers if name not in OWN}
    text = re.sub(r'"request_id": ?"[^"]*"', "", answer.text)
    if "/fleet" in answer.request.url.path:
        said = {name: said[name] for name in said if name not in ("etag", "content-length")}
        text = re.sub(r'"age_seconds":[\d.]+', "", text)
    return answer.status_code, said, text


async def test_no_read_of_a_read_model_goes_the_long_way(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    """A parameter that is not plain would only make it slow."""
    async with open_system(settings_for(nats_server, postgres_dsn, tmp_path)) as system:
        app = create_app(system)
        known = routes_of(app)
        long = {
            known[one].path
            for one in set(known) - direct_of(app).endpoints
            if "GET" in known[one].methods and "min_position" in known[one].query
        }
        assert long == set()
