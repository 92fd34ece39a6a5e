"""Examples for the API's description, made of its own schemas: a new route has them by itself.

Invariant: an example is valid under the schema that it stands beside; a test says so for each.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

FIRST: Final = "440f7b3f-94d8-6dcc-9267-2620e78d4bec"
SECOND: Final = "7ac25f61-fad0-2458-ee7a-5a05a93963b1"
_DIFF: Final = f"diff.{FIRST}.{SECOND}"
_OLD, _NEW = "2026-03-01T06:00:00Z", "2026-03-02T06:00:00Z"
_LINE: Final = "add address=192.0.2.2/24 interface=ether1"
_TEXT: Final = f"/ip address\n{_LINE}\n/system identity\nset name=edge-berlin\n"
_PATCH: Final = (
    "--- a/before\n+++ b/after\n@@ -1,2 +1,2 @@\n /ip address\n"
    f"-add address=192.0.2.1/24 interface=ether1\n+{_LINE}\n"
)
_SENTENCE: Final = "ip address: '192.0.2.2/24' added on ether1"

# What a field, or a parameter, of this name holds; the first value that its schema allows.
_NAMED: Final[dict[str, tuple[Any, ...]]] = {
    "action": ("config_snapshot_created",),
    "actor": ("system:recorder",),
    "address": ("192.0.2.1",),
    "addresses": ("192.0.2.1",),
    "age_seconds": (3600.5,),
    "causation_id": (f"observation.{SECOND}",),
    "certainty": ("sure",),
    "collected_at": (_NEW,),
    "completeness": ("complete",),
    "component": ("/ip address",),
    "config_text": (_TEXT,),
    "correlation_id": (SECOND,),
    "created_by": ("user:ann",),
    "credential": ("stored:berlin",),
    "current_snapshot_id": (SECOND,),
    "day": ("2026-03-02",),
    "detail": ("there is no such device",),
    "device": ("edge-berlin",),
    "device_id": ("edge-berlin",),
    "diff_id": (_DIFF,),
    "diff_text": (_PATCH,),
    "entry": ("192.0.2.2/24",),
    "error": ("ValueError",),
    "event_id": (f"observation.{SECOND}",),
    "first_seen": (_OLD,),
    "from": (FIRST,),
    "from_device": ("edge-berlin",),
    "id": (SECOND,),
    "key": ("ctk_5f0e9a3a0b7a5b1f_this-is-no-key-but-where-its-secret-is-shown",),
    "key_id": ("5f0e9a3a0b7a5b1f",),
    "kind": ("added",),
    "level": ("report", 0),
    "message": ("read in 2.1 s",),
    "name": ("poller", "address"),
    "new_device_id": ("edge-berlin",),
    "new_snapshot_id": (SECOND,),
    "next_cursor": (None,),
    "number": (2,),
    "old_device_id": ("edge-berlin",),
    "old_snapshot_id": (FIRST,),
    "origin": ("intake",),
    "os_version": ("7.14",),
    "outcome": ("created", "succeeded"),
    "path": ("000",),
    "permissions": ("upload",),
    "platform": ("routeros",),
    "port": (22,),
    "position": (4711,),
    "predecessor_id": (FIRST,),
    "projection": ("audit",),
    "q": ("192.0.2.2",),
    "reason": ("before the upgrade",),
    "resource_id": (SECOND,),
    "resource_type": ("snapshot",),
    "role": ("operator",),
    "rule": ("must be a SHA-256 in hex",),
    "section": ("/ip address",),
    "sentence": (_SENTENCE,),
    "sha256_hash": ("b5438504dac83fc6c15eedf0293279f1bc33e88ff32094b629a9372e4a0103bb",),
    "snapshot_id": (SECOND,),
    "source": ("pushed",),
    "status": ("success", "ok"),
    "subject": ("config.snapshot.create",),
    "summary": ("+1 -1 lines in /ip address",),
    "tag": ("input-chain",),
    "tenant": ("acme",),
    "tenant_id": ("acme",),
    "text": (_LINE,),
    "text_gone": (None,),
    "time": (_NEW,),
    "to": (SECOND,),
    "to_device": ("edge-berlin",),
    "trigger_id": ("0f8fad5b-d9cb-469f-a165-70867728950e",),
    "type_name": ("SnapshotCreated",),
    "username": ("configtrail",),
}
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
# Ends that are open: an example where something has failed, or is over, would be a puzzling one.
_OPEN: Final = frozenset(
    {
        *("error", "expires_at", "revoked_at", "valid_until", "open_since", "open_trigger_id"),
        *("last_failure_at", "last_failure_kind", "last_failure_message", "rebuild_position"),
        *("asked_by", "changed_by", "upgrade", "jump", "window", "group", "next_before"),
    }
)


def example_of(schema: Schema, schemas: Mapping[str, Schema], name: str = "") -> Any:
    """A value that the schema allows, such as the field `name` would hold. `schemas` are those
    that it may refer to."""
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].rpartition("/")[2]], schemas, name)
    if "anyOf" in schema:
        choices = schema["anyOf"]
        nullable = any(one.get("type") == "null" for one in choices)
        if nullable and (name in _OPEN or _NAMED.get(name) == (None,)):
            return None
        return example_of(choices[0], schemas, name)
    match schema.get("type"):
        case "object":
            return _object(schema, schemas)
        case "array":
            return [example_of(schema["items"], schemas, name)]
        case str(kind):
            return _plain(schema, kind, name)
        case _:
            return {}


def _object(schema: Schema, schemas: Mapping[str, Schema]) -> dict[str, Any]:
    further = schema.get("additionalProperties")
    if isinstance(further, Mapping):
        return {"audit": example_of(further, schemas)}
    return {
        name: example_of(one, schemas, name) for name, one in schema.get("properties", {}).items()
    }


def _plain(schema: Schema, kind: str, name: str) -> Any:
    allowed = schema.get("enum")
    for value in _NAMED.get(name, ()):
        if type(value) in _KINDS[kind] and (allowed is None or value in allowed):
            return value
    if allowed is not None:
        return allowed[0]
    match kind:
        case "boolean":
            return False
        case "integer" | "number":
            return schema.get("default", max(1, schema.get("minimum", 1)))
        case _ if schema.get("format") == "date-time":
            return _NEW
        case _ if schema.get("format") == "date":
            return _NEW[:10]
        case _:
            return name.replace("_", " ") or "text"


def listed_forms(body: Any) -> tuple[str, str]:
    """An answer that is a listing, as lines of JSON and as CSV."""
    items: list[dict[str, Any]] = body if isinstance(body, list) else body["items"]
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=list(items[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _field(value) for name, value in one.items()} for one in items)
    return "".join(f"{json.dumps(one)}\n" for one in items), table.getvalue()


def _field(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list | bool) else value


CONFIG_TEXT: Final = _TEXT
UNIFIED: Final = _PATCH
IN_WORDS: Final = f"{_SENTENCE}\n"
