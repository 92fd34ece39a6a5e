"""What a host to jump over does with a connection that it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from asyncssh import SSHReader, SSHWriter

Forward = Callable[[SSHReader[bytes], SSHWriter[bytes]], Awaitable[None]]


def forwarding(host: str, port: int) -> Forward:
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
