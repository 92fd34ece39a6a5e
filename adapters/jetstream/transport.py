"""The connection's bytes: that it is lost is one and the same error in every event loop.

What is sent on a connection that broke just now is refused by uvloop with a `RuntimeError`, and
dropped by asyncio's own loop until the next wait for room, which raises `ConnectionResetError`.
The client knows the second only. At the first its sending ends, and so does its connecting again,
for good and without a word; and whoever publishes gets an error that is no outage.

And who connects again lets go of the connection before, at once: what a server that stands still
did not take would be waited for as long as that stands, whatever other servers there are.
"""

from __future__ import annotations

import ssl
from typing import Final
from urllib.parse import ParseResult

from nats.aio.client import Client
from nats.aio.transport import TcpTransport

# What uvloop reads at once. With the client's 32 kB the loop's turns were a sixth of what reading
# a stream took.
_AT_ONCE: Final = 256 * 1024


class Transport(TcpTransport):
    """The client's own way over TCP and TLS, but for what it sends on a lost connection."""

    @classmethod
    def install(cls, client: Client) -> None:
        """Have the client connect by this. It must not be connected yet."""
        if client._transport is not None:
            raise RuntimeError("this client has a connection already")
        client._transport = cls(client)

    def __init__(self, client: Client) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._client = client

    def __bool__(self) -> bool:
        """Always: the client would put its own in the place of one that is not connected yet."""
        return True

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """See the client's, which leaves the connection of an attempt that failed open."""
        self._let_go()
        await super().connect(uri, _AT_ONCE, connect_timeout)

    async def connect_tls(
        self,
        uri: str | ParseResult,
        ssl_context: ssl.SSLContext,
        buffer_size: int,
        connect_timeout: int,
    ) -> None:
        """See the client's, which would wait for ever for the end of a connection whose handshake
        failed: TLS has taken it over, and tells of its end nobody."""
        try:
            await super().connect_tls(uri, ssl_context, buffer_size, connect_timeout)
        except BaseException:
            self._let_go()
            raise

    async def read(self, buffer_size: int) -> bytes:
        """What came, up to more than the client asks for."""
        return bytes(await super().read(_AT_ONCE))

    def write(self, payload: bytes) -> None:
        """Send. On a lost connection nothing: the client waits for room next, or has a ping be lost
        whose answer it misses."""
        if not self._is_lost():
            super().write(payload)  # type: ignore[no-untyped-call]

    def writelines(self, payload: list[bytes]) -> None:
        """Send what is pending. Raises `ConnectionResetError` when the connection is lost, so that
        it stays pending."""
        if not self._is_lost():
            super().writelines(payload)  # type: ignore[no-untyped-call]
        else:
            self._tell()

    async def drain(self) -> None:
        """Wait for room. Raises `ConnectionResetError` when the connection is lost."""
        if not self._is_lost():
            await super().drain()  # type: ignore[no-untyped-call]
        if self._is_lost():
            self._tell()

    def close(self) -> None:
        """Close, after what is still to be sent only where that is for good."""
        if self._client.is_closed:
            super().close()  # type: ignore[no-untyped-call]
        elif self._io_writer is not None:
            self._io_writer.transport.abort()

    def _let_go(self) -> None:
        if self._io_writer is not None:
            self._io_writer.transport.abort()
        self._io_reader = self._io_writer = None
        self._bare_io_reader = self._bare_io_writer = None

    def _is_lost(self) -> bool:
        return self._io_writer is None or self._io_writer.transport.is_closing()

    def _tell(self) -> None:
        # Who closes a lost connection leaves what is pending; an error would stop it halfway.
        if not self._client.is_closed:
            raise ConnectionResetError("the connection is lost")
