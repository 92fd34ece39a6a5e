"""The published files: what lies in `docs/contract`, and what today's code would write there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from adapters.contract.asyncapi import Document, asyncapi
from adapters.contract.compat import incompatibilities
from adapters.contract.schemas import Schema, todays_schemas
from domain.errors import ConfigtrailError

FOLDER = Path(__file__).parent.parent.parent / "docs" / "contract"
INDEX = "published.json"


class IncompatibleSchema(ConfigtrailError):
    """A published schema would change in a way that breaks its readers."""

    def __init__(self, type_name: str, reasons: list[str]) -> None:
        super().__init__(
            f"{type_name} is published and must not change so: {'; '.join(reasons)}. Leave it, and "
            "make a new version: VERSIONS and UPCASTERS in domain/upcast.py"
        )
        self.type_name = type_name
        self.reasons = reasons


class PublishedLost(ConfigtrailError):
    """What was published is gone, or was altered by hand: there is nothing to compare with."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name}: {what}; bring the file back as it was published")
        self.name = name
        self.what = what


def index_of(schemas: dict[str, Schema]) -> dict[str, str]:
    """What is pinned of each published schema: the SHA-256 of its file's text."""
    return {
        name: hashlib.sha256(as_text(schema).encode()).hexdigest()
        for name, schema in sorted(schemas.items())
    }


def check_published(folder: Path = FOLDER) -> None:
    """Raise `PublishedLost` unless every schema that was ever published is there, unaltered.

    Without this a schema whose file was removed would be generated anew, compared with nothing.
    """
    try:
        pinned: dict[str, str] = json.loads((folder / INDEX).read_text())
    except FileNotFoundError as error:
        raise PublishedLost(INDEX, "the list of what was published is gone") from error
    there = index_of(published_schemas(folder))
    for name, pin in pinned.items():
        if name not in there:
            raise PublishedLost(name, "its published schema is gone")
        if there[name] != pin:
            raise PublishedLost(name, "its published schema was altered by hand")
    for name in sorted(there.keys() - pinned.keys()):
        raise PublishedLost(name, f"it is not in {INDEX}, which only grows")


def published_schemas(folder: Path = FOLDER) -> dict[str, Schema]:
    """The schemas that were published, by type."""
    return {
        path.name.removesuffix(".json"): json.loads(path.read_text())
        for path in sorted((folder / "schemas").glob("*.json"))
    }


def contract(folder: Path = FOLDER) -> tuple[dict[str, Schema], Document]:
    """All schemas, of old versions as published and of today's as the code has them, and the
    AsyncAPI document. Raises `IncompatibleSchema` and `PublishedLost`."""
    check_published(folder)
    schemas = published_schemas(folder)
    for name, schema in todays_schemas().items():
        if name in schemas and (reasons := incompatibilities(schemas[name], schema)):
            raise IncompatibleSchema(name, reasons)
        schemas[name] = schema
    return schemas, asyncapi(sorted(schemas))


def as_text(schema: Schema) -> str:
    """A schema as its file holds it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
