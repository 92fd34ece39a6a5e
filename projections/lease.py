"""Leases: of all programs, one does the work and the others stand by.

A lease is an advisory lock of a Postgres session. It ends with the session: at once when its
process dies, within seconds when its machine does (keep-alives) or when the process hangs and no
longer shows the server that it lives (idle timeout). A lease only spares work: that two never write
is held by the checkpoint's row, however long a holder slept.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable

from projections.rows import Connection, Pool, Reader

BEAT_SECONDS = 1.0

# What the server grants a holder that shows nothing of itself. Reset when the connection goes back
# to its pool.
_SESSION = """
    SET idle_session_timeout = '4s';
    SET tcp_keepalives_idle = 2;
    SET tcp_keepalives_interval = 1;
    SET tcp_keepalives_count = 2;
    SET tcp_user_timeout = 4000;
"""

# A key of 64 bits shows as two numbers of 32.
_HELD = """
    SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Lease:
    """One lease, by name; names are of the database."""

    def __init__(self, pool: Pool, name: str) -> None:
        self._pool = pool
        self._key = _key(name)

    async def lead(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do the work while holding the lease; False at once when another one holds it.

        Raises what the work raises, and an outage when the lease is lost: the work is then stopped.
        """
        async with self._pool.acquire() as session:
            if not await session.fetchval("SELECT pg_try_advisory_lock($1)", self._key):
                return False
            await session.execute(_SESSION)
            working = asyncio.ensure_future(work())
            beating = asyncio.ensure_future(_beat(session))
            try:
                await asyncio.wait((working, beating), return_when=asyncio.FIRST_COMPLETED)
            finally:
                errors = await _ended(working, beating)
            for error in errors:
                if error is not None:
                    raise error
        return True


async def held(reader: Reader, names: Iterable[str]) -> set[str]:
    """Those of the leases that somebody holds now."""
    keys = {key for (key,) in await reader.fetch(_HELD)}
    return {name for name in names if _key(name) in keys}


def _key(name: str) -> int:
    digest = hashlib.sha256(f"configtrail lease {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


async def _ended(*tasks: asyncio.Future[None]) -> list[BaseException | None]:
    """Stop the tasks that still run; the errors that they ended with.

    Who is told to stop once more meanwhile still waits for them: they use what is closed next.
    """
    for task in tasks:
        task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError as interrupted:
            cancelled = interrupted
    errors = [None if task.cancelled() else task.exception() for task in tasks]
    if cancelled is not None:
        raise cancelled
    return errors


async def _beat(session: Connection) -> None:
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        await session.execute("SELECT")
