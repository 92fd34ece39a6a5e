"""What Postgres tells: whether it answers, and how far the read models are."""

from __future__ import annotations

from datetime import datetime

import asyncpg

from adapters.diagnosing.finding import Finding, skew
from projections import ALL
from projections.checkpoints import checkpoints


async def look_at_postgres(dsn: str, head: int | None) -> list[Finding]:
    """Whether Postgres answers, and how far the read models are."""
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
        for one in ALL:
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


def _read_model(name: str, checkpoint: object, head: int | None) -> Finding:
    subject = f"read model {name}"
    position = getattr(checkpoint, "position", None)
    if position is None:
        return Finding(subject, "notice", "is not built yet", "start configtrail up")
    if head is not None and position > head:
        return Finding(
            subject,
            "wrong",
            f"stands at {position}, and the log ends at {head}: the log was recreated or restored",
            "if that is what you did, drop the schema configtrail and start",
        )
    if head is not None and position < head:
        told = f"stands at {position} of {head}"
        return Finding(subject, "notice", told, "it follows while configtrail up runs")
    return Finding(subject, "fine", f"holds all events up to {position}")
