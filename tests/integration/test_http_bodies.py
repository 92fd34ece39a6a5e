"""No request's body fills the memory or holds a connection, whatever its address looks like."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from urllib.parse import unquote

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.types import Message, Receive, Scope

from adapters.http import bodies, guard
from adapters.http.access import routes_of
from adapters.http.app import create_app
from adapters.http.guard import BODY_MAX
from domain.access import Role
from tests.rig import api_key
from tests.serving import Api

PIECE = 16 * 1024
MANY = 64
# What once looked like the address of an upload, when its slashes were decoded.
PARTS = ("x", "x%2Fdevices", "x%2fdevices%2Fy%2Fconfig", "x/config", "x%2Fconfig", "%2F", "x%0A")


def addresses(path: str) -> Iterator[str]:
    """A route's addresses with encoded slashes in all of its parts, and between them."""
    names = [one.partition("}")[0] for one in path.split("{")[1:]]
    for parts in product(PARTS, repeat=len(names)):
        filled = path
        for name, part in zip(names, parts, strict=True):
            filled = filled.replace(f"{{{name}}}", part)
        yield filled
    for at, one in enumerate(path):
        if one == "/" and at:
            yield re.sub("{.*?}", "1", f"{path[:at]}%2F{path[at + 1 :]}")


def requests(app: FastAPI) -> list[tuple[str, str]]:
    """Method and address, of each route that may have a body, and of one that has none."""
    found = {
        (method, address)
        for one in routes_of(app).values()
        if one.methods != {"GET"} or one.path.endswith("/inventory")
        for method in one.methods
        for address in addresses(one.path)
    }
    return sorted(found)


def unhurried(api: Api) -> FastAPI:
    """The application without a limit of requests that matters here."""
    settings = api.system.settings.model_copy(update={"rate_burst": 1_000_000})
    return create_app(replace(api.system, settings=settings))


async def answered(app: FastAPI, method: str, address: str, key: str, receive: Receive) -> int:
    """The status of the answer to a request whose body comes as it is received."""
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(address),
        "raw_path": address.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [
            (b"host", b"localhost"),
            (b"authorization", f"Bearer {key}".encode()),
            (b"content-type", b"application/json"),
        ],
        "client": ("192.0.2.7", 1),
        "server": ("localhost", 80),
    }
    status = 0

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)

    async with asyncio.timeout(60):
        await app(scope, receive, send)
    return status


async def test_routes_that_only_read_take_no_body(api: Api) -> None:
    """So nobody reads one that comes with such a request."""
    for context in iter_route_contexts(unhurried(api).routes):
        if isinstance(context.original_route, APIRoute) and context.methods == {"GET"}:
            assert context.original_route.body_field is None, context.path


async def test_a_large_body_is_read_up_to_the_bound_at_every_address(api: Api) -> None:
    app = unhurried(api)
    key = await api_key(api.system, Role.VIEWER, "acme")
    for method, address in requests(app):
        taken = 0

        async def receive() -> Message:
            nonlocal taken
            taken += 1
            return {"type": "http.request", "body": b" " * PIECE, "more_body": taken < MANY}

        status = await answered(app, method, address, key, receive)
        assert taken * PIECE <= BODY_MAX + PIECE, (method, address)
        assert 200 <= status < 500, (method, address, status)


async def test_a_slow_body_is_given_up_at_every_address(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.001)
    monkeypatch.setattr(bodies, "READ_SECONDS", 0.001)
    app = unhurried(api)
    key = await api_key(api.system, Role.VIEWER, "acme")
    never = asyncio.Event()
    for method, address in requests(app):
        awaited = False

        async def receive() -> Message:
            nonlocal awaited
            awaited = True
            await never.wait()
            return {"type": "http.disconnect"}

        status = await answered(app, method, address, key, receive)
        assert (status == 408) == awaited, (method, address, status)
    mine = api.http.headers["Authorization"].removeprefix("Bearer ")
    upload = ("PUT", "/api/tenants/acme/devices/edge%2F1/config")
    assert await answered(app, *upload, mine, receive) == 408


@pytest.mark.parametrize("path", ["inventory/y/config", "device-groups/y/config"])
async def test_what_only_looks_like_an_upload_has_no_larger_body(api: Api, path: str) -> None:
    address = f"/api/tenants/x%2Fdevices/{path}"
    answer = await api.http.put(address, content=b" " * (BODY_MAX + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
