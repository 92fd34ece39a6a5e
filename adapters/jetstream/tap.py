"""A tap on the connection: messages of chosen subscriptions, as bytes, as fast as they come.

The client's own way (two patterns a message, headers into a dictionary, an object, a queue and a
coroutine) costs three times what decoding an event does. The tap stands in the place of the
client's parser: it takes whole messages of tapped subscriptions out of what was read, and hands
everything else on, in order and unchanged. Connecting, reconnecting, pings and subscriptions stay
the client's.

But for one thing: a message of which the client could make no text, or whose words it would part
where the server does not, would end its reading for good, and with it all that the connection is
for. Others may store such ones. It gets them past its own patterns, with other characters in the
place of bytes that are no text, so that whoever reads them says what is wrong with them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Protocol

from msgspec import Struct
from nats.aio.client import Client
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from adapters.jetstream.headers import header_lines
from adapters.jetstream.raw import text_of

_CRLF = b"\r\n"
# How the headers of a message begin, and those that tell a status.
_PLAIN = b"NATS/1.0\r\n"
_STATUS = b"NATS/1.0 "
# What parts words for the client, and nothing for the server, which parts them by one blank.
_BLANK = re.compile(rb"[\t\n\v\f\r]")
# What stands in the place of a byte that can't be told.
_UNTOLD = "\ufffd".encode()


class TappedMessage(Struct, frozen=True, gc=False):
    """A message as it came. `reply` is where an acknowledgement would go."""

    subject: bytes
    reply: bytes
    headers: bytes
    data: bytes


def told_by(reply: bytes) -> list[bytes]:
    """What the reply of a delivery tells: behind what is before the last dots, the position in the
    stream (1), the time of storing in nanoseconds (3), how many messages are to follow (4)."""
    # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<ns>.<pending>, or the
    # longer form with domain and account hash in front and a token behind (server ADR-15).
    return reply.rsplit(b".", 4 if reply.count(b".") == 8 else 5)


class Taker(Protocol):
    """Who takes the messages of a tapped subscription."""

    def take(self, message: TappedMessage) -> None:
        """One message; it must not fail."""
        ...

    def taken(self) -> None:
        """That was all for now."""
        ...


class Tap(Parser):
    """The parser of one client. Messages without a reply (the server's own) are not tapped."""

    def __init__(self, client: Client) -> None:
        self._takers: dict[bytes, Taker] = {}
        self._rest = b""
        self._connection = 0
        super().__init__(client)

    @classmethod
    def install(cls, client: Client) -> None:
        """Give the client a tap. It must not be connected yet."""
        if not isinstance(getattr(client, "_ps", None), Parser) or client.is_connected:
            raise RuntimeError("this client can't be tapped")
        client._ps = cls(client)
        client._parse_header_lines = header_lines  # type: ignore[method-assign]

    @staticmethod
    def of(client: Client) -> Tap | None:
        """The client's tap, if it has one."""
        parser = client._ps
        return parser if isinstance(parser, Tap) else None

    def open(self, subscription: int, taker: Taker) -> None:
        """From now on the taker gets the messages of the subscription."""
        self._takers[b"%d" % subscription] = taker

    def close(self, subscription: int) -> None:
        """The client gets them again."""
        self._takers.pop(b"%d" % subscription, None)

    def reset(self) -> None:
        """Forget what was read in part: the connection is another one."""
        self._rest = b""
        self._connection += 1
        super().reset()

    async def parse(self, data: bytes = b"") -> None:
        """Take what is tapped out of what was read; the rest goes the client's way.

        Also without taps it goes on by whole operations, so that one can be opened at any time.
        """
        connection = self._connection
        buffer = self._rest + data
        takers = self._takers
        touched: set[Taker] = set()
        # Whole operations from `begin` to `place` are the client's.
        begin = place = 0
        try:
            while (line_end := buffer.find(_CRLF, place)) >= 0:
                words = buffer[place:line_end].split(b" ")
                end = line_end + 2
                kind = words[0]
                if kind == b"HMSG":
                    with_reply = 6
                elif kind == b"MSG":
                    with_reply = 5
                else:
                    place = end
                    continue
                body, end = end, end + _size(words[-1]) + 2
                if end > len(buffer):
                    break
                taker = takers.get(words[2])
                if taker is None or len(words) != with_reply:
                    block = buffer[body : body + _size(words[-2])] if with_reply == 6 else b""
                    if _is_text(buffer[place:line_end], block):
                        place = end
                        continue
                    if begin < place:
                        await super().parse(buffer[begin:place])
                    begin = place = end
                    await self._hand_over(words, block, buffer[body + len(block) : end - 2])
                    continue
                if begin < place:
                    await super().parse(buffer[begin:place])
                headers_end = body + _size(words[4]) if with_reply == 6 else body
                taker.take(
                    TappedMessage(
                        words[1],
                        words[3],
                        buffer[body:headers_end],
                        buffer[headers_end : end - 2],
                    )
                )
                touched.add(taker)
                begin = place = end
            if begin < place:
                await super().parse(buffer[begin:place])
        finally:
            if connection == self._connection:
                self._rest = buffer[place:]
            for one in touched:
                one.taken()

    async def _hand_over(self, words: list[bytes], block: bytes, payload: bytes) -> None:
        """Give the client a message as its parser would, if that could read its first line."""
        _, subject, subscription, *more = words
        reply = more[0] if len(words) == (6 if words[0] == b"HMSG" else 5) else b""
        await self.nc._process_msg(
            _size(subscription),
            text_of(subject).encode(),
            # Somebody may answer, and the client refuses to send to a subject with a blank.
            text_of(_BLANK.sub(_UNTOLD, reply)).encode(),
            payload,
            _as_text(block) or None,
        )


def _is_text(line: bytes, block: bytes) -> bool:
    """Whether the client reads a message's first line as it is meant, and can make text of it and
    of the headers. Of those after a plain first line it can, whatever is in them."""
    if not line.isascii() or _BLANK.search(line):
        return False
    return not block or block.startswith(_PLAIN) or (block.startswith(_STATUS) and block.isascii())


def _as_text(block: bytes) -> bytes:
    """Headers as text, which begin as headers do."""
    if block.startswith(_STATUS):
        # The client cuts these at counted bytes, which must not be amid a character.
        return block.decode("ascii", "replace").encode("ascii", "replace")
    return block if not block or block.startswith(_PLAIN) else _PLAIN + _CRLF


# Messages are of few sizes, and `int` takes a fifth of what a message costs here.
@lru_cache(16_384)
def _size(word: bytes) -> int:
    if not word.isdigit():
        raise ProtocolError("a message without its size")
    return int(word)
