"""One command at a device, its output whole and bounded in size and time."""

from __future__ import annotations

import asyncio

import asyncssh
from asyncssh import SSHClientConnection

from adapters.ssh.failures import DeviceUnread, NoCommandTaken, silent
from adapters.ssh.target import Limits
from domain.intake import MAX_TEXT

# RouterOS drops the tail of a large export when the window is small, and ends with status 0.
WINDOW = 16 * 1024 * 1024


class _Output(asyncssh.SSHClientSession[bytes]):
    """Keeps what comes. `moved` is when the last byte came, on the loop's clock."""

    def __init__(self, limit: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = 0
        self.moved = self._loop.time()
        self.status: int | None = None
        self.too_large = False
        self.lost = False
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self.moved = self._loop.time()
        if datatype is not None:  # the standard error holds words about the command
            return
        self._size += len(data)
        if self._size > self._limit:
            self.too_large = True
            self._end()
        else:
            self._chunks.append(data)

    def exit_status_received(self, status: int) -> None:
        self.status = status

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc is not None
        self._end()

    def taken(self) -> bytes:
        """All of it."""
        return b"".join(self._chunks)

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def execute(
    connection: SSHClientConnection, command: str, limits: Limits, *, until: float
) -> tuple[bytes, int | None]:
    """The command's standard output and exit status (None: none was told).

    `until` is when all must be over, on the loop's clock. Raises `DeviceUnread`; `NoCommandTaken`
    when only a dialogue may do.
    """
    output = _Output(MAX_TEXT)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(min(until, loop.time() + limits.silence)):
            channel, _ = await connection.create_session(
                lambda: output, command, encoding=None, window=WINDOW
            )
    except TimeoutError as error:
        raise silent(limits.silence) from error
    except asyncssh.ChannelOpenError as error:
        raise NoCommandTaken("command_refused", "it takes no command without a prompt") from error
    except (OSError, asyncssh.Error) as error:
        raise _broken(error) from error
    try:
        while not output.ended.done():
            now = loop.time()
            if now >= until:
                raise DeviceUnread("timeout", f"it was not done within {limits.total:g} s")
            if now >= output.moved + limits.silence:
                raise silent(limits.silence)
            await asyncio.wait(
                [output.ended], timeout=min(until, output.moved + limits.silence) - now
            )
    finally:
        channel.abort()
    if output.too_large:
        raise DeviceUnread("too_large", f"it sends more than {MAX_TEXT} bytes")
    if output.lost:
        raise DeviceUnread("connection_lost", "the connection broke while it was read")
    return output.taken(), output.status


def decoded(raw: bytes) -> str:
    """The bytes as text: UTF-8, or else one character a byte, which loses nothing either."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _broken(error: Exception) -> DeviceUnread:
    return DeviceUnread("connection_lost", f"it takes no command ({type(error).__name__})")
