"""Who locks the tables that a projection writes to, in words for whoever can end that."""

from __future__ import annotations

from typing import Any

from projections.projection import Projection
from projections.rows import SCHEMA, Reader
from projections.schema import Place

# Those that keep out who writes rows. Of what another user does the server tells no more than this.
_HOLDERS = """
    SELECT DISTINCT c.relname, l.mode, a.pid, a.usename, a.application_name
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE l.granted AND l.locktype = 'relation' AND l.pid <> pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.mode IN
          ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      AND (n.nspname = $1 AND c.relname = ANY ($2) OR n.nspname = $3 AND c.relname = ANY ($4))
    ORDER BY a.pid, c.relname
"""
_LEDGERS = ("checkpoints", "rebuilds", "parked")


async def holders(reader: Reader, projection: Projection[Any], place: Place) -> str | None:
    """Who they are now, and what to do about them; None when nobody locks a whole table."""
    found = await reader.fetch(
        _HOLDERS, place.schema, list(projection.tables), SCHEMA, list(_LEDGERS)
    )
    if not found:
        return None
    told = "; ".join(
        f"process {one['pid']} of the server ({one['application_name'] or 'no name'}, user "
        f"{one['usename']}) has {one['mode']} on {one['relname']}"
        for one in found
    )
    pids = ", ".join(str(pid) for pid in sorted({one["pid"] for one in found}))
    return (
        f"{told}. It goes on when that transaction ends; if nobody will end it, "
        f"SELECT pg_terminate_backend(pid) for {pids} does"
    )
