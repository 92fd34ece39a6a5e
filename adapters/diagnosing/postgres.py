"""What Postgres tells: whether it answers, and how far the read models are."""

from __future__ import annotations

from datetime import datetime

import asyncpg
from nats.js.errors import APIError

from adapters.diagnosing.finding import Finding, skew
from domain.errors import StreamGap, StreamMismatch, Unavailable
from projections import ALL
from projections.belonging import strays
from projections.checkpoints import checkpoints
from projections.rows import Reader
from projections.source import EventSource


async def look_at_postgres(dsn: str, source: EventSource | None) -> list[Finding]:
    """Whether Postgres answers, how far the read models are, and whether they are of the stream."""
    try:
        connection = await asyncpg.connect(dsn, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        return [_no_connection(error)]
    try:
        version: str = await connection.fetchval("SELECT version()")
        now: datetime = await connection.fetchval("SELECT now()")
        found = [Finding("Postgres", "fine", " ".join(version.split()[:2]))]
        found += skew("clock of Postgres", now)
        try:
            reached = await checkpoints(connection)
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            reached = {}
        head, stray = await _against(connection, source)
        for one in ALL:
            if one.name in stray:
                wrong = stray[one.name].reason
                found.append(Finding(f"read model {one.name}", "wrong", wrong))
            else:
                found.append(_read_model(one.name, reached.get(one.name), head))
        return found
    finally:
        await connection.close()


def _no_connection(error: Exception) -> Finding:
    refused = getattr(error, "sqlstate", None) or ""
    if refused.startswith("28"):
        told, mend = "refuses the user or the password", "look at both in CONFIGTRAIL_POSTGRES_DSN"
    elif refused.startswith("3D"):
        told, mend = "has no such database", "look at its name in CONFIGTRAIL_POSTGRES_DSN"
    else:
        told = f"no connection: {type(error).__name__}"
        mend = "look at CONFIGTRAIL_POSTGRES_DSN, and whether the server runs"
    return Finding("Postgres", "wrong", told, mend)


async def _against(
    reader: Reader, source: EventSource | None
) -> tuple[int | None, dict[str, StreamMismatch]]:
    """The head of the stream, and the read models that are not of it; as far as it tells."""
    if source is None:
        return None, {}
    try:
        return await source.head(), await strays(reader, source)
    except (APIError, Unavailable, StreamGap):  # the findings about NATS say so already
        return None, {}


def _read_model(name: str, checkpoint: object, head: int | None) -> Finding:
    subject = f"read model {name}"
    position = getattr(checkpoint, "position", None)
    if position is None:
        return Finding(subject, "notice", "is not built yet", "start configtrail up")
    if head is not None and position < head:
        told = f"stands at {position} of {head}"
        return Finding(subject, "notice", told, "it follows while configtrail up runs")
    return Finding(subject, "fine", f"holds all events up to {position}")
