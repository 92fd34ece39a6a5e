"""What each witness answered last about each log, and since when it answers so."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import asyncpg
from msgspec import Struct

from adapters.postgres.signed_marks import SCHEMA
from projections.rows import Pool, Reader

Outcome = Literal["cosigned", "refused", "away"]
_NOT_THERE = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)


class Asked(Struct, frozen=True):
    """A witness was asked about a log. `told`: why it did not cosign."""

    witness: str
    origin: str
    outcome: Outcome
    told: str = ""


class Answer(Struct, frozen=True):
    """What was asked last, and since when the outcome is that one."""

    asked: Asked
    since: datetime


class WitnessBook:
    """The table, which `SignedMarks.ensure` makes. Only changes are written, whoever wrote before:
    another program may have sealed in between."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def write(self, asked: Asked) -> None:
        """Keep it."""
        await self._pool.execute(
            f"INSERT INTO {SCHEMA}.witnesses AS kept (witness, origin, outcome, told)"
            " VALUES ($1, $2, $3, $4) ON CONFLICT (witness, origin) DO UPDATE SET"
            " outcome = excluded.outcome, told = excluded.told,"
            " since = CASE WHEN kept.outcome = excluded.outcome THEN kept.since ELSE now() END"
            " WHERE (kept.outcome, kept.told) <> (excluded.outcome, excluded.told)",
            asked.witness,
            asked.origin,
            asked.outcome,
            asked.told,
        )


async def answers(reader: Reader, base: str, origin: str | None = None) -> list[Answer]:
    """The last answers about a deployment's logs, or about one of them."""
    try:
        rows = await reader.fetch(
            f"SELECT * FROM {SCHEMA}.witnesses WHERE starts_with(origin, $1)"
            " AND ($2::text IS NULL OR origin = $2) ORDER BY witness, since, origin",
            f"{base}/",
            origin,
        )
    except _NOT_THERE:
        return []
    return [
        Answer(Asked(row["witness"], row["origin"], row["outcome"], row["told"]), row["since"])
        for row in rows
    ]
