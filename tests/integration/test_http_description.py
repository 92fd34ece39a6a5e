"""What the API says of itself: complete, and with examples that are true to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator

from adapters.composition import open_system
from adapters.embedded.nats import EmbeddedNats
from adapters.http.access import Route, routes_of
from adapters.http.app import create_app
from domain.tlog.note import parse_note
from domain.tlog.proof import ConsistencyProof, InclusionProof, parse_proof
from tests.serving import settings_for

# What is not text has no example that a description could hold.
BINARY = "application/octet-stream"
METHODS = {"get", "put", "post", "delete", "patch"}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, found in document["paths"].items():
        for method in found.keys() & METHODS:
            yield path, method, found[method]


def shown(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything that is to have an example: parameters, and contents by their type."""
    for one in operation.get("parameters", []):
        if one["required"]:
            yield one["name"], one
    for answer in [operation.get("requestBody", {}), *operation["responses"].values()]:
        yield from answer.get("content", {}).items()


@pytest.fixture
async def app(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> AsyncIterator[FastAPI]:
    async with open_system(settings_for(nats_server, postgres_dsn, tmp_path)) as system:
        yield create_app(system)


async def test_every_route_shows_examples_that_are_valid_under_its_schemas(app: FastAPI) -> None:
    document = app.openapi()
    checked = 0
    for path, method, operation in operations(document):
        for name, one in shown(operation):
            where = (method, path, name)
            assert name == BINARY or "example" in one, where
            # References are to the document, so the schema is looked at as a part of it.
            schema = {**one["schema"], "components": document["components"]}
            validator = Draft202012Validator(schema)
            for example in [one["example"]] if "example" in one else []:
                assert not [error.message for error in validator.iter_errors(example)], where
                checked += 1
    assert checked > 400


async def test_every_route_is_described_with_what_it_asks_for(app: FastAPI) -> None:
    document = app.openapi()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    routes: dict[tuple[str, str], Route] = {
        (one.path.replace(":path}", "}"), method.lower()): one
        for one in routes_of(app).values()
        for method in one.methods
    }
    told = {(path, method): operation for path, method, operation in operations(document)}
    assert told.keys() == routes.keys()
    for where, operation in told.items():
        permission = routes[where].permission
        assert operation["security"] == ([] if permission is None else [{"bearer": []}]), where
        assert operation.get("x-permission") == (permission.value if permission else None), where
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and where[0] != "/readyz":
                assert list(answer["content"]) == ["application/problem+json"], (where, status)
                example = answer["content"]["application/problem+json"]["example"]
                assert example["status"] == int(status)


async def test_examples_of_proofs_have_the_form_of_proofs(app: FastAPI) -> None:
    log = "/api/tenants/{tenant}/log"
    texts = {
        path: operation["responses"]["200"]["content"]["text/plain"]["example"].encode()
        for path, _, operation in operations(app.openapi())
        if path.startswith(f"{log}/") and path.rpartition("/")[2] != "state" and "tile" not in path
    }
    assert parse_note(texts.pop(f"{log}/checkpoint")).signatures
    assert {type(parse_proof(one)) for one in texts.values()} == {InclusionProof, ConsistencyProof}
