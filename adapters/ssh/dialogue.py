"""A dialogue with a device that only talks at a prompt.

The prompt is learnt from the first line that looks like one; from then on exactly that line, and
nothing else that may look like a prompt, ends an answer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Self

import asyncssh
from asyncssh import SSHClientConnection

from adapters.ssh.executing import WINDOW
from adapters.ssh.failures import DeviceUnread, silent
from adapters.ssh.target import Limits
from domain.intake import MAX_TEXT

_PROMPT = re.compile(rb"[^\s#>$%][^\n]{0,80}?[#>$%] ?")
# A prompt stands still: a banner's line that ends alike is followed by more at once.
_STILL_SECONDS: Final = 0.3
# So much may stand before a prompt that answers nothing: banners, what is said of a password.
_BEFORE_PROMPT: Final = 256 * 1024
# So much of the end is looked at for a prompt or a pause, however much came before.
_TAIL: Final = 4096
# Escape sequences (ECMA-48), and what backspaces take back.
_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_]|\][^\x07]*\x07|[=>])")
_PASSWORD = re.compile(rb"(?:enable )?(?:password|secret):\Z", re.IGNORECASE)
# Where a device stops until a key is pressed, and how it wipes that away afterwards.
_PAGER = re.compile(
    rb"(?:--\s?More\s?--|<--- More --->|---\(more[^)\n]{0,40}\)---)\s*\Z", re.IGNORECASE
)
_PAGED = re.compile(
    rb"(?:(?<=\n) +)?\r?(?:--\s?More\s?--|<--- More --->|---\(more[^)\n]{0,40}\)---)"
    rb"(?: ?\r +\r| ?\x08+ +\x08+| ?\r)?",
    re.IGNORECASE,
)


class _Screen(asyncssh.SSHClientSession[bytes]):
    """What the device wrote since it was last asked."""

    def __init__(self) -> None:
        self.shown = bytearray()
        self.came = asyncio.Event()
        self.closed = False

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self.shown += data
        self.came.set()

    def eof_received(self) -> bool:
        self.closed = True
        self.came.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.came.set()


class Dialogue:
    """An open dialogue. `ask` sends a command and gives what was answered."""

    def __init__(
        self,
        channel: asyncssh.SSHClientChannel[bytes],
        screen: _Screen,
        limits: Limits,
        until: float,
    ) -> None:
        self._channel = channel
        self._screen = screen
        self._limits = limits
        self._until = until
        self._prompt = b""

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, connection: SSHClientConnection, limits: Limits, until: float
    ) -> AsyncIterator[Self]:
        """A dialogue whose prompt has come. Raises `DeviceUnread`."""
        screen = _Screen()
        try:
            async with asyncio.timeout_at(
                min(until, asyncio.get_running_loop().time() + limits.silence)
            ):
                channel, _ = await connection.create_session(
                    lambda: screen,
                    encoding=None,
                    request_pty="force",
                    term_type="vt100",
                    term_size=(511, 1000),
                    window=WINDOW,
                )
        except TimeoutError as error:
            raise DeviceUnread("timeout", "it opens no terminal") from error
        except (OSError, asyncssh.Error) as error:
            raise DeviceUnread(
                "connection_lost", f"it opens no terminal ({type(error).__name__})"
            ) from error
        try:
            dialogue = cls(channel, screen, limits, until)
            await dialogue._learn_prompt()
            yield dialogue
        finally:
            channel.abort()

    async def enable(self, password: str) -> None:
        """Go to the privileged mode, unless the login led there.

        Raises `DeviceUnread` (auth_failed) when the password is refused. It is only sent to who
        asks for it, which is where devices show no echo.
        """
        if not self._prompt.rstrip().endswith(b">"):
            return
        self._screen.shown.clear()
        self._channel.write(b"enable\n")
        raised = self._prompt.rstrip()[:-1] + b"#"
        sent = False
        while True:
            tail = self._tail().rstrip(b" ")
            last = tail.rpartition(b"\n")[2]
            if last == raised:
                self._prompt = raised + self._prompt[len(self._prompt.rstrip()) :]
                return
            if _PASSWORD.match(last):
                if sent:
                    raise DeviceUnread("auth_failed", "it refuses the password of enable")
                sent = True
                self._screen.shown.clear()
                self._channel.write(password.encode() + b"\n")
            elif last == self._prompt.rstrip() and b"\n" in tail:
                reason = "refuses the password of enable" if sent else "does not take enable"
                raise DeviceUnread("auth_failed" if sent else "command_refused", f"it {reason}")
            await self._more(self._limits.silence)

    async def ask(self, command: str) -> bytes:
        """What the device answers to a command: without its echo and the prompt after it."""
        self._screen.shown.clear()
        self._channel.write(command.encode() + b"\n")
        pressed = 0
        while True:
            tail = self._tail()
            if tail.endswith(self._prompt) and tail[: -len(self._prompt)][-1:] in (b"", b"\n"):
                break
            if _PAGER.search(tail) and len(self._screen.shown) > pressed:
                pressed = len(self._screen.shown)
                self._channel.write(b" ")
            await self._more(self._limits.silence, MAX_TEXT)
        shown = bytes(self._screen.shown)
        # Only if there were any: a banner of the configuration may hold such words.
        answer = _clean(_unpaged(shown) if pressed else shown)
        echo, _, rest = answer[: -len(self._prompt)].partition(b"\n")
        return rest if command.encode() in echo else answer[: -len(self._prompt)]

    async def _learn_prompt(self) -> None:
        while True:
            _, end, last = self._tail().rpartition(b"\n")
            whole = bool(end) or len(self._screen.shown) <= _TAIL
            found = _PROMPT.fullmatch(last) if whole else None
            if found is None:
                await self._more(self._limits.silence)
                continue
            try:
                await self._more(_STILL_SECONDS)
            except DeviceUnread as error:
                if error.kind != "timeout":
                    raise
                self._prompt = found[0]
                return

    def _tail(self) -> bytes:
        """The end of what is shown. Not all of it at each piece that comes: a device that never
        stops would have the whole program search its words, again and again."""
        return _clean(bytes(self._screen.shown[-_TAIL:]))

    async def _more(self, silence: float, most: int = _BEFORE_PROMPT) -> None:
        """Wait for more to come, unless more than `most` bytes came."""
        if len(self._screen.shown) > most:
            raise DeviceUnread("too_large", f"it sends more than {most} bytes before its prompt")
        if self._screen.closed:
            raise DeviceUnread("connection_lost", "it ended the dialogue")
        self._screen.came.clear()
        ends = min(self._until, asyncio.get_running_loop().time() + silence)
        try:
            async with asyncio.timeout_at(ends):
                await self._screen.came.wait()
        except TimeoutError as error:
            raise silent(silence) from error


def _clean(raw: bytes) -> bytes:
    return _ESCAPES.sub(b"", raw).replace(b"\r\n", b"\n").replace(b"\r", b"")


def _unpaged(raw: bytes) -> bytes:
    """Without the pauses; what is left between two pages is as if there had been none."""
    return _PAGED.sub(b"", _ESCAPES.sub(b"", raw))
