"""The published files: what lies in `docs/contract`, and what today's code would write there."""

from __future__ import annotations

import json
from pathlib import Path

from adapters.contract.asyncapi import Document, asyncapi
from adapters.contract.compat import incompatibilities
from adapters.contract.schemas import Schema, todays_schemas
from domain.errors import ConfigtrailError

FOLDER = Path(__file__).parent.parent.parent / "docs" / "contract"


class IncompatibleSchema(ConfigtrailError):
    """A published schema would change in a way that breaks its readers."""

    def __init__(self, type_name: str, reasons: list[str]) -> None:
        super().__init__(
            f"{type_name} is published and must not change so: {'; '.join(reasons)}. Leave it, and "
            "make a new version: VERSIONS and UPCASTERS in domain/upcast.py"
        )
        self.type_name = type_name
        self.reasons = reasons


def published_schemas(folder: Path = FOLDER) -> dict[str, Schema]:
    """The schemas that were published, by type."""
    return {
        path.name.removesuffix(".json"): json.loads(path.read_text())
        for path in sorted((folder / "schemas").glob("*.json"))
    }


def contract(folder: Path = FOLDER) -> tuple[dict[str, Schema], Document]:
    """All schemas, of old versions as published and of today's as the code has them, and the
    AsyncAPI document. Raises `IncompatibleSchema`."""
    schemas = published_schemas(folder)
    for name, schema in todays_schemas().items():
        if name in schemas and (reasons := incompatibilities(schemas[name], schema)):
            raise IncompatibleSchema(name, reasons)
        schemas[name] = schema
    return schemas, asyncapi(sorted(schemas))


def as_text(schema: Schema) -> str:
    """A schema as its file holds it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
