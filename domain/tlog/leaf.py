"""What of an event is in the log: exactly what the stream stores of it, text by hash.

    leaf = "configtrail/leaf/v1\\n"
           ‖ length (2) ‖ stream name ‖ sequence (8) ‖ store time in ns (8)
           ‖ length (2) ‖ subject
           ‖ SHA-256(header block, as stored) ‖ body length (8) ‖ SHA-256(body, as stored)

Numbers are big-endian. Nothing is parsed or serialised again: a byte that differs is a difference.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256

from msgspec import Struct

from domain.errors import NotVerified

_DOMAIN = b"configtrail/leaf/v1\n"
_NUMBERS = struct.Struct(">QQH")
_LENGTH = struct.Struct(">Q")
_NAME = re.compile(rb"\r\n([^:\r\n]*[^:\r\n\t ])[\t ]*:")


class RawEvent(Struct, frozen=True, gc=False):
    """An event as it is stored. `stored_ns` is in nanoseconds since 1970; `block` the headers from
    `NATS/1.0` to the empty line, with both line ends. A subject need not be UTF-8: bytes that are
    not stand in it as `subject_of` reads them."""

    position: int
    stored_ns: int
    subject: str
    block: bytes
    body: bytes


def subject_of(raw: bytes) -> str:
    """A subject as text, whatever bytes it is of."""
    return raw.decode("utf-8", "surrogateescape")


def subject_bytes(subject: str) -> bytes:
    """The bytes that `subject_of` read."""
    return subject.encode("utf-8", "surrogateescape")


def leaf_data(stream: str, event: RawEvent) -> bytes:
    """The leaf of an event of a stream."""
    return _leaf(_prefix(stream), event)


def _leaf(prefix: bytes, event: RawEvent) -> bytes:
    subject, body = subject_bytes(event.subject), event.body
    return b"".join(
        (
            prefix,
            _NUMBERS.pack(event.position, event.stored_ns, len(subject)),
            subject,
            sha256(event.block).digest(),
            _LENGTH.pack(len(body)),
            sha256(body).digest(),
        )
    )


@lru_cache(maxsize=16)
def _prefix(stream: str) -> bytes:
    name = stream.encode()
    return _DOMAIN + len(name).to_bytes(2, "big") + name


class Leaf(Struct, frozen=True):
    """What a leaf says."""

    stream: str
    position: int
    stored_ns: int
    subject: str
    block_sha256: bytes
    body_bytes: int
    body_sha256: bytes


def parse_leaf(data: bytes) -> Leaf:
    """What a leaf says. Raises `NotVerified` for any other form."""
    try:
        at = len(_DOMAIN) + 2
        name = data[at : at + int.from_bytes(data[at - 2 : at], "big")]
        position, stored_ns, length = _NUMBERS.unpack_from(data, at + len(name))
        rest = data[at + len(name) + _NUMBERS.size :]
        subject, hashes = rest[:length], rest[length:]
        if not data.startswith(_DOMAIN) or len(hashes) != 72:
            raise NotVerified("the leaf", "it is not of the form configtrail/leaf/v1")
        return Leaf(
            name.decode(),
            position,
            stored_ns,
            subject_of(subject),
            hashes[:32],
            int.from_bytes(hashes[32:40], "big"),
            hashes[40:],
        )
    except (struct.error, UnicodeDecodeError) as error:
        raise NotVerified("the leaf", "it is not of the form configtrail/leaf/v1") from error


def hash_of(stream: str, event: RawEvent) -> bytes:
    """The leaf hash of an event of a stream."""
    return hashes_of(stream, (event,))[0]


def hashes_of(stream: str, events: Iterable[RawEvent]) -> list[bytes]:
    """The leaf hashes of events of a stream."""
    prefix = b"\x00" + _prefix(stream)
    return [sha256(_leaf(prefix, one)).digest() for one in events]


def duplicate_header(block: bytes) -> bytes | None:
    """A header name that the block has twice. Of such an event two readers may read two things:
    some clients take the first value, others the last."""
    names: list[bytes] = _NAME.findall(block.lower())
    if len(set(names)) == len(names):
        return None
    return next(name for name in names if names.count(name) > 1)
