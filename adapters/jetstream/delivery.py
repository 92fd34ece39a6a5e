"""Decoding what a consumer delivered, as bytes, into events: the same events as `wire` gives."""

from __future__ import annotations

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

# A header as its publisher wrote it: in a line of its own, behind the line `NATS/1.0`.
_ID, _TYPE, _TIME, _SEQUENCE, _CORRELATION, _CAUSATION, _TRACE = (
    b"\r\n%b: " % name
    for name in (
        b"ce-id",
        b"ce-type",
        b"ce-time",
        b"ce-sequence",
        b"ce-correlationid",
        b"ce-causationid",
        b"traceparent",
    )
)
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
        tokens = message.reply.split(b".")
        place = 5 if len(tokens) == 9 else 7
        position, stored_at = int(tokens[place]), moment_of(int(tokens[place + 2]))
        try:
            headers = message.headers
            owner = self._owners.get(message.subject) or self._owner(message.subject)
            return StoredEvent(
                position=position,
                version=int(_needed(headers, _SEQUENCE)),
                stored_at=stored_at,
                event_id=_needed(headers, _ID),
                tenant_id=owner[0],
                device_id=owner[1],
                occurred_at=datetime.fromisoformat(_needed(headers, _TIME)),
                event=read_event(_needed(headers, _TYPE), message.data, position),
                correlation_id=_optional(headers, _CORRELATION),
                causation_id=_optional(headers, _CAUSATION),
                traceparent=_optional(headers, _TRACE),
            )
        except (ValueError, MalformedEvent, UnknownEventType):
            # The unhurried way says what is wrong, or finds that nothing is.
            return readable_or_not(
                message.subject.decode(errors="replace"),
                _headers_slowly(message.headers),
                message.data,
                position,
                stored_at,
            )

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


def _needed(block: bytes, name: bytes) -> str:
    """The value of a header; `ValueError` when it is not there."""
    begin = block.index(name) + len(name)
    return block[begin : block.index(b"\r\n", begin)].decode()


def _optional(block: bytes, name: bytes) -> str | None:
    """The value of a header that may be absent, as it was before it was quoted."""
    return unquote(_needed(block, name)) if name in block else None


def _headers_slowly(block: bytes) -> dict[str, str]:
    lines = block.decode(errors="replace").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip(): value.strip() for name, _, value in pairs}
