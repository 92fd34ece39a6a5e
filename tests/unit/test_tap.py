"""The tap takes whole messages of its subscriptions, however they are cut, and nothing else."""

from __future__ import annotations

import asyncio
import itertools
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.errors import ProtocolError

from adapters.jetstream.headers import header_lines
from adapters.jetstream.raw import text_of
from adapters.jetstream.tap import Tap, TappedMessage

HEADERS = b"NATS/1.0\r\nce-id: 1\r\n\r\n"


class Passed(Client):
    """A client that notes what its parser hands to it."""

    def __init__(self) -> None:
        super().__init__()
        self.passed: list[object] = []

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        self.passed.append((sid, subject, reply, headers, data))

    async def _process_ping(self) -> None:
        self.passed.append("ping")

    async def _process_pong(self) -> None:
        self.passed.append("pong")


class Kept:
    """A taker that keeps all."""

    def __init__(self) -> None:
        self.messages: list[TappedMessage] = []
        self.told = 0

    def take(self, message: TappedMessage) -> None:
        self.messages.append(message)

    def taken(self) -> None:
        self.told += 1


def hmsg(sid: int, data: bytes, *, reply: bytes = b"$JS.ACK.x") -> bytes:
    sizes = b"%d %d" % (len(HEADERS), len(HEADERS) + len(data))
    words = [b"HMSG", b"a.b", b"%d" % sid, *([reply] if reply else []), sizes]
    return b" ".join(words) + b"\r\n" + HEADERS + data + b"\r\n"


def msg(sid: int, data: bytes, *, reply: bytes = b"") -> bytes:
    return b"MSG a.c %d %b%d\r\n" % (sid, reply, len(data)) + data + b"\r\n"


async def parsed(wire: bytes, cuts: list[int]) -> tuple[Kept, Passed]:
    client, taker = Passed(), Kept()
    Tap.install(client)
    tap = Tap.of(client)
    assert tap is not None
    tap.open(7, taker)
    marks = sorted({0, *(cut for cut in cuts if cut < len(wire)), len(wire)})
    for begin, end in itertools.pairwise(marks):
        await tap.parse(wire[begin:end])
    return taker, client


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 900), max_size=12))
def test_every_message_arrives_once_on_its_own_way_however_it_is_cut(
    seed: int, cuts: list[int]
) -> None:
    choice = random.Random(seed)
    wire, taken = b"", []
    passed: list[object] = []
    for _ in range(choice.randrange(1, 12)):
        data = choice.choice((b"", b"PING\r\n", b"x" * 40, b"\r\n\r\nMSG a 7 2\r\n"))
        kind = choice.randrange(7)
        if kind == 0:
            wire += b"PING\r\n"
            passed.append("ping")
        elif kind == 1:
            wire += msg(7, data)
            passed.append((7, b"a.c", b"", None, data))
        elif kind == 2:
            wire += hmsg(8, data)
            passed.append((8, b"a.b", b"$JS.ACK.x", HEADERS, data))
        elif kind == 3:  # the server's own, such as a heartbeat
            wire += hmsg(7, data, reply=b"")
            passed.append((7, b"a.b", b"", HEADERS, data))
        elif kind == 4:
            wire += msg(7, data, reply=b"$JS.ACK.x ")
            taken.append(TappedMessage(b"a.c", b"$JS.ACK.x", b"", data))
        else:
            wire += hmsg(7, data)
            taken.append(TappedMessage(b"a.b", b"$JS.ACK.x", HEADERS, data))
    kept, client = asyncio.run(parsed(wire, cuts))
    assert kept.messages == taken
    assert client.passed == passed
    assert bool(kept.told) == bool(taken)


async def test_a_closed_tap_takes_nothing_more_and_a_new_connection_begins_clean() -> None:
    client, taker = Passed(), Kept()
    Tap.install(client)
    tap = Tap.of(client)
    assert tap is not None
    tap.open(7, taker)
    await tap.parse(hmsg(7, b"1") + hmsg(7, b"2")[:20])
    tap.reset()
    await tap.parse(hmsg(7, b"3"))
    tap.close(7)
    await tap.parse(hmsg(7, b"4"))
    assert [one.data for one in taker.messages] == [b"1", b"3"]
    assert client.passed == [(7, b"a.b", b"$JS.ACK.x", HEADERS, b"4")]


# The server ends a word at a blank or tab, and a line at a line feed.
NO_WORD = re.compile(rb"[ \t\n]")
WORD = st.binary(min_size=1, max_size=12).map(lambda raw: NO_WORD.sub(b"\x0b", raw))
BLOCK = st.builds(
    lambda first, rest: first + rest,
    st.sampled_from(
        (HEADERS, b"NATS/1.0", b"NATS/1.0\r\n", b"NATS/1.0 503 ", b"NATS/1.0 \xff", b"")
    ),
    st.binary(max_size=12),
)


@given(WORD, WORD, BLOCK, st.binary(max_size=12))
async def test_the_client_can_make_text_of_what_is_handed_on_and_goes_on_after_it(
    subject: bytes, reply: bytes, block: bytes, data: bytes
) -> None:
    client = Passed()
    Tap.install(client)
    tap = Tap.of(client)
    assert tap is not None
    sizes = b"%d %d" % (len(block), len(block) + len(data))
    line = b" ".join((b"HMSG", subject, b"8", reply, sizes))
    await tap.parse(line + b"\r\n" + block + data + b"\r\n" + hmsg(8, b"next"))
    (first, second) = client.passed
    assert isinstance(first, tuple)
    sid, told_subject, told_reply, headers, told = first
    assert (sid, told) == (8, data)
    assert told_subject.decode() == text_of(subject)
    answered = re.sub(r"[\v\f\r]", "\ufffd", text_of(reply))
    assert told_reply.decode() == answered
    await Client()._process_headers(headers)
    assert second == (8, b"a.b", b"$JS.ACK.x", HEADERS, b"next")


async def test_what_is_no_protocol_is_refused() -> None:
    client, taker = Passed(), Kept()
    Tap.install(client)
    tap = Tap.of(client)
    assert tap is not None
    tap.open(7, taker)
    with pytest.raises(ProtocolError):
        await tap.parse(b"HMSG a.b 7 r 12 many\r\n")
    tap.reset()
    with pytest.raises(ProtocolError):
        await tap.parse(b"WHAT is this\r\n")


LINES = st.lists(
    st.binary(max_size=8)
    | st.builds(
        lambda name, value: name + b": " + value,
        st.sampled_from((b"ce-id", b" Nats-TTL ", b"a b", b"", b"\xffx", b"Name\t")),
        st.binary(max_size=8),
    ),
    max_size=6,
)


@given(LINES)
def test_headers_are_read_as_the_client_reads_them(lines: list[bytes]) -> None:
    block = b"\r\n".join([*lines, b""])
    assert header_lines(block) == Client._parse_header_lines(block)
