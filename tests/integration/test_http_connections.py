"""What comes before a request is one: bounded in size and in time, whoever sends it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import chain

import pytest

from adapters.http import connections
from adapters.http.connections import HEAD_MAX
from tests.serving import HOME, TEXTS, Api

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
BEGIN = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@asynccontextmanager
async def connected(api: Api) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", int(api.address.rpartition(":")[2]), limit=1 << 20
    )
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, str]:
    """The status of an answer, and its body of a length that it tells."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    [length] = [
        int(line.split(":")[1])
        for line in head.lower().splitlines()
        if line.startswith("content-length")
    ]
    return int(head.split()[1]), (await reader.readexactly(length)).decode()


async def sent(writer: asyncio.StreamWriter, pieces: Iterable[bytes]) -> None:
    """Send until the other side has enough."""
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        return


def without_end(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(b"X-More: %s\r\n" % (b"a" * 1000), id="headers"),
        pytest.param(b"a" * 1000, id="one header"),
        pytest.param(b"X:\r\n" * 200, id="empty headers"),
    ],
)
async def test_a_head_without_an_end_is_cut_off(api: Api, more: bytes) -> None:
    async with connected(api) as (reader, writer):
        await sent(writer, chain([BEGIN, b"X: "], without_end(more)))
        try:
            status, body = await answer(reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # it hung up before the answer could be read
        assert (status, json.loads(body)["code"]) == (431, "head_too_large")


async def test_headers_that_are_too_large_are_refused(api: Api) -> None:
    for head in (
        b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(100)),
        b"X: " + b"a" * 100_000 + b"\r\n",
    ):
        async with connected(api) as (reader, writer):
            writer.write(BEGIN + head + b"\r\n")
            status, body = await answer(reader)
            assert (status, json.loads(body)["code"]) == (431, "head_too_large")
            assert await reader.read() == b""


async def test_an_address_that_is_too_long_is_refused(api: Api) -> None:
    async with connected(api) as (reader, writer):
        await sent(writer, [b"GET /" + b"a" * (2 * HEAD_MAX) + b" HTTP/1.1\r\nHost: x\r\n\r\n"])
        assert (await answer(reader))[0] == 431


async def test_a_client_that_knows_no_chunks_gets_none(api: Api) -> None:
    """As old programs, and proxies that speak HTTP/1.0 to what is behind them."""
    log = "/api/tenants/acme/audit-logs"
    lines = (await api.http.get(log, headers={"Accept": "application/x-ndjson"})).content
    for path, accept, body in (
        (log, "application/x-ndjson", lines),
        ("/healthz", "*/*", b'{"status":"ok"}'),
    ):
        for method, expected in ((b"GET", body), (b"HEAD", b"")):
            async with connected(api) as (reader, writer):
                head = f"{path} HTTP/1.0\r\nHost: localhost\r\nAccept: {accept}\r\n"
                key = api.http.headers["Authorization"]
                writer.write(method + f" {head}Authorization: {key}\r\n\r\n".encode())
                told, _, answered = (await reader.read()).partition(b"\r\n\r\n")
                assert b" 200 " in told
                assert b"chunked" not in told.lower()
                assert answered == expected
    async with connected(api) as (reader, writer):
        head = "GET /api/tenants/acme/events?after=0 HTTP/1.0\r\nHost: localhost\r\n"
        writer.write(f"{head}Authorization: {api.http.headers['Authorization']}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readline() == b"retry: 2000\n"


async def test_of_two_names_neither_is_answered_to(api: Api) -> None:
    for more in (b"Host: localhost\r\n", b"Host: evil.example\r\n"):
        async with connected(api) as (reader, writer):
            writer.write(BEGIN + more + b"\r\n")
            status, body = await answer(reader)
            assert (status, json.loads(body)["code"]) == (421, "unknown_host")


async def test_what_is_no_request_is_told_so_in_the_form_of_all_errors(api: Api) -> None:
    for nonsense in (b"nonsense\r\n\r\n", b"FOO / HTTP/1.1\r\n\r\n", b"GET /\xe9 HTTP/1.1\r\n\r\n"):
        async with connected(api) as (reader, writer):
            writer.write(nonsense)
            status, body = await answer(reader)
            assert (status, json.loads(body)["code"]) == (400, "malformed")


async def test_nothing_is_taken_without_end_behind_a_body(api: Api) -> None:
    key = api.http.headers["Authorization"].encode()
    head = b"PUT %s/r1/config HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\n" % (
        HOME.encode(),
        key,
    )
    text = TEXTS[0].encode()
    chunk = b"%x\r\n%s\r\n0\r\n" % (len(text), text)
    async with connected(api) as (reader, writer):
        writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
        await sent(writer, chain([b"X: "], without_end(b"a" * 1000)))
        # The connection ends, as no request that could be answered.
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)


async def test_a_head_that_does_not_come_in_time_ends_the_connection(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    for begun in (b"", BEGIN):
        async with connected(api) as (reader, writer):
            writer.write(begun)
            assert await reader.read() == b""
    async with connected(api) as (reader, writer):
        writer.write(BEGIN + b"\r\n")
        assert (await answer(reader))[0] == 200
        writer.write(BEGIN)  # the next one on the same connection
        assert await reader.read() == b""


async def test_what_is_sent_ahead_waits_for_the_answer_before_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
    key = api.http.headers["Authorization"].encode()
    slow = (
        b"POST %s/r1/config-snapshot/trigger HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\n"
        % (
            HOME.encode(),
            key,
        )
    )
    async with connected(api) as (reader, writer):
        writer.write(slow + b"Content-Length: 0\r\n\r\n" + BEGIN + b"\r\n" + BEGIN)
        assert (await answer(reader))[0] == 502
        assert (await answer(reader))[0] == 200
