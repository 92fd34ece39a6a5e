"""A RouterOS double: an SSH server that speaks its exec dialect, with faults on demand."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

import asyncssh
from asyncssh import SSHKey, SSHServerConnection, SSHServerProcess

Fault = Literal[
    "truncated", "hang_middle", "error_exporting", "drip", "reset", "no_permission", "garbage"
]
# Where RouterOS cuts when it drops the tail.
CUT_BYTES = 130_000
_HISTORY = "/system history print detail without-paging"
_PUT = re.compile(r'; :put "([^"]*)"\Z')


def export_text(version: str, *, name: str = "r1", size: int = 0) -> str:
    """An export of at least `size` bytes."""
    lines = [f"# 2026-03-01 12:00:00 by RouterOS {version}", "/interface bridge", "add name=br0"]
    number = sum(len(line) + 2 for line in lines)
    if size:
        lines.append("/ip firewall address-list")
        entry = 0
        while number < size:
            line = f"add address=10.{entry >> 16 & 255}.{entry >> 8 & 255}.{entry & 255} list=big"
            lines.append(line)
            number += len(line) + 2
            entry += 1
    lines += ["/system identity", f"set name={name}"]
    return "".join(f"{line}\r\n" for line in lines)


@dataclass(frozen=True)
class Action:
    """An action of the device's history, at a time of its own clock."""

    what: str
    who: str
    at: datetime
    redo: str = "/ip firewall filter add action=accept chain=input"


