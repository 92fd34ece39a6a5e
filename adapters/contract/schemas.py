"""JSON Schemas of the events' bodies, one for each event of today's version."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from domain.events import EVENT_TYPES
from domain.upcast import VERSIONS

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def todays_schemas() -> dict[str, Schema]:
    """The schemas by type: `configtrail.SnapshotCreated.v1`. Each stands alone."""
    _, built = msgspec.json.schema_components(EVENT_TYPES, ref_template="#/$defs/{name}")
    # As JSON has it: a default of () is [].
    components: dict[str, Schema] = json.loads(json.dumps(built))
    found: dict[str, Schema] = {}
    for event in EVENT_TYPES:
        name = event.__name__
        schema: Schema = {
            "$schema": DIALECT,
            "$id": f"urn:configtrail:event:{name}:v{VERSIONS[name]}",
            **components[name],
        }
        needed = _needed(components[name], components)
        if needed:
            schema["$defs"] = {one: components[one] for one in sorted(needed)}
        found[f"configtrail.{name}.v{VERSIONS[name]}"] = schema
    return found


def _needed(schema: object, components: dict[str, Schema]) -> set[str]:
    """Names of the components that a schema refers to, directly or not."""
    if isinstance(schema, list):
        return {name for one in schema for name in _needed(one, components)}
    if not isinstance(schema, dict):
        return set()
    found = {name for one in schema.values() for name in _needed(one, components)}
    ref = schema.get("$ref")
    if isinstance(ref, str):
        name = ref.rpartition("/")[2]
        found |= {name} | _needed(components[name], components)
    return found
