"""A host to jump over, as a double."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncssh
from asyncssh import SSHReader, SSHWriter

_Forward = Callable[[SSHReader[bytes], SSHWriter[bytes]], Awaitable[None]]


@asynccontextmanager
async def jump_host(accepts: Callable[[str, str], bool]) -> AsyncIterator[int]:
    """The port of a host to jump over, which asks `accepts` of each user name and password."""

    class Jump(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return accepts(username, password)

        def connection_requested(
            self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
        ) -> _Forward:
            return _forwarding(dest_host, dest_port)

    key = asyncssh.generate_private_key("ssh-ed25519")
    acceptor = await asyncssh.create_server(Jump, "127.0.0.1", 0, server_host_keys=[key])
    try:
        yield acceptor.get_port()
    finally:
        acceptor.close()
        await acceptor.wait_closed()


def _forwarding(host: str, port: int) -> _Forward:
    """Carry bytes both ways until an end closes. asyncssh's own way stands still under uvloop."""

    async def forward(reader: SSHReader[bytes], writer: SSHWriter[bytes]) -> None:
        there, back = await asyncio.open_connection(host, port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_carry(reader, back))
                group.create_task(_carry(there, writer))
        finally:
            back.close()
            writer.close()

    return forward


async def _carry(
    reader: SSHReader[bytes] | asyncio.StreamReader,
    writer: SSHWriter[bytes] | asyncio.StreamWriter,
) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        # Whoever closes an end without a good-bye is as gone as with one.
        writer.close()
