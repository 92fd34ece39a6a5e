"""Connections of the server: what comes before a body is bounded, in size and in time.

The server beneath takes as many headers as are sent, for as long as that takes, and this is before
anybody is asked who they are: whoever reaches the port could fill the memory, or hold all files
that the process may open.
"""

from __future__ import annotations

import asyncio
import json
from asyncio.events import TimerHandle
from typing import Any, Final

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from adapters.http.errors import PROBLEM, problem

# An address of an id and a cursor, a token of 16 KiB, and what browsers and proxies add.
HEAD_MAX: Final = 64 * 1024
HEAD_SECONDS: Final = 10.0


class HeadTooLarge(Exception):
    """The address and the headers have more bytes than any request needs."""


class _UntilItsEnd(RequestResponseCycle):
    """One request and its answer to a client of HTTP/1.0, which knows no chunks and would take
    their sizes for the text: a body without a length ends with the connection."""

    async def send(self, message: Message) -> None:  # type: ignore[override]
        """See `RequestResponseCycle`."""
        if message["type"] == "http.response.start":
            named = {name.lower() for name, _ in message.get("headers", ())}
            self._is_open = b"content-length" not in named
            if self._is_open:
                self.chunked_encoding = False
        elif self._is_open:
            # What was promised is what comes.
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)  # type: ignore[arg-type]


class Connection(HttpToolsProtocol):
    """A connection that ends when a request's head is too large, or does not come in time.

    Invariant: while a head is awaited or under way, `_due` is when it must be there; `_unread` is
    what came since a request or a piece of a body began. The parser tells a header only when it is
    whole, and so it does with what may come behind a body.
    """

    _due: TimerHandle | None = None
    _unread = 0
    _begun = False
    _too_large = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._begun = False
        super().data_received(data)
        if self._begun or self.transport.is_closing():
            return
        self._unread += len(data)
        if self._unread <= HEAD_MAX:
            return
        if self._due is None:
            self.transport.close()
        else:
            self._too_large = True
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """A request begins; the one before it may still be answered."""
        super().on_message_begin()
        self._begun, self._unread = True, 0
        if self._due is None:
            self._await_head()

    def on_body(self, body: bytes) -> None:
        """A piece of a body; whoever reads it bounds it."""
        self._begun, self._unread = True, 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """The head is there: the request may be answered."""
        self._head_is_there()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > HEAD_MAX:
            self._too_large = True
            raise HeadTooLarge
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            # The server beneath makes it, and starts it after this.
            self.cycle.__class__ = _UntilItsEnd

    def send_400_response(self, msg: str) -> None:
        """What is no request gets its answer in the form of all errors."""
        if self._too_large:
            told = f"an address and its headers must be at most {HEAD_MAX} bytes"
            self._refuse(431, "head_too_large", told)
        else:
            self._refuse(400, "malformed", "this is no HTTP request")

    def _refuse(self, status: int, code: str, told: str) -> None:
        body = json.dumps(problem(status, code, told)).encode()
        head = (
            f"content-type: {PROBLEM}\r\ncontent-length: {len(body)}\r\n"
            "cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"
        )
        self.transport.write(STATUS_LINE[status] + head.encode() + b"\r\n" + body)
        self.transport.close()

    def _await_head(self) -> None:
        self._due = self.loop.call_later(HEAD_SECONDS, self._overdue)

    def _head_is_there(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _overdue(self) -> None:
        answering: Any = self.cycle
        if answering is not None and not answering.response_complete:
            # Sent ahead of its time: it is not read on before the one before it is answered.
            self._await_head()
        else:
            self.transport.close()
