"""Messages of a stream as they are, however they were asked for: position, time, headers, body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import Struct
from nats.aio.msg import Msg
from nats.js.api import RawStreamMsg

_NO_TEXT = re.compile("[\udc80-\udcff]")


class RawMessage(Struct, frozen=True):
    """A stored message. `delivered` counts a consumer's deliveries, `pending` what it has left;
    both are 0 for a message that no consumer delivered."""

    position: int
    stored_at: datetime
    subject: str
    headers: Mapping[str, str]
    body: bytes
    delivered: int = 0
    pending: int = 0


def from_delivery(msg: Msg) -> RawMessage:
    """A message that a consumer delivered."""
    # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<ns>.<pending>, or the
    # longer form with domain and account hash in front (server ADR-15): count from the end.
    tokens = msg.reply.split(".")
    tail = tokens[-5:] if len(tokens) == 9 else tokens[-6:-1]
    _, position, delivered, nanoseconds, pending = tail
    return RawMessage(
        int(position),
        moment_of(int(nanoseconds)),
        msg.subject,
        msg.headers or {},
        msg.data,
        int(delivered),
        int(pending),
    )


def from_direct(msg: Msg) -> RawMessage:
    """A message of a direct get (server ADR-31)."""
    headers = msg.headers or {}
    return RawMessage(
        int(headers["Nats-Sequence"]),
        datetime.fromisoformat(headers["Nats-Time-Stamp"]),
        headers["Nats-Subject"],
        headers,
        msg.data,
    )


def from_leader(raw: RawStreamMsg) -> RawMessage:
    """A message that the stream's leader was asked for."""
    assert raw.subject is not None
    assert raw.seq is not None
    assert raw.time is not None
    return RawMessage(raw.seq, raw.time, raw.subject, raw.headers or {}, raw.data or b"")


def text_of(subject: bytes) -> str:
    """A subject as the server tells it in JSON: each byte that is no text is U+FFFD there. Another
    spelling of it would be taken for another message's."""
    return _NO_TEXT.sub("\ufffd", subject.decode("utf-8", "surrogateescape"))


def moment_of(nanoseconds: int) -> datetime:
    """A stream's time stamp, cut to microseconds."""
    # A float is exact to the microsecond until the year 2106.
    return datetime.fromtimestamp(nanoseconds // 1000 / 1_000_000, UTC)
