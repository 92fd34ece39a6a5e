"""Projections that wait, grow or refuse, and what runs them: for tests of rebuilds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from domain.envelope import StoredEvent
from projections import AUDIT
from projections.builder import ProjectionBuilder
from projections.checkpoints import wait_projected
from projections.engine import ProjectionWorker
from projections.projection import Projection
from projections.rows import Connection, Pool
from projections.schema import existing
from tests.listed import Listed
from tests.support import eventually


class Second:
    """The next version of the audit trail: another column, and a table more."""

    name = "audit"
    version = AUDIT.version + 1
    tables = ("audit", "audit_actors")
    ddl = (
        AUDIT.ddl
        + "ALTER TABLE audit ADD COLUMN loud text NOT NULL DEFAULT 'yes';"
        + "CREATE TABLE audit_actors (actor text PRIMARY KEY)"
    )

    def fold(self, batch: Sequence[StoredEvent]) -> Any:
        return AUDIT.fold(batch)

    async def write(self, connection: Connection, ops: Any) -> None:
        await AUDIT.write(connection, ops)
        await connection.execute(
            "INSERT INTO audit_actors SELECT DISTINCT unnest($1::text[]) ON CONFLICT DO NOTHING",
            [row[5] for row in ops],
        )


class Gated:
    """A projection whose writes into a rebuild wait until they are let through."""

    def __init__(self, inner: Projection[Any]) -> None:
        self.inner = inner
        self.name = inner.name
        self.version = inner.version
        self.tables = inner.tables
        self.ddl = inner.ddl
        self.open = asyncio.Event()
        self.waiting = asyncio.Event()

    def fold(self, batch: Sequence[StoredEvent]) -> Any:
        return self.inner.fold(batch)

    async def write(self, connection: Connection, ops: Any) -> None:
        if "build" in await connection.fetchval("SHOW search_path"):
            self.waiting.set()
            await self.open.wait()
        await self.inner.write(connection, ops)


class Allergic:
    """A projection that can't take some events in: in its fold, or in its statements."""

    def __init__(self, inner: Projection[Any], *positions: int, in_sql: bool = False) -> None:
        self.inner = inner
        self.positions = set(positions)
        self.in_sql = in_sql
        self.name = inner.name
        self.version = inner.version
        self.tables = inner.tables
        self.ddl = inner.ddl

    def fold(self, batch: Sequence[StoredEvent]) -> Any:
        bad = [one.position for one in batch if one.position in self.positions]
        if bad and not self.in_sql:
            raise ValueError(f"not {bad}")
        return bad, self.inner.fold(batch)

    async def write(self, connection: Connection, ops: Any) -> None:
        bad, inner = ops
        await self.inner.write(connection, inner)
        if bad:
            await connection.execute("SELECT 1 / 0")


@asynccontextmanager
async def running(*roles: ProjectionWorker | ProjectionBuilder) -> AsyncIterator[None]:
    """The roles run while the block runs."""
    tasks = [asyncio.create_task(one.run()) for one in roles]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended


async def filled(pool: Pool, projection: Projection[Any], source: Listed) -> None:
    """Live tables with all events of the source."""
    async with running(ProjectionWorker(pool, source, projection)):
        await caught_up(pool, projection, source)


async def caught_up(pool: Pool, projection: Projection[Any], source: Listed) -> None:
    async def made() -> bool:
        return bool(await existing(pool, "configtrail", ("checkpoints",)))

    await eventually(made)
    await wait_projected(pool, [projection], await source.head(), 20)
