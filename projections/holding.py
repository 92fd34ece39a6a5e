"""Who locks what a projection writes to, in words for whoever can end that."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import asyncpg
from msgspec import Struct

from domain.errors import RowsHeld
from projections.projection import Projection
from projections.rows import SCHEMA, Pool, Reader, structs
from projections.schema import Place

# Of what another user does the server tells no more than this, and not since when.
_WHO = "a.pid, a.usename::text, a.application_name, a.xact_start"
_WRITERS_WAIT = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
_READERS_WAIT = ("AccessExclusiveLock",)
# The tables of the place and of the ledgers ($1 to $4) that are locked as a whole, in a mode of $5.
# Not our own, which take an advisory lock first and are through in a moment (a verification, a
# switch), or are ended by whoever leads next.
_OTHERS = """
    l.granted AND l.pid <> pg_backend_pid()
      AND NOT EXISTS (SELECT FROM pg_locks o WHERE o.pid = l.pid AND o.locktype = 'advisory')
"""
_TABLES = f"""
    SELECT DISTINCT c.relname::text AS locked, l.mode, {_WHO}
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_OTHERS} AND l.locktype = 'relation'
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.mode = ANY ($5)
      AND (n.nspname = $1 AND c.relname = ANY ($2) OR n.nspname = $3 AND c.relname = ANY ($4))
    ORDER BY a.pid, 1
"""
# Whoever reads a live table, but for those who have begun just now: they are through in a moment.
_READERS = f"""
    SELECT DISTINCT c.relname::text AS locked, l.mode, {_WHO}
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_OTHERS} AND l.locktype = 'relation'
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND n.nspname = $1 AND c.relname = ANY ($2)
      AND coalesce(a.xact_start < now() - interval '1 second', true)
    ORDER BY a.pid, 1
"""
# A row that is locked, or changed by who has not ended yet, names that transaction.
_ROWS = f"""
    SELECT 'the row of ' || r.projection || ' in {{ledger}}' AS locked, 'a lock' AS mode, {_WHO}
    FROM configtrail.{{ledger}} r
    JOIN pg_locks l ON l.locktype = 'transactionid' AND l.transactionid = r.xmax
    JOIN pg_stat_activity a USING (pid)
    WHERE {_OTHERS} AND r.projection = $1 AND l.mode = 'ExclusiveLock'
"""
_LEDGERS = ("checkpoints", "rebuilds", "parked", "stops")
_BY_PROJECTION = ("checkpoints", "rebuilds", "stops")


class _Holder(Struct, frozen=True, kw_only=True):
    locked: str
    mode: str
    pid: int
    usename: str
    application_name: str
    xact_start: datetime | None


async def holders(reader: Reader, projection: Projection[Any], place: Place) -> str | None:
    """Who they are now that keep out who writes, and what to do about them; None when nobody but
    our own programs locks a whole table, or a row of a ledger."""
    own = list(projection.tables)
    found = await _found(
        reader, _TABLES, place.schema, own, SCHEMA, list(_LEDGERS), list(_WRITERS_WAIT)
    )
    if not found:  # else asking for the rows could wait itself
        for ledger in _BY_PROJECTION:
            found += await _found(reader, _ROWS.format(ledger=ledger), projection.name)
    return _told(found)


async def ledger_holders(reader: Reader) -> str | None:
    """Who keeps out even those who only ask how read models stand."""
    none: list[str] = []
    return _told(
        await _found(reader, _TABLES, SCHEMA, none, SCHEMA, list(_LEDGERS), list(_READERS_WAIT))
    )


async def readers(reader: Reader, projection: Projection[Any]) -> str | None:
    """Who reads the live tables for long, or locks them: new ones can't take their place yet."""
    return _told(await _found(reader, _READERS, SCHEMA, list(projection.tables)))


async def named(
    pool: Pool, projection: Projection[Any], place: Place, seconds: float, error: Exception
) -> Exception:
    """The error; `RowsHeld` in its place where it is that somebody locked something for so long,
    and who that is can be told."""
    if not isinstance(error, asyncpg.LockNotAvailableError):
        return error
    by = await holders(pool, projection, place)
    return error if by is None else RowsHeld(projection.name, seconds, by)


async def _found(reader: Reader, query: str, *args: Any) -> list[_Holder]:
    return structs(_Holder, await reader.fetch(query, *args))


def _told(found: Iterable[_Holder]) -> str | None:
    told = "; ".join(
        f"process {one.pid} of the server ({one.application_name or 'no name'}, user "
        f"{one.usename}{_since(one.xact_start)}) has {one.mode} on {one.locked}"
        for one in found
    )
    if not told:
        return None
    pids = ", ".join(str(pid) for pid in sorted({one.pid for one in found}))
    return (
        f"{told}. It goes on when that transaction ends; if nobody will end it, "
        f"SELECT pg_terminate_backend(pid) for {pids} does"
    )


def _since(began: datetime | None) -> str:
    return (
        f", in a transaction since {began.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if began else ""
    )
