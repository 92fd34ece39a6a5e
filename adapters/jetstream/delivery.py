"""Decoding what a consumer delivered, as bytes, into events: the same events as `wire` gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import unquote

from adapters.jetstream import wire
from adapters.jetstream.raw import moment_of
from adapters.jetstream.tap import TappedMessage
from domain.envelope import StoredEvent
from domain.errors import MalformedEvent, UnknownEventType
from domain.ids import from_token
from domain.upcast import read_event
from projections.source import Delivered, Unreadable

# Headers in the order in which `wire.encode` writes them: one pattern finds what searching for each
# takes twice the time for. What is written in another order, by others, is read the unhurried way.
_HEADERS = re.compile(
    "NATS/1\\.0\r\ncontent-type: application/json\r\nce-specversion: 1\\.0\r\n"
    "ce-id: ([^\r\n ]+)\r\nce-source: [^\r\n]+\r\nce-type: ([^\r\n ]+)\r\nce-subject: [^\r\n]+\r\n"
    "ce-time: ([^\r\n ]+)\r\nce-sequence: ([0-9]+)\r\n"
)
# The optional ones come after those, and most events have none.
_CAUSES = "\nce-c"
_CORRELATION, _CAUSATION, _TRACE = "\nce-correlationid: ", "\nce-causationid: ", "\ntraceparent: "
_SUBJECTS_KEPT = 100_000
# Whose an event is whose subject names nobody: no tenant can have this id.
NOBODY = "-"


class DeliveryDecoder:
    """Decodes deliveries; remembers whose subjects it has seen."""

    def __init__(self) -> None:
        self._owners: dict[bytes, tuple[str, str]] = {}

    def decode(self, message: TappedMessage) -> Delivered:
        """The event in a delivery, or what can be said of one that can't be decoded."""
        # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<ns>.<pending>, or the
        # longer form with domain and account hash in front and a token behind (server ADR-15).
        reply = message.reply
        tail = reply.rsplit(b".", 4 if reply.count(b".") == 8 else 5)
        position, stored_at = int(tail[1]), moment_of(int(tail[3]))
        try:
            headers = message.headers.decode()
            found = _HEADERS.match(headers)
            if found is None:
                return _slowly(message, position, stored_at)
            event_id, type_name, time, version = found.groups()
            correlation_id = causation_id = traceparent = None
            if _CAUSES in headers:
                correlation_id = _optional(headers, _CORRELATION)
                causation_id = _optional(headers, _CAUSATION)
            if _TRACE in headers:
                traceparent = _optional(headers, _TRACE)
            owner = self._owners.get(message.subject) or self._owner(message.subject)
            return StoredEvent(
                position=position,
                version=int(version),
                stored_at=stored_at,
                event_id=event_id,
                tenant_id=owner[0],
                device_id=owner[1],
                occurred_at=datetime.fromisoformat(time),
                event=read_event(type_name, message.data, position),
                correlation_id=correlation_id,
                causation_id=causation_id,
                traceparent=traceparent,
            )
        except (ValueError, MalformedEvent, UnknownEventType):
            # The unhurried way says what is wrong, or finds that nothing is.
            return _slowly(message, position, stored_at)

    def _owner(self, subject: bytes) -> tuple[str, str]:
        prefix, tenant, device, _ = subject.decode().split(".")
        if prefix != wire.PREFIX:
            raise ValueError("not an event's subject")
        if len(self._owners) >= _SUBJECTS_KEPT:
            self._owners.clear()
        owner = self._owners[subject] = (from_token(tenant), from_token(device))
        return owner


def readable_or_not(
    subject: str, headers: Mapping[str, str], body: bytes, position: int, stored_at: datetime
) -> Delivered:
    """As `wire.decode`, but an event that can't be decoded is told of and not raised."""
    try:
        return wire.decode(subject, headers, body, position, stored_at)
    except (MalformedEvent, UnknownEventType) as error:
        tenant, device = NOBODY, subject
        parts = subject.split(".")
        if len(parts) == 4:
            try:
                tenant, device = from_token(parts[1]), from_token(parts[2])
            except ValueError:
                tenant, device = NOBODY, subject
        return Unreadable(
            position=position,
            tenant_id=tenant,
            device_id=device,
            event_id=headers.get("ce-id", ""),
            type_name=headers.get("ce-type", ""),
            reason=str(error),
        )


def _slowly(message: TappedMessage, position: int, stored_at: datetime) -> Delivered:
    return readable_or_not(
        message.subject.decode(errors="replace"),
        _headers_slowly(message.headers),
        message.data,
        position,
        stored_at,
    )


def _optional(block: str, name: str) -> str | None:
    """The value of a header that may be absent, as it was before it was quoted."""
    begin = block.find(name)
    if begin < 0:
        return None
    begin += len(name)
    return unquote(block[begin : block.index("\r\n", begin)])


def _headers_slowly(block: bytes) -> dict[str, str]:
    lines = block.decode(errors="replace").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip(): value.strip() for name, _, value in pairs}
