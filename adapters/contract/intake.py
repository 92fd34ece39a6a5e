"""The intake in the AsyncAPI document: what others send, by the structs that it is read into.

The schemas tell fields and types; the rules beyond them are in docs/intake.md, which it refers to.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from adapters.jetstream.intake import CREATE, FAILED
from domain.intake import IntakeFailure, IntakeObservation

Document = dict[str, Any]

_MESSAGES = {
    "observation": (CREATE, IntakeObservation, "A device was read: its configuration as it is."),
    "failure": (FAILED, IntakeFailure, "A device could not be read."),
}
# Of the two, one must be there: docs/intake.md.
_EITHER = ("config_text", "config_parts")


def intake_channels(stream: Document) -> Document:
    """A channel for each message that others publish."""
    return {
        f"{name}s": {
            "address": subject,
            "title": words,
            "description": "Publish with an acknowledgement by JetStream; it is durable then."
            " Rules: docs/intake.md.",
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
            "x-jetstream": stream,
        }
        for name, (subject, _, words) in _MESSAGES.items()
    }


def intake_operations() -> Document:
    """Configtrail receives them."""
    return {
        f"take{name.capitalize()}": {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{name}s"},
            "summary": "Recorded once, however often it is delivered; refused, a dead letter.",
        }
        for name in _MESSAGES
    }


def intake_messages() -> Document:
    """The messages, with their payloads."""
    return {
        name: {
            "name": name,
            "title": words,
            "contentType": "application/json",
            "payload": {"$ref": f"#/components/schemas/{struct.__name__}"},
        }
        for name, (_, struct, words) in _MESSAGES.items()
    }


def intake_schemas() -> Document:
    """The payloads' schemas. Unknown fields are ignored."""
    _, built = msgspec.json.schema_components(
        [struct for _, struct, _ in _MESSAGES.values()],
        ref_template="#/components/schemas/{name}",
    )
    schemas: Document = json.loads(json.dumps(built))
    observation = schemas[IntakeObservation.__name__]
    observation["required"] = [one for one in observation["required"] if one not in _EITHER]
    return schemas
