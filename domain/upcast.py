"""The one place where old versions of events become today's. Every read path goes through it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from domain.errors import MalformedEvent, UnknownEventType
from domain.events import EVENT_NAMES, EVENT_TYPES, DomainEvent, Fact, decode_event, event_name

_TYPE = re.compile(r"configtrail\.([A-Za-z]+)\.v([1-9][0-9]{0,3})\Z")

# Today's version of each event, and how a body of version n becomes one of version n + 1.
VERSIONS: dict[str, int] = dict.fromkeys(EVENT_NAMES, 1) | {"ManualBackupFinished": 2}


def _finished_v2(body: bytes) -> bytes:
    """Version 1 had no word for a backup whose program died: the reaper told it as failed."""
    fields = msgspec.json.decode(body, type=dict[str, Any])
    if fields.get("actor") == "system:reaper" and fields.get("outcome") == "failed":
        fields["outcome"] = "interrupted"
    return msgspec.json.encode(fields)


UPCASTERS: dict[tuple[str, int], Callable[[bytes], bytes]] = {
    ("ManualBackupFinished", 1): _finished_v2,
}


def type_of(event: DomainEvent) -> str:
    """The event's full type, as in `ce-type`: `configtrail.SnapshotCreated.v1`."""
    name = event_name(event)
    return f"configtrail.{name}.v{VERSIONS[name]}"


def read_event(type_name: str, body: bytes, position: int) -> DomainEvent:
    """The event of any published version, as today's struct.

    Raises `UnknownEventType` for a type or version from the future, `MalformedEvent` for a body
    that breaks its schema.
    """
    reading = _reading(type_name)
    if reading is None:
        raise UnknownEventType(type_name, position)
    kind, upcasters = reading
    try:
        for upcast in upcasters:
            body = upcast(body)
        event = decode_event(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        # The last for what is nested too deeply, also in a field that nobody knows.
        raise MalformedEvent(position, type(error).__name__) from error
    if type(event) is not kind:
        told = f"its header says {kind.__name__}, its body {event_name(event)}"
        raise MalformedEvent(position, told)
    return event


@lru_cache(maxsize=256)
def _reading(type_name: str) -> tuple[type[Fact], list[Callable[[bytes], bytes]]] | None:
    """The event's struct, and what its bodies go through; None when the type is none of ours."""
    match = _TYPE.match(type_name)
    if match is None:
        return None
    name, stored_version, latest = match[1], int(match[2]), VERSIONS.get(match[1], 0)
    if stored_version > latest:
        return None
    kind = EVENT_TYPES[EVENT_NAMES.index(name)]
    return kind, [UPCASTERS[name, version] for version in range(stored_version, latest)]
