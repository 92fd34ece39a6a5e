"""Syslog messages: RFC 5424, RFC 3164, and RouterOS's own form; and which of them tell a change.

Invariant: nothing of a message goes any further than its sender's name: it may quote configuration.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

MOST_BYTES: Final = 8192
# From the message's id on: Junos tells in it what happened.
_5424 = re.compile(r"<\d{1,3}>1 \S+ (\S+) \S+ \S+ (.*)\Z", re.DOTALL)
_3164 = re.compile(
    r"(?:<\d{1,3}>)?[A-Z][a-z]{2} [ \d]\d (?:\d{4} )?\d\d:\d\d:\d\d(?:\.\d+)? (\S+) (.*)\Z",
    re.DOTALL,
)
_CHANGES: Final = tuple(
    re.compile(one)
    for one in (
        # RouterOS: "filter rule added by admin", "device changed by winbox-3.41:admin@192.0.2.9"
        r"\b(?:added|removed|changed|moved|enabled|disabled|edited|undone|redone) by \S",
        # IOS, EOS
        r"%?SYS-5-CONFIG(?:_I|_E)?\b",
        # Junos
        r"\bUI_COMMIT(?:_COMPLETED)?\b",
        # FortiOS
        r'\blogdesc="(?:Attribute|Object attribute|Object) configured"|\bcfgpath="',
    )
)
# VyOS: "commit: Successful change to active configuration by user vyos on pts/0". Two searches:
# one pattern for both would look from each of a line's beginnings to its end.
_COMMIT = re.compile(r"\bcommit: ")


class Message(Struct, frozen=True):
    """What a message says of its sender, and whether it tells that a configuration changed."""

    host: str | None
    changed: bool


def parse(raw: bytes) -> Message:
    """A message of any of the forms; one of none is a text without a sender's name."""
    text = raw[:MOST_BYTES].decode("utf-8", "replace").strip("\x00\r\n ")
    for form in (_5424, _3164):
        found = form.match(text)
        if found is not None:
            host = None if found[1] == "-" else found[1]
            return Message(host, _tells_change(found[2]))
    return Message(None, _tells_change(text))


def _tells_change(text: str) -> bool:
    return any(one.search(text) for one in _CHANGES) or any(
        "active config" in line[found.end() :]
        for line in text.split("\n")
        if (found := _COMMIT.search(line)) is not None
    )


class Framer:
    """Messages in a stream (RFC 6587): counted octets, or a line each."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole now. Raises `ValueError` for one that is too long."""
        self._buffer += data
        found: list[bytes] = []
        while self._buffer:
            counted = re.match(rb"(\d{1,5}) ", self._buffer)
            if counted is not None:
                start, length = counted.end(), int(counted[1])
                if length > MOST_BYTES:
                    raise ValueError("a message that is too long")
                if len(self._buffer) < start + length:
                    break
                found.append(bytes(self._buffer[start : start + length]))
                del self._buffer[: start + length]
                continue
            end = self._buffer.find(b"\n")
            if end < 0:
                if len(self._buffer) > MOST_BYTES:
                    raise ValueError("a message that is too long")
                break
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            if line.strip():
                found.append(line)
        return found
