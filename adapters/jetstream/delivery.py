"""Decoding what a consumer delivered, as bytes, into events: the same events as `wire` gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from urllib.parse import unquote

from adapters.jetstream import wire
from adapters.jetstream.raw import moment_of, text_of
from adapters.jetstream.tap import TappedMessage, told_by
from domain.envelope import StoredEvent
from domain.errors import MalformedEvent, UnknownEventType
from domain.ids import from_token
from domain.tlog.leaf import subject_bytes, subject_of
from domain.upcast import read_event
from projections.source import Delivered, Unreadable

# Headers in the order in which they are written by us, each at most once: one pattern finds what
# searching for each takes twice the time for. What others write in another order, or twice, is read
# the unhurried way. `.+` and `\S+` cost less than sets of characters.
_HEADERS = re.compile(
    "NATS/1\\.0\r\ncontent-type: application/json\r\nce-specversion: 1\\.0\r\n"
    "ce-id: (\\S+)\r\nce-source: .+\r\nce-type: (\\S+)\r\nce-subject: .+\r\n"
    "ce-time: (\\S+)\r\nce-sequence: (\\d{1,18})\r\nNats-Msg-Id: .+\r\n"
    "(?:Nats-Expected-Last-Subject-Sequence: \\d+\r\n"
    "Nats-Expected-Last-Subject-Sequence-Subject: .+\r\n)?"
    "(?:ce-correlationid: (\\S+)\r\n)?(?:ce-causationid: (\\S+)\r\n)?"
    "(?:traceparent: (\\S+)\r\n)?(?:Nats-Expected-Stream: .+\r\n)?"
    "(?:Nats-Batch-Id: .+\r\nNats-Batch-Sequence: \\d+\r\n(?:Nats-Batch-Commit: 1\r\n)?)?"
    "\r\n\\Z",
    re.ASCII,
)
_SUBJECTS_KEPT = 100_000
# Whose an event is whose subject names nobody: no tenant can have this id.
NOBODY = "-"


class DeliveryDecoder:
    """Decodes deliveries; remembers whose subjects it has seen."""

    def __init__(self) -> None:
        self._owners: dict[bytes | str, tuple[str, str]] = {}

    def decode(self, message: TappedMessage) -> Delivered:
        """The event in a delivery, or what can be said of one that can't be decoded."""
        told = told_by(message.reply)
        subject, headers, body = message.subject, message.headers, message.data
        return self.event(subject, headers, body, int(told[1]), int(told[3]))[0]

    def event(
        self, subject: bytes | str, block: bytes, body: bytes, position: int, stored_ns: int
    ) -> tuple[Delivered, bool]:
        """The same of the parts of a message, its subject as bytes or as `subject_of` reads them;
        and whether its headers are as ours are written: then none of them is there twice."""
        stored_at = moment_of(stored_ns)
        try:
            found = _HEADERS.match(block.decode())
            if found is None:
                return _slowly(subject, block, body, position, stored_at), False
            event_id, type_name, time, version, correlation_id, causation_id, trace = found.groups()
            owner = self._owners.get(subject) or self._owner(subject)
            stored = StoredEvent(
                position=position,
                version=int(version),
                stored_at=stored_at,
                event_id=event_id,
                tenant_id=owner[0],
                device_id=owner[1],
                occurred_at=datetime.fromisoformat(time),
                event=read_event(type_name, body, position),
                correlation_id=correlation_id and unquote(correlation_id),
                causation_id=causation_id and unquote(causation_id),
                traceparent=trace and unquote(trace),
            )
        except (ValueError, MalformedEvent, UnknownEventType):
            # The unhurried way says what is wrong, or finds that nothing is.
            return _slowly(subject, block, body, position, stored_at), False
        return stored, True

    def _owner(self, subject: bytes | str) -> tuple[str, str]:
        text = subject if isinstance(subject, str) else subject_of(subject)
        prefix, tenant, device, _ = text.split(".")
        if prefix != wire.PREFIX:
            raise ValueError("not an event's subject")
        if len(self._owners) >= _SUBJECTS_KEPT:
            self._owners.clear()
        owner = self._owners[subject] = (_id_in(tenant), _id_in(device))
        return owner


# A device has a subject for each type of event.
@lru_cache(_SUBJECTS_KEPT)
def _id_in(token: str) -> str:
    return from_token(token)


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
            stored_at=stored_at,
            tenant_id=tenant,
            device_id=device,
            event_id=headers.get("ce-id", ""),
            type_name=headers.get("ce-type", ""),
            reason=str(error),
        )


def _slowly(
    subject: bytes | str, block: bytes, body: bytes, position: int, stored_at: datetime
) -> Delivered:
    raw = subject_bytes(subject) if isinstance(subject, str) else subject
    return readable_or_not(text_of(raw), _headers_slowly(block), body, position, stored_at)


def _headers_slowly(block: bytes) -> dict[str, str]:
    lines = block.decode(errors="replace").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip(): value.strip() for name, _, value in pairs}
