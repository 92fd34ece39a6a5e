"""Byte strings of any size on a stream: one message, or parts and a list of them.

    whole = 0x01 … (as given: its first byte is 1)
    part  = 0xB1 ‖ bytes
    list  = 0xA1 ‖ total length (8) ‖ number of parts (4) ‖ their sequences (8 each)

Numbers are big-endian. The list comes last, so what is listed was durable before; a crash before it
leaves parts that nothing refers to. Nothing here is proof against alteration: whoever stores bytes
seals them as a whole, and so sees parts that are exchanged, cut or of another list.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar

from msgspec import Struct
from nats.errors import MaxPayloadError
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import APIError, NotFoundError

from adapters.jetstream.codes import NO_MESSAGE
from adapters.jetstream.connection import REQUEST_TIMEOUT_SECONDS, outage_as_unavailable
from adapters.jetstream.listing import Listed
from adapters.jetstream.publisher import Ack, Publisher
from domain.errors import ContentCorrupt, ContentMissing, Unavailable

WHOLE: Final = 0x01
_LIST: Final = 0xA1
_PART: Final = 0xB1
_LIST_HEAD: Final = struct.Struct(">BQI")
PART_BYTES: Final = 512 * 1024
_HEADROOM: Final = 4096
_AT_ONCE: Final = 8
FULL: Final = (10077, 10047)  # the stream's limit, the account's

T = TypeVar("T")
R = TypeVar("R")


class Parted(Struct, frozen=True):
    """What was read: the bytes, and the message that they were asked for by."""

    body: bytes
    subject: str
    headers: dict[str, str]
    time: datetime
    parts: tuple[int, ...]


class PartedStream:
    """Writes and reads byte strings of up to `limit` bytes on one stream."""

    def __init__(
        self, js: JetStreamContext, stream: str, *, limit: int, part_bytes: int = PART_BYTES
    ) -> None:
        self._js = js
        self._publisher = Publisher(js._nc)
        self._stream = stream
        self._limit = limit
        self._part_bytes = part_bytes

    async def write(
        self,
        subject: str,
        body: bytes,
        *,
        part_subject: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[Ack, tuple[int, ...]]:
        """Store `body`, whose first byte must be 1; returns when it is durable.

        Gives the acknowledgement of the message to refer to, and the sequences of its parts. Raises
        `Unavailable`, also when the stream is full: waiting for room is right.
        """
        if body[:1] != bytes((WHOLE,)):
            raise ValueError("the first byte must be 1")
        size = self._message_bytes(headers)
        if len(body) <= size:
            return await self._publish(subject, body, headers), ()
        view = memoryview(body)

        async def send(start: int) -> int:
            part = b"".join((bytes((_PART,)), view[start : start + size - 1]))
            return (await self._publish(part_subject or subject, part, None)).seq

        parts = tuple(await _each(range(0, len(body), size - 1), send))
        listed = _LIST_HEAD.pack(_LIST, len(body), len(parts))
        listed += struct.pack(f">{len(parts)}Q", *parts)
        return await self._publish(subject, listed, headers), parts

    async def read(self, sequence: int) -> Parted:
        """What was stored under a sequence.

        Raises `ContentMissing`, `ContentCorrupt` (parts missing, cut or not parts), `Unavailable`.
        """
        message = await self._message(sequence)
        if message is None:
            raise ContentMissing(sequence)
        body = message.data or b""
        parts: tuple[int, ...] = ()
        if body[:1] == bytes((_LIST,)):
            total, parts = _parse_list(body, sequence, self._limit)
            body = await self._join(sequence, total, parts)
        elif body[:1] != bytes((WHOLE,)):
            raise ContentCorrupt(sequence, "it is not of a form that is known here")
        assert message.subject is not None
        assert message.time is not None
        return Parted(body, message.subject, message.headers or {}, message.time, parts)

    async def delete(self, sequence: int) -> bool:
        """Remove one message for good; False when it was not there."""
        with outage_as_unavailable("removing a message"):
            try:
                return await self._js.delete_msg(self._stream, sequence)
            except APIError as error:
                # The server answers 500 or 400 for a sequence that it does not hold.
                if await self._message(sequence) is None:
                    return False
                raise error

    async def remove(self, sequence: int) -> None:
        """Remove what was stored under a sequence, the list after its parts. Raises `Unavailable`,
        and `ContentCorrupt` when the list can't be read."""
        message = await self._message(sequence)
        if message is None:
            return
        body = message.data or b""
        if body[:1] == bytes((_LIST,)):
            await _each(_parse_list(body, sequence, self._limit)[1], self.delete)
        await self.delete(sequence)

    async def look(self, sequence: int) -> Listed | None:
        """A message's place; None when there is none. Raises `Unavailable`."""
        message = await self._message(sequence)
        if message is None:
            return None
        assert message.subject is not None
        assert message.time is not None
        return Listed(sequence, message.subject, message.time)

    async def parts(self, sequence: int) -> tuple[int, ...]:
        """The parts in which something was stored; none when it is whole, or not there. Raises
        `Unavailable`, and `ContentCorrupt` when its list can't be read."""
        message = await self._message(sequence)
        body = (message.data if message else None) or b""
        return _parse_list(body, sequence, self._limit)[1] if body[:1] == bytes((_LIST,)) else ()

    async def _join(self, sequence: int, total: int, parts: Sequence[int]) -> bytes:
        room = total

        async def fetch(part: int) -> memoryview:
            nonlocal room
            message = await self._message(part)
            if message is None:
                raise ContentCorrupt(sequence, f"its part {part} is missing")
            data = message.data or b""
            room -= len(data) - 1
            if data[:1] != bytes((_PART,)) or room < 0:
                raise ContentCorrupt(sequence, f"the message {part} is not its part")
            return memoryview(data)[1:]

        pieces = await _each(parts, fetch)
        if room:
            raise ContentCorrupt(sequence, "one of its parts was cut")
        return b"".join(pieces)

    async def _message(self, sequence: int) -> RawStreamMsg | None:
        """A message from any replica, and from the leader when that one does not have it (yet)."""
        if sequence < 1:
            return None
        with outage_as_unavailable("reading stored bytes"):
            try:
                return await self._js.get_msg(self._stream, seq=sequence, direct=True)
            except NotFoundError:
                pass
            try:
                return await self._js.get_msg(self._stream, seq=sequence)
            except NotFoundError as error:
                if error.err_code != NO_MESSAGE:
                    raise
                return None

    async def _publish(self, subject: str, body: bytes, headers: dict[str, str] | None) -> Ack:
        with outage_as_unavailable("storing bytes"):
            try:
                return await self._publisher.publish(
                    subject,
                    body,
                    headers or {},
                    timeout=REQUEST_TIMEOUT_SECONDS,
                    stream=self._stream,
                )
            except APIError as error:
                if error.err_code not in FULL:
                    raise
                raise Unavailable(
                    f"the stream {self._stream}", "it is full and takes nothing; make room"
                ) from error
            except MaxPayloadError as error:
                # The server behind a new connection may allow less than the one before.
                raise Unavailable("NATS", "it allows only smaller messages now") from error

    def _message_bytes(self, headers: dict[str, str] | None) -> int:
        """How much fits into one message: headers count against the server's limit."""
        taken = sum(len(name) + len(value) + 4 for name, value in (headers or {}).items())
        return min(self._part_bytes, self._js._nc.max_payload - _HEADROOM - taken)


def _parse_list(body: bytes, sequence: int, limit: int) -> tuple[int, tuple[int, ...]]:
    try:
        _, total, count = _LIST_HEAD.unpack_from(body)
        parts = struct.unpack(f">{count}Q", body[_LIST_HEAD.size :])
    except struct.error as error:
        raise ContentCorrupt(sequence, "its list of parts can't be read") from error
    if total > limit or not 0 < count <= total:
        raise ContentCorrupt(sequence, "its list of parts goes beyond the limit")
    return total, parts


async def _each(items: Sequence[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
    """`work` for every item, a few at a time; the first failure ends it."""
    results: list[R] = []
    for start in range(0, len(items), _AT_ONCE):
        running = [work(item) for item in items[start : start + _AT_ONCE]]
        for result in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
            results.append(result)
    return results
