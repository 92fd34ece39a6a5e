"""Leases: of all programs, one does the work and the others stand by.

A lease is an advisory lock of a Postgres session. It ends with the session: at once when its
process dies, within seconds when its machine does (keep-alives) or when the process hangs and no
longer shows the server that it lives (idle timeout). A lease only spares work: that two never write
is held by the checkpoint's row, however long a holder slept.

What a holder had begun may outlive its lease, and hold rows: the server waits long for a client
that hangs amid a statement, and for ever amid a COPY. So transactions are `marked`, and who leads
next ends them. Those of others who hold the rows for a moment, without the lease, are too.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable

import asyncpg

from projections.rows import Connection, Pool, Reader

log = logging.getLogger(__name__)

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

_HOLDER = """
    SELECT a.pid, a.usename, a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND mode = 'ExclusiveLock'
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND ((classid::bigint << 32) | objid::bigint) = $1
"""

# Of the same user; a role that the session has taken may not end sessions of it.
_END_MARKED = """
    SELECT pg_terminate_backend(pid) FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND pid <> pg_backend_pid()
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND ((classid::bigint << 32) | objid::bigint) = $1
"""


def held_while_marked(name: str, seconds: float) -> str:
    """Statements for a transaction that holds the rows while it waits for something else: it is
    `marked`, and the server ends it when its client shows nothing of itself for so long."""
    return f"SET LOCAL idle_in_transaction_session_timeout = '{seconds}s'; {marked(name)}"


def marked(name: str) -> str:
    """The statement that marks a transaction as work for which the lease of that name is held."""
    return f"SELECT pg_advisory_xact_lock_shared({_key(_work_of(name))})"


class Lease:
    """One lease, by name; names are of the database."""

    def __init__(self, pool: Pool, name: str) -> None:
        self._pool = pool
        self._name = name
        self._key = _key(name)

    async def lead(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do the work while holding the lease; False at once when another one holds it.

        Raises what the work raises, and an outage when the lease is lost: the work is then stopped.
        """
        async with self._pool.acquire() as session:
            if not await session.fetchval("SELECT pg_try_advisory_lock($1)", self._key):
                return False
            await session.execute(_SESSION)
            await self._end_what_is_left(session)
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

    async def _end_what_is_left(self, session: Connection) -> None:
        """End what the holder before had begun, which can't be of use any more."""
        try:
            async with session.transaction():
                await session.execute("SET LOCAL ROLE NONE")
                ended = await session.fetch(_END_MARKED, _key(_work_of(self._name)))
        except asyncpg.InsufficientPrivilegeError:
            # Of another user, as when that was changed: it ends by the server's own bounds.
            log.warning("%s: what another user's program has begun can't be ended", self._name)
        else:
            if ended:
                log.warning("%s: ended what a program that hangs had begun", self._name)


async def held(reader: Reader, names: Iterable[str]) -> set[str]:
    """Those of the leases that somebody holds now."""
    keys = {key for (key,) in await reader.fetch(_HELD)}
    return {name for name in names if _key(name) in keys}


async def holder(reader: Reader, name: str) -> str | None:
    """Which session holds the lease now, in words."""
    found = await reader.fetchrow(_HOLDER, _key(name))
    if found is None:
        return None
    called = found["application_name"] or "no name"
    return f"process {found['pid']} of the server ({called}, user {found['usename']})"


def _work_of(name: str) -> str:
    return f"{name} at work"


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
