"""Devices that only talk at a prompt: banners, echoes, pauses, and ends that do not come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncssh
import pytest
from asyncssh import SSHServerProcess

from adapters.ssh.connecting import Seen
from adapters.ssh.failures import DeviceUnread
from adapters.ssh.reading import Reading, read_device
from adapters.ssh.target import Credential, Limits, Target

PROMPT = b"core-1#"
LINES = [
    f"interface Gi0/{number}\r\n description to # or > anything".encode() for number in range(90)
]
CONFIG = b"\r\n".join([b"hostname core-1", *LINES, b"end"])


@dataclass
class Terminal:
    """A device at whose prompt commands are typed. It pauses after `page` lines; 0: never."""

    config: bytes = CONFIG
    banner: bytes = b"\r\nWelcome to core-1\r\nunauthorised access is logged>\r\n"
    page: int = 0
    wipe: bytes = b"\r         \r"
    hangs: bool = False
    typed: list[bytes] = field(default_factory=list)
    port: int = 0

    async def serve(self, process: SSHServerProcess[bytes]) -> None:
        out, line = process.stdout, b""
        out.write(self.banner + PROMPT)
        while data := await process.stdin.read(1):
            if data not in b"\r\n":
                line += data
                continue
            self.typed.append(line)
            out.write(line + b"\r\n")
            if line.startswith(b"show"):
                await self._show(process)
            out.write(b"" if self.hangs else PROMPT)
            line = b""

    async def _show(self, process: SSHServerProcess[bytes]) -> None:
        for number, text in enumerate(self.config.split(b"\r\n"), 1):
            process.stdout.write(text + b"\r\n")
            if self.page and number % self.page == 0:
                process.stdout.write(b"--More--")
                assert await process.stdin.read(1) == b" "
                process.stdout.write(self.wipe)


class _Anybody(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return False


@asynccontextmanager
async def serving(terminal: Terminal) -> AsyncIterator[Terminal]:
    acceptor = await asyncssh.create_server(
        _Anybody,
        "127.0.0.1",
        0,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        process_factory=terminal.serve,
        encoding=None,
        line_editor=False,
    )
    terminal.port = acceptor.get_port()
    try:
        yield terminal
    finally:
        acceptor.close()
        await acceptor.wait_closed()


async def read(terminal: Terminal, platform: str = "ios") -> Reading:
    wanted = Target(
        name="core-1",
        addresses=("127.0.0.1",),
        port=terminal.port,
        credential=Credential(username="backup"),
        limits=Limits(connect=5, silence=1, total=20),
    )
    return await read_device(wanted, platform, Seen())


async def test_the_answer_is_what_stands_between_the_echo_and_the_prompt() -> None:
    async with serving(Terminal()) as terminal:
        found = await read(terminal)
    assert found.text.encode() == CONFIG.replace(b"\r\n", b"\n") + b"\n"
    assert terminal.typed == [b"terminal length 0", b"terminal width 0", b"show running-config"]


@pytest.mark.parametrize(
    "wipe", [b"\r         \r", b"\x08" * 8 + b" " * 8 + b"\x08" * 8, b"\r\x1b[K"]
)
async def test_pauses_leave_no_trace(wipe: bytes) -> None:
    async with serving(Terminal(page=20, wipe=wipe)) as terminal:
        found = await read(terminal, "fortios")
    assert found.text.encode() == CONFIG.replace(b"\r\n", b"\n") + b"\n"
    assert terminal.typed == [b"show full-configuration"]


@pytest.mark.parametrize(
    ("terminal", "kind"),
    [
        (Terminal(config=CONFIG[:-10]), "incomplete"),
        (Terminal(config=b"% Invalid input detected at '^' marker."), "command_refused"),
        (Terminal(hangs=True), "timeout"),
    ],
)
async def test_what_does_not_come_to_its_end_is_a_failure(terminal: Terminal, kind: str) -> None:
    async with serving(terminal):
        with pytest.raises(DeviceUnread) as failed:
            await read(terminal)
    assert failed.value.kind == kind
