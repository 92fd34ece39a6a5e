"""The API's description, completed: who may, and an example of everything.

FastAPI tells of parameters and bodies. It does not know of the guard that asks for credentials, and
says that refusals are plain JSON, which they are not.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from adapters.http.access import Route, routes_of
from adapters.http.errors import PROBLEM, problem, telling
from adapters.http.examples import example_of, listed_forms
from adapters.http.representations import CSV, JSON, NDJSON

_BEARER = "bearer"
_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "an API key, or a token of the identity provider",
}
_METHODS = ("get", "put", "post", "delete", "patch")


def describe(app: FastAPI) -> None:
    """Have the application describe itself completely. Once all of its routes are there."""
    generated = app.openapi
    described: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not described:
            described.update(completed(generated(), list(routes_of(app).values())))
        return described

    app.openapi = openapi  # type: ignore[method-assign]


def completed(document: dict[str, Any], routes: list[Route]) -> dict[str, Any]:
    """The description with credentials and examples in it."""
    document["components"]["securitySchemes"] = {_BEARER: _SCHEME}
    schemas = document["components"]["schemas"]
    needed = {
        (one.path.replace(":path}", "}"), method.lower()): one.permission
        for one in routes
        for method in one.methods
    }
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if method not in operations:
                continue
            operation = operations[method]
            permission = needed[path, method]
            operation["security"] = [{_BEARER: []}] if permission else []
            if permission is not None:
                operation["x-permission"] = permission.value
            for one in operation.get("parameters", []):
                if one["required"]:
                    one["example"] = example_of(one["schema"], schemas, one["name"])
            for content in operation.get("requestBody", {}).get("content", {}).values():
                _show(content, schemas)
            for status, answer in operation["responses"].items():
                _complete(answer, int(status), schemas)
    return document


def _complete(answer: dict[str, Any], status: int, schemas: dict[str, Any]) -> None:
    contents = answer.get("content", {})
    if PROBLEM in contents:
        contents.pop(JSON, None)
        code, told = telling(status)
        contents[PROBLEM]["example"] = {**problem(status, code, told), "request_id": "deploy-42"}
        return
    if JSON in contents:
        _show(contents[JSON], schemas)
        if NDJSON in contents:
            lines, table = listed_forms(contents[JSON]["example"])
            contents[NDJSON]["example"], contents[CSV]["example"] = lines, table


def _show(content: dict[str, Any], schemas: dict[str, Any]) -> None:
    content.setdefault("example", example_of(content["schema"], schemas))
