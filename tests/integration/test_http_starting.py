"""Requests that come before the read models are there, and while Postgres is not."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import httpx
from fastapi import FastAPI

from adapters.composition import open_system, roles
from adapters.embedded.nats import EmbeddedNats
from adapters.http.app import create_app
from adapters.http.errors import refusal
from adapters.roles.supervisor import running
from tests.serving import HOME, settings_for
from tests.support import eventually

READS = (
    HOME,
    f"{HOME}/r1",
    f"{HOME}/r1/snapshots",
    f"{HOME}/r1/config-history",
    f"{HOME}/r1/config/at?time=2026-03-01T12:00:00Z",
    "/api/tenants/acme/fleet",
    "/api/tenants/acme/changes",
    "/api/tenants/acme/audit-logs",
    "/api/tenants/acme/statistics",
    "/api/tenants/acme/search?q=a",
)


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")


async def test_a_request_before_the_read_models_are_there_is_told_to_come_back(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    settings = settings_for(nats_server, postgres_dsn, tmp_path, auth="off")
    async with open_system(settings) as system, client(create_app(system)) as http:
        for path in READS:
            early = await http.get(path)
            assert (early.status_code, early.json()["code"]) == (503, "read_models_unbuilt"), path
            assert early.headers["content-type"] == "application/problem+json"
            assert int(early.headers["retry-after"]) > 0
            assert "relation" not in early.text
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        async with running(roles(system)):

            async def there() -> bool:
                answers = [await http.get(path) for path in READS]
                return all(one.status_code in (200, 404) for one in answers)

            await eventually(there)


async def test_nobody_is_taken_for_unknown_before_the_keys_are_there(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    settings = settings_for(nats_server, postgres_dsn, tmp_path)
    async with open_system(settings) as system, client(create_app(system)) as http:
        key = {"Authorization": f"Bearer ctk_{'0' * 16}_{'A' * 43}"}
        early = await http.get(HOME, headers=key)
        assert (early.status_code, early.json()["code"]) == (503, "read_models_unbuilt")
        assert int(early.headers["retry-after"]) > 0


async def test_only_an_outage_is_told_as_one() -> None:
    """What comes of a fault of ours is no outage, and asking again would not help."""
    outages = (
        asyncpg.TooManyConnectionsError(""),
        asyncpg.AdminShutdownError(""),
        asyncpg.DeadlockDetectedError(""),
        asyncpg.QueryCanceledError(""),
        asyncpg.InterfaceError("connection is closed"),
        ConnectionResetError(),
        TimeoutError(),
    )
    for error in outages:
        answer = refusal(error)
        assert answer is not None
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    for fault in (asyncpg.DataError(""), asyncpg.PostgresSyntaxError("SELECT"), KeyError("a")):
        assert refusal(fault) is None
