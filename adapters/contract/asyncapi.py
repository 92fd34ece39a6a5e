"""The AsyncAPI 3.0 document: streams, subjects, headers, messages, of the log and of the intake."""

from __future__ import annotations

from typing import Any

from nats.js.api import StreamConfig

from adapters.contract.intake import (
    intake_channels,
    intake_messages,
    intake_operations,
    intake_schemas,
)
from adapters.jetstream.streams import EVENTS, events_stream_config, intake_stream_config
from adapters.jetstream.wire import PREFIX
from domain.events import EVENT_TYPES
from domain.ids import DEVICE_MAX, TENANT
from domain.upcast import VERSIONS

Document = dict[str, Any]

_TOKEN = "Bytes other than letters, digits, '-' and '_' are written =XX (upper-case hex of UTF-8)."
_STRING = {"type": "string"}


def asyncapi(published: list[str]) -> Document:
    """The document, with a message for each published type."""
    messages = {one: _message(one) for one in published}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Configtrail",
            "version": "1",
            "description": (
                "Facts about the configuration history of network devices, as CloudEvents 1.0 in"
                " NATS binary mode. How to read them rightly: guide.md beside this file. And the"
                " intake, where observations come from."
            ),
        },
        "defaultContentType": "application/json",
        "servers": {
            "nats": {
                "host": "127.0.0.1:4222",
                "protocol": "nats",
                "description": "NATS with JetStream, server 2.12 or newer.",
            }
        },
        "channels": {
            "events": {
                "address": f"{PREFIX}.{{tenant}}.{{device}}.{{type}}",
                "title": "Every event",
                "description": f"Stored in the JetStream stream {EVENTS}. Subscribe to it only"
                " through a pull consumer.",
                "parameters": {
                    "tenant": {
                        "description": f"{_TOKEN} Decoded: {TENANT.pattern}, or"
                        " _system for what is of no tenant"
                    },
                    "device": {
                        "description": f"{_TOKEN} Decoded: 1 to {DEVICE_MAX} printable characters."
                    },
                    "type": {
                        "description": "The event's name, without its version.",
                        "enum": [event.__name__ for event in EVENT_TYPES],
                    },
                },
                "messages": {one: {"$ref": f"#/components/messages/{one}"} for one in messages},
                "x-jetstream": _stream(events_stream_config()),
            },
            **intake_channels(_stream(intake_stream_config(max_bytes=1 << 30))),
        },
        "operations": {
            "tell": {
                "action": "send",
                "channel": {"$ref": "#/channels/events"},
                "summary": "Configtrail tells what happened. Nobody else may publish here.",
            },
            **intake_operations(),
        },
        "components": {
            "messages": {**messages, **intake_messages()},
            "messageTraits": {"event": {"headers": _headers()}},
            "schemas": intake_schemas(),
        },
    }


def _message(type_name: str) -> Document:
    name, version = type_name.removeprefix("configtrail.").rsplit(".v", 1)
    document: Document = {
        "name": type_name,
        "title": name,
        "contentType": "application/json",
        "traits": [{"$ref": "#/components/messageTraits/event"}],
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./schemas/{type_name}.json"},
        },
    }
    if int(version) < VERSIONS[name]:
        document["deprecated"] = True
        document["summary"] = (
            f"Not written any more, and in old streams for ever; today v{VERSIONS[name]} is."
        )
    return document


def _headers() -> Document:
    positive = {"type": "string", "pattern": "^[1-9][0-9]*$"}
    time = {"type": "string", "format": "date-time"}
    fields: dict[str, tuple[Document, str]] = {
        "ce-specversion": ({"const": "1.0"}, "CloudEvents 1.0."),
        "ce-type": (
            {"type": "string", "pattern": r"^configtrail\.[A-Za-z]+\.v[1-9][0-9]*$"},
            "Name and version of the event.",
        ),
        "ce-id": (_STRING, "Unique in the stream: the same decision taken twice has the same id."),
        "ce-source": (_STRING, "/configtrail/<tenant>, percent-encoded."),
        "ce-subject": (_STRING, "The device's id, percent-encoded."),
        "ce-time": (time, "When it happened; the message's own time is when it was stored."),
        "ce-sequence": (positive, "Version in the device's history: 1, 2, 3 … without gaps."),
        "content-type": ({"const": "application/json"}, "Of the body."),
        "Nats-Msg-Id": (_STRING, "The same as ce-id."),
        "ce-correlationid": (_STRING, "What belongs together."),
        "ce-causationid": (_STRING, "What caused it."),
        "traceparent": (_STRING, "W3C trace context."),
    }
    optional = ("ce-correlationid", "ce-causationid", "traceparent")
    return {
        "type": "object",
        "properties": {
            name: {**schema, "description": words} for name, (schema, words) in fields.items()
        },
        "required": [name for name in fields if name not in optional],
    }


def _stream(config: StreamConfig) -> Document:
    assert config.retention is not None
    assert config.discard is not None
    return {
        "stream": config.name,
        "subjects": config.subjects,
        "retention": str(config.retention.value),
        "discard": str(config.discard.value),
        "maxAge": 0,
        "denyDelete": config.deny_delete,
        "denyPurge": config.deny_purge,
        "allowDirect": config.allow_direct,
        "duplicateWindowSeconds": config.duplicate_window,
    }
