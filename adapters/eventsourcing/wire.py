"""The library's stored events as NATS messages: CloudEvents in binary mode, like Configtrail's own.

`ce-type` is the topic, `ce-subject` the originator, `ce-sequence` its version; the body is the
state as the application's mapper made it, which may be encrypted or compressed.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from eventsourcing.persistence import Notification, StoredEvent

from adapters.jetstream.raw import RawMessage
from domain.errors import MalformedEvent
from domain.ids import from_token, to_token

PREFIX = "eventsourcing"


class Subjects:
    """The stream and the subjects of one sequence of events of one application.

    One stream for each application and purpose, so that positions are contiguous, and one subject
    for each originator and topic, so that any consumer can filter.
    """

    def __init__(self, application: str, purpose: str) -> None:
        self._parts = (to_token(application), to_token(purpose))
        self.stream = "_".join((PREFIX.upper(), *self._parts))
        self.all = ".".join((PREFIX, *self._parts, ">"))
        self._source = "/".join(("", PREFIX, *self._parts))

    def branch(self, originator_id: UUID | str) -> str:
        """The subjects of one originator."""
        return ".".join((PREFIX, *self._parts, to_token(str(originator_id)), ">"))

    def of_topics(self, topics: Sequence[str]) -> list[str]:
        """The subjects of some topics; empty for all."""
        return [".".join((PREFIX, *self._parts, "*", to_token(topic))) for topic in topics]

    def encode(self, event: StoredEvent, event_id: str) -> tuple[str, dict[str, str], bytes]:
        """Subject, headers and body."""
        originator, topic = to_token(str(event.originator_id)), to_token(event.topic)
        headers = {
            "content-type": "application/octet-stream",
            "ce-specversion": "1.0",
            "ce-id": event_id,
            "ce-source": self._source,
            "ce-type": topic,
            "ce-subject": originator,
            "ce-sequence": str(event.originator_version),
            "ce-originatortype": "uuid" if isinstance(event.originator_id, UUID) else "str",
            "Nats-Msg-Id": event_id,
        }
        return ".".join((PREFIX, *self._parts, originator, topic)), headers, event.state


def version_of(raw: RawMessage) -> int:
    """The originator's version in a message."""
    return int(_header(raw, "ce-sequence"))


def event_of(raw: RawMessage) -> StoredEvent:
    """The event in a message; raises `MalformedEvent`."""
    originator_id, version, topic, state = _parts(raw)
    return StoredEvent(originator_id, version, topic, state)


def notification_of(raw: RawMessage) -> Notification:
    """The notification in a message; raises `MalformedEvent`."""
    originator_id, version, topic, state = _parts(raw)
    return Notification(originator_id, version, topic, state, raw.position)


def _parts(raw: RawMessage) -> tuple[UUID | str, int, str, bytes]:
    try:
        originator = from_token(_header(raw, "ce-subject"))
        known: UUID | str = originator
        if _header(raw, "ce-originatortype") == "uuid":
            known = UUID(originator)
        return known, version_of(raw), from_token(_header(raw, "ce-type")), raw.body
    except ValueError as error:
        raise MalformedEvent(raw.position, "a header has a malformed value") from error


def _header(raw: RawMessage, name: str) -> str:
    try:
        return raw.headers[name]
    except KeyError as error:
        raise MalformedEvent(raw.position, f"the header {name} is missing") from error
