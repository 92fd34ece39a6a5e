"""What Postgres tells: whether it answers, and how far the read models are."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import TypeVar

import asyncpg
from nats.js.errors import APIError

from adapters.diagnosing.finding import Finding, skew
from domain.errors import StreamGap, StreamMismatch, Unavailable
from projections import ALL, parking, rebuilds, stops
from projections.belonging import strays
from projections.checkpoints import Checkpoint, checkpoints
from projections.parking import Parked, ParkedCount
from projections.rows import Connection, Reader
from projections.source import EventSource

# So many parked events are named.
NAMED = 5
_T = TypeVar("_T")
_TODO = "see configtrail projections parked, and docs/projections.md"


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
        return found + await _read_models(connection, source)
    finally:
        await connection.close()


async def _read_models(connection: Connection, source: EventSource | None) -> list[Finding]:
    reached = await _if_there(checkpoints(connection))
    stopped = await _if_there(stops.reasons(connection))
    parked = await _if_there(parking.counts(connection))
    building = await _if_there(rebuilds.under_way(connection))
    head, stray = await _against(connection, source)
    found = []
    if reached is not None and None in (stopped, parked, building):
        told = "some tables about them are not there, so what is told of them may not be all"
        mend = "the next start of configtrail up makes them"
        found.append(Finding("read models", "notice", told, mend))
    reached, stopped, parked = reached or {}, stopped or {}, parked or {}
    rebuilding = {one.projection: one for one in building or ()}
    for one in ALL:
        subject = f"read model {one.name}"
        if one.name in stray:
            found.append(Finding(subject, "wrong", stray[one.name].reason))
        else:
            found.append(_read_model(subject, reached.get(one.name), head, stopped.get(one.name)))
        if one.name in parked:
            waiting = not parked[one.name].parked
            first = await parking.listed(connection, one.name, waiting=waiting, limit=NAMED)
            found.append(_parked(subject, parked[one.name], first))
        rebuild = rebuilding.get(one.name)
        if rebuild is not None and rebuild.error is not None:
            told = f"its rebuild stopped at {rebuild.position}: {rebuild.error}"
            found.append(Finding(subject, "wrong", told, _TODO))
    return found


async def _if_there(asked: Awaitable[_T]) -> _T | None:
    """What the ledgers say; None where there is no such table: of before the first start, of an
    older program, or as somebody dropped it."""
    try:
        return await asked
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return None


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


def _read_model(
    subject: str, checkpoint: Checkpoint | None, head: int | None, stopped: str | None
) -> Finding:
    if checkpoint is None:
        return Finding(subject, "notice", "is not built yet", "start configtrail up")
    position = checkpoint.position
    if stopped is not None:
        of = f" of {head}" if head is not None else ""
        return Finding(subject, "wrong", f"is stopped at {position}{of}: {stopped}", _TODO)
    if head is not None and position < head:
        told = f"stands at {position} of {head}"
        return Finding(subject, "notice", told, "it follows while configtrail up runs")
    return Finding(subject, "fine", f"holds all events up to {position}")


def _parked(subject: str, count: ParkedCount, first: list[Parked]) -> Finding:
    """Events that it lacks: those that can't be taken in by their positions."""
    places = [str(one.position) for one in first]
    if not first:
        return Finding(subject, "notice", "events that were parked come in just now")
    if not count.parked:
        told = f"{count.held} events wait to be tried again, from {first[0].position} on"
        return Finding(subject, "notice", told, _TODO)
    places += ["…"] * (count.parked > len(places))
    one = count.parked == 1
    told = f"event{'' if one else 's'} {', '.join(places)} can't be taken in and "
    told += "is parked" if one else "are parked"
    if count.held:
        told += f"; {count.held} more wait{'s' if count.held == 1 else ''} behind "
        told += "it" if one else "them"
    return Finding(subject, "notice", told, _TODO)
