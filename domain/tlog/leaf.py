"""What of an event is in the log: exactly what the stream stores of it, text by hash.

    leaf = "configtrail/leaf/v1\\n"
           ‖ length (2) ‖ stream name ‖ sequence (8) ‖ store time in ns (8)
           ‖ length (2) ‖ subject
           ‖ SHA-256(header block, as stored) ‖ body length (8) ‖ SHA-256(body, as stored)

Numbers are big-endian. Nothing is parsed or serialised again: a byte that differs is a difference.
"""

from __future__ import annotations

import struct
from hashlib import sha256

from msgspec import Struct

_DOMAIN = b"configtrail/leaf/v1\n"
_NUMBERS = struct.Struct(">QQH")


class RawEvent(Struct, frozen=True):
    """An event as it is stored. `stored_ns` is in nanoseconds since 1970; `block` the headers from
    `NATS/1.0` to the empty line, with both line ends."""

    position: int
    stored_ns: int
    subject: str
    block: bytes
    body: bytes


def leaf_data(stream: str, event: RawEvent) -> bytes:
    """The leaf of an event of a stream."""
    name, subject = stream.encode(), event.subject.encode()
    return b"".join(
        (
            _DOMAIN,
            len(name).to_bytes(2, "big"),
            name,
            _NUMBERS.pack(event.position, event.stored_ns, len(subject)),
            subject,
            sha256(event.block).digest(),
            len(event.body).to_bytes(8, "big"),
            sha256(event.body).digest(),
        )
    )


def hash_of(stream: str, event: RawEvent) -> bytes:
    """The leaf hash of an event of a stream."""
    return sha256(b"\x00" + leaf_data(stream, event)).digest()


def duplicate_header(block: bytes) -> bytes | None:
    """A header name that the block has twice. Of such an event two readers may read two things:
    some clients take the first value, others the last."""
    seen: set[bytes] = set()
    for line in block.split(b"\r\n")[1:]:
        name = line.partition(b":")[0].strip().lower()
        if name in seen:
            return name
        if name:
            seen.add(name)
    return None
