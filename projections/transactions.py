"""Transactions that begin with their settings, in one way to the server and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

from projections.rows import Connection


@asynccontextmanager
async def begun(connection: Connection, begin: str) -> AsyncIterator[None]:
    """A transaction until the block ends, rolled back when it raises. `begin` are the statements
    that begin it. Others that asyncpg begins by itself can't be within it."""
    try:
        await connection.execute(begin)
        yield
    except BaseException:
        # Of a session that is gone the transaction is gone too.
        with suppress(asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError):
            await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")
