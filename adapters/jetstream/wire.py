"""Events as NATS messages: CloudEvents 1.0, binary mode (attributes in headers, JSON body).

Source: CloudEvents 1.0.2, NATS protocol binding; header values outside printable ASCII are
percent-encoded as the HTTP binding (3.1.3.2) says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, unquote

from nats.aio.msg import Msg

from adapters.jetstream.headers import number_in
from adapters.jetstream.raw import RawMessage, from_delivery
from domain.envelope import Head, NewEvent, Selection, StoredEvent
from domain.errors import MalformedEvent
from domain.events import encode_event, event_name
from domain.ids import from_token, to_token
from domain.upcast import read_event, type_of

PREFIX = "configtrail"
_CONDITION = (
    "Nats-Expected-Last-Subject-Sequence",
    "Nats-Expected-Last-Subject-Sequence-Subject",
)
# Printable ASCII except space, double quote and percent.
_PLAIN = re.compile(r"[!#$&-~]*\Z")
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


def expected_last(subjects: str, position: int) -> dict[str, str]:
    """Headers of a message that is stored only if `position` is the last under `subjects`."""
    return dict(zip(_CONDITION, (str(position), subjects), strict=True))


def branch_filter(tenant_id: str, device_id: str) -> str:
    """The subjects of one device's events."""
    return f"{_branch(tenant_id, device_id)}.>"


def selected_subjects(where: Selection) -> list[str]:
    """The subjects of the events that a selection takes; empty for all of them."""
    if where == Selection():
        return []
    tenant, device = (
        to_token(one) if one is not None else "*" for one in (where.tenant_id, where.device_id)
    )
    return [f"{PREFIX}.{tenant}.{device}.{name}" for name in where.types or ("*",)]


def subject_of(event: NewEvent) -> str:
    """The subject that an event is published on."""
    return f"{_branch(event.tenant_id, event.device_id)}.{event_name(event.event)}"


def encode(event: NewEvent, after: Head) -> tuple[str, dict[str, str], bytes]:
    """Subject, headers and body of an event that is to follow `after` on its device's branch."""
    headers = {
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": event.event_id,
        "ce-source": f"/{PREFIX}/{_quoted_id(event.tenant_id)}",
        "ce-type": type_of(event.event),
        "ce-subject": _quoted_id(event.device_id),
        "ce-time": event.occurred_at.astimezone(UTC).isoformat(timespec="microseconds"),
        "ce-sequence": str(after.version + 1),
        "Nats-Msg-Id": event.event_id,
        **expected_last(branch_filter(event.tenant_id, event.device_id), after.position),
    }
    for name, value in (
        ("ce-correlationid", event.correlation_id),
        ("ce-causationid", event.causation_id),
        ("traceparent", event.traceparent),
    ):
        if value is not None:
            headers[name] = _quoted(value)
    return subject_of(event), headers, encode_event(event.event)


def encode_next(event: NewEvent, version: int) -> tuple[str, dict[str, str], bytes]:
    """As `encode`, without a condition: for what follows another message of its own batch."""
    subject, headers, body = encode(event, Head(version - 1))
    for name in _CONDITION:
        del headers[name]
    return subject, headers, body


def decode_delivery(msg: Msg) -> StoredEvent:
    """The event in a message that a consumer delivered."""
    return decode_raw(from_delivery(msg))


def decode_raw(raw: RawMessage) -> StoredEvent:
    """The event in a message of the stream."""
    return decode(raw.subject, raw.headers, raw.body, raw.position, raw.stored_at)


def decode(
    subject: str, headers: Mapping[str, str], body: bytes, position: int, stored_at: datetime
) -> StoredEvent:
    """The event in a message; `MalformedEvent` or `UnknownEventType` when it can't be read."""
    parts = subject.split(".")
    if len(parts) != 4 or parts[0] != PREFIX:
        raise MalformedEvent(position, "its subject is not configtrail.<tenant>.<device>.<type>")
    try:
        event = read_event(headers["ce-type"], body, position)
        return StoredEvent(
            position=position,
            version=number_in(headers["ce-sequence"]),
            stored_at=stored_at,
            event_id=headers["ce-id"],
            tenant_id=_id(parts[1]),
            device_id=_id(parts[2]),
            occurred_at=datetime.fromisoformat(headers["ce-time"]),
            event=event,
            correlation_id=_unquoted(headers.get("ce-correlationid")),
            causation_id=_unquoted(headers.get("ce-causationid")),
            traceparent=_unquoted(headers.get("traceparent")),
        )
    except KeyError as error:
        raise MalformedEvent(position, f"the header {error.args[0]} is missing") from error
    except ValueError as error:
        raise MalformedEvent(position, "a header or subject has a malformed value") from error


# Ids come again and again: for a fleet of this size each is spelt once.
_KEPT = 32_768
_id = lru_cache(_KEPT)(from_token)


@lru_cache(_KEPT)
def _branch(tenant_id: str, device_id: str) -> str:
    return f"{PREFIX}.{to_token(tenant_id)}.{to_token(device_id)}"


@lru_cache(_KEPT)
def _quoted_id(value: str) -> str:
    return _quoted(value)


def _quoted(value: str) -> str:
    # Nearly all are ids that need no quoting.
    return value if _PLAIN.match(value) else quote(value, safe=_SAFE)


def _unquoted(value: str | None) -> str | None:
    return None if value is None else unquote(value)