@dataclass
class RouterOSDouble:
    """One device, or many behind one address: they differ by the login's user name."""

    version: str = "7.14.3 (stable)"
    password: str = "correct horse"
    authorized_key: SSHKey | None = None
    fault: Fault | None = None
    text: str | None = None
    host_key: SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    more_host_keys: Sequence[SSHKey] = ()
    """Of other kinds: which one it shows is up to who asks."""

    text_of: Callable[[str], str] | None = None
    """The export for a user's name; without it everybody gets `text`."""

    actions: list[Action] = field(default_factory=list)
    """Its history, newest first."""

    clock: timedelta = timedelta()
    """How far its clock is ahead of UTC, by its zone or by error."""

    uptime: str = "3w2d01:02:03"
    history_fault: Literal["refused", "hangs", "strange"] | None = None
    port: int = 0
    listen: str = "127.0.0.1"
    commands: list[str] = field(default_factory=list)
    passwords: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    at_once: dict[str, int] = field(default_factory=dict)
    overlaps: list[str] = field(default_factory=list)
    on_login: Callable[[str], None] | None = None
    hold: asyncio.Event | None = None
    """When set, exports wait for this event before they begin."""

    @property
    def export(self) -> str:
        """What it exports."""
        return self.text if self.text is not None else export_text(self.version.split()[0])

    async def start(self, **options: object) -> asyncssh.SSHAcceptor:
        """Listen on a free port of the loopback."""
        acceptor = await asyncssh.create_server(
            lambda: _Server(self),
            self.listen,
            self.port,
            server_host_keys=[self.host_key, *self.more_host_keys],
            process_factory=self._serve,
            encoding=None,
            allow_scp=False,
            gss_kex=False,
            gss_auth=False,
            compression_algs=["none"],
            reuse_address=True,
            **options,
        )
        self.port = acceptor.get_port()
        return acceptor

    async def _serve(self, process: SSHServerProcess[bytes]) -> None:
        user = process.get_extra_info("username")
        command = process.command
        if command is None:
            await self._talk(process, user)
            return
        self.commands.append(command)
        self.at_once[user] = self.at_once.get(user, 0) + 1
        if self.at_once[user] > 1:
            self.overlaps.append(user)
        try:
            await self._answer(process, command, user)
        except (BrokenPipeError, asyncssh.Error, ConnectionError):
            process.close()
        finally:
            self.at_once[user] -= 1

    async def _answer(self, process: SSHServerProcess[bytes], command: str, user: str) -> None:
        out = process.stdout
        if "/system resource get version" in command:
            garbage = self.fault == "garbage"
            out.write(b"hello\r\n" if garbage else f"{self.version}\r\n".encode())
            process.exit(0)
            return
        if self.hold is not None:
            await self.hold.wait()
        found = _PUT.search(command)
        main = command[: found.start()] if found else command
        if _HISTORY in main:
            await self._remember(process, found[1] if found else "")
            return
        refusal = self._refusal(main)
        if refusal:
            out.write(f"{refusal}\r\n".encode())
            process.exit(0)
            return
        text = self.text_of(user) if self.text_of else self.export
        if self.fault == "error_exporting":
            text += '#error exporting "/ip/dns" (timeout)\r\n'
        body = text.encode()
        end = f"{found[1]}\r\n".encode() if found else b""
        match self.fault:
            case "truncated":
                out.write(body[:CUT_BYTES])
            case "hang_middle":
                out.write(body[: len(body) // 2])
                await process.wait_closed()
            case "drip":
                for byte in body:
                    out.write(bytes((byte,)))
                    await asyncio.sleep(0.05)
            case "reset":
                out.write(body[: len(body) // 2])
                await out.drain()
                _reset(process)
                return
            case _:
                out.write(body + end)
                await out.drain()
        process.exit(0)

    async def _remember(self, process: SSHServerProcess[bytes], word: str) -> None:
        """Its clock, and its history in the form of its version."""
        out, now = process.stdout, datetime.now(UTC) + self.clock
        old = int(self.version.split(".")[0]) < 7
        day = "%b/%d/%Y" if old else "%Y-%m-%d"
        lines = [now.strftime(day).lower(), now.strftime("%H:%M:%S"), self.uptime]
        if self.history_fault == "refused":
            lines.append("not enough permissions (9)")
        else:
            lines.append("Flags: U - undoable, R - redoable, F - floating-undo ")
        for one in self.actions:
            at = one.at.strftime(f"{day} %H:%M:%S").lower()
            lines += [
                " U redo= " if old else " F redo=",
                f"     {one.redo}",
                f'   undo=/ip firewall filter remove *1 action="{one.what}" by="{one.who}" ',
                f"   policy=write {'when' if self.history_fault == 'strange' else 'time'}={at} ",
                "",
            ]
        out.write("".join(f"{line}\r\n" for line in lines).encode())
        if self.history_fault == "hangs":
            await process.wait_closed()
        out.write(f"{word}\r\n".encode())
        await out.drain()
        process.exit(0)

    async def _talk(self, process: SSHServerProcess[bytes], user: str) -> None:
        """At the prompt, as other tools do it: what is typed is echoed, `quit` ends it."""
        out, typed = process.stdout, b""
        prompt = f"[{user.partition('+')[0]}@MikroTik] > ".encode()
        out.write(prompt)
        while data := await process.stdin.read(4096):
            for byte in data:
                if byte not in b"\r\n":
                    typed += bytes((byte,))
                    continue
                out.write(typed + b"\r\n")
                if typed == b"quit":
                    process.exit(0)
                    return
                if typed == b"export":
                    out.write(self.text_of(user).encode() if self.text_of else self.export.encode())
                out.write(prompt)
                typed = b""

    def _refusal(self, command: str) -> str | None:
        major = int(self.version.split(".")[0])
        if self.fault == "no_permission":
            return "not enough permissions (9)"
        if not command.startswith("/export"):
            return "bad command name (line 1 column 1)"
        if "show-sensitive" in command and major < 7:
            return "expected end of command (line 1 column 9)"
        if "hide-sensitive" in command and major >= 7:
            return "expected end of command (line 1 column 9)"
        return None


class _Server(asyncssh.SSHServer):
    def __init__(self, double: RouterOSDouble) -> None:
        self._double = double

    def connection_made(self, conn: SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        self._double.logins.append(username)
        if self._double.on_login is not None:
            self._double.on_login(username)
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        self._double.passwords.append(password)
        return password == self._double.password

    def public_key_auth_supported(self) -> bool:
        return self._double.authorized_key is not None

    def validate_public_key(self, username: str, key: SSHKey) -> bool:
        known = self._double.authorized_key
        return known is not None and key.public_data == known.public_data


def _reset(process: SSHServerProcess[bytes]) -> None:
    """Break the connection as a router that reboots does: with a reset."""
    connection = process.channel.get_connection()
    raw = connection.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.abort()


@asynccontextmanager
async def serving(double: RouterOSDouble, **options: object) -> AsyncIterator[RouterOSDouble]:
    """The double, listening while the block runs. `options` are asyncssh's."""
    acceptor = await double.start(**options)
    try:
        yield double
    finally:
        acceptor.close()
        await acceptor.wait_closed()


@asynccontextmanager
async def silent_host() -> AsyncIterator[int]:
    """A port that takes connections and never says anything: it hangs before the banner."""

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Until the other side leaves. Whatever nobody else knows of would be collected.
            with suppress(ConnectionError):
                await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(ignore, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
