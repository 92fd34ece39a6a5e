"""A device that talks at a prompt, as switches and firewalls do; with faults on demand.

It speaks the dialogue of IOS, EOS, FortiOS and the like: a banner, a prompt, echo, pauses, a
privileged mode with a password of its own. `takes_commands` lets it take one without a prompt too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncssh
from asyncssh import SSHServerProcess

LINES = [
    f"interface Gi0/{number}\r\n description to # or > anything".encode() for number in range(90)
]
CONFIG = b"\r\n".join([b"hostname core-1", *LINES, b"end"])


@dataclass
class Terminal:
    """The device. It pauses after `page` lines, 0: never; `terminal length 0` and its kin stop that
    unless it is `stubborn`."""

    config: bytes = CONFIG
    name: bytes = b"core-1"
    banner: bytes = b"\r\nWelcome to core-1\r\nunauthorised access is logged>\r\n"
    page: int = 0
    pause: bytes = b"--More--"
    wipe: bytes = b"\r         \r"
    stubborn: bool = False
    enable: bytes | None = None
    """The password of the privileged mode; None: the login leads there."""
    dressed: bytes = b"%s"
    """How its prompt looks on the wire, with the prompt in place of %s."""
    floods: bytes | None = None
    """What is typed (b"": nothing, the login itself) before it writes lines without end."""
    hangs: bool = False
    hangs_up: bool = False
    in_pieces: bool = False
    slow: float = 0.0
    """How long its prompts take."""
    takes_commands: bool = False
    shows: bytes = b"show"
    """How the command begins that shows the configuration."""
    calms: bytes = b"terminal"
    """How the commands begin that end its pauses."""
    mark: bytes | None = None
    """How its prompt ends; None: as the mode says."""
    above: bytes = b""
    """What stands above each prompt."""
    refusal: bytes = b"% Invalid input detected at '^' marker.\r\n"
    errors: bytes = b""
    """What it writes on the standard error, without a prompt."""
    status: int | None = 0
    """With what a command without a prompt ends; None: it tells nothing."""
    typed: list[bytes] = field(default_factory=list)
    port: int = 0

    async def serve(self, process: SSHServerProcess[bytes]) -> None:
        """Talk until the other side goes."""
        shell = _Shell(self, process)
        if process.command is not None:
            await shell.run(process.command)
            return
        await shell.say(self.banner)
        if self.floods == b"":
            await shell.flood()
            return
        await shell.prompt()
        while (line := await shell.line()) is not None:
            self.typed.append(line)
            await shell.say(line + b"\r\n")
            if line == self.floods:
                await shell.flood()
                return
            await shell.obey(line)
            if self.hangs:
                continue
            await shell.prompt()


class _Shell:
    """One login."""

    def __init__(self, terminal: Terminal, process: SSHServerProcess[bytes]) -> None:
        self._terminal = terminal
        self._process = process
        self._privileged = terminal.enable is None
        self._page = terminal.page
        # Only a terminal has carriages that return.
        self._ending = b"\r\n" if process.command is None else b"\n"

    async def line(self) -> bytes | None:
        """What is typed, up to the end of the line."""
        line = b""
        while data := await self._process.stdin.read(1):
            if data in b"\r\n":
                return line
            line += data
        return None

    async def say(self, words: bytes) -> None:
        """Write; where the device is slow, piece by piece."""
        if not self._terminal.in_pieces:
            self._process.stdout.write(words)
            return
        for start in range(0, len(words), 3):
            self._process.stdout.write(words[start : start + 3])
            await asyncio.sleep(0.01)

    async def flood(self) -> None:
        """Write lines without end, until the other side goes."""
        while not self._process.is_closing():
            self._process.stdout.write(b"core-1# is for the staff of Example only\r\n" * 100)
            try:
                await self._process.stdout.drain()
            except (BrokenPipeError, asyncssh.ConnectionLost):
                return

    async def prompt(self) -> None:
        """The prompt of the mode that it is in."""
        mark = self._terminal.mark or (b"#" if self._privileged else b">")
        await asyncio.sleep(self._terminal.slow)
        await self.say(self._terminal.above + self._terminal.dressed % (self._terminal.name + mark))

    async def obey(self, line: bytes) -> None:
        """Do what a line says."""
        if line == b"enable":
            await self._enable()
        elif line.startswith(self._terminal.calms):
            self._page = self._page if self._terminal.stubborn else 0
        elif not line.startswith(self._terminal.shows) or not self._privileged:
            await self.say(self._terminal.refusal)
        else:
            await self._show()
            if self._process.is_closing():
                return
            _, echo, word = line.partition(b"; echo ")
            if echo:
                await self.say(word + self._ending)

    async def run(self, command: str) -> None:
        """Do a command without a prompt, and go."""
        terminal = self._terminal
        terminal.typed.append(command.encode())
        self._process.stderr.write(terminal.errors)
        self._page = 0
        await self.obey(command.encode())
        if terminal.hangs:
            await self._process.stdin.read()
        elif terminal.status is None:
            self._process.close()
        elif not self._process.is_closing():
            self._process.exit(terminal.status)

    async def _enable(self) -> None:
        for _ in range(3):
            await self.say(b"Password: ")
            typed = await self.line()
            await self.say(b"\r\n")
            if typed == self._terminal.enable:
                self._privileged = True
                return
        await self.say(b"% Bad secrets\r\n\r\n")

    async def _show(self) -> None:
        lines = self._terminal.config.split(b"\r\n")
        for number, text in enumerate(lines, 1):
            self._process.stdout.write(text + self._ending)
            if self._terminal.hangs_up and number > len(lines) // 2:
                self._process.close()
                return
            if self._page and number % self._page == 0:
                await self.say(self._terminal.pause)
                assert await self._process.stdin.read(1) == b" "
                await self.say(self._terminal.wipe)


class _AtAPrompt(SSHServerProcess[bytes]):
    def exec_requested(self, command: str) -> bool:
        return False


class _Anybody(asyncssh.SSHServer):
    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def begin_auth(self, username: str) -> bool:
        return False

    def session_requested(self) -> SSHServerProcess[bytes]:
        kind = SSHServerProcess if self._terminal.takes_commands else _AtAPrompt
        return kind(self._terminal.serve, None, 3, False)


@asynccontextmanager
async def at_a_prompt(terminal: Terminal) -> AsyncIterator[Terminal]:
    """The device, listening while the block runs."""
    acceptor = await asyncssh.create_server(
        lambda: _Anybody(terminal),
        "127.0.0.1",
        0,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        encoding=None,
        line_editor=False,
    )
    terminal.port = acceptor.get_port()
    try:
        yield terminal
    finally:
        acceptor.close()
        await acceptor.wait_closed()
