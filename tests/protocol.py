"""Messages sent to a NATS server as the bytes of its protocol: also those that no client sends."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit


async def send(url: str, *operations: bytes) -> None:
    """Operations of the protocol, as bytes, by somebody else; the server has taken all when this
    returns, but a stream may store them later."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    await reader.readline()
    told = {"user": address.username, "pass": address.password, "headers": True, "verbose": False}
    writer.write(b"CONNECT " + json.dumps(told).encode() + b"\r\n")
    for one in (*operations, b"PING\r\n"):
        writer.write(one)
    while (line := await reader.readline()) != b"PONG\r\n":
        assert line.startswith((b"INFO", b"PING")), line
    writer.close()
    await writer.wait_closed()


def stored(subject: bytes, headers: bytes, body: bytes = b"{}") -> bytes:
    sizes = b"%d %d" % (len(headers), len(headers) + len(body))
    return b"HPUB " + subject + b" " + sizes + b"\r\n" + headers + body + b"\r\n"
