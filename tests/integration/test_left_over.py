"""What a program that hangs amid a transaction has left is ended by whoever leads next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from adapters.postgres.pool import open_pool
from domain.envelope import StoredEvent
from projections import AUDIT, parking, rebuilds
from projections.builder import ProjectionBuilder
from projections.engine import ProjectionWorker
from projections.projection import Projection
from projections.retrying import retry
from projections.rows import Connection, Pool
from projections.source import Delivered
from projections.verify import verify
from tests.generators import played
from tests.listed import Listed
from tests.rebuilding import Allergic, caught_up, filled, running
from tests.support import eventually


@pytest.fixture
async def pools(postgres_dsn: str) -> AsyncIterator[list[Pool]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_pool(postgres_dsn)) for _ in range(2)]


class Hanging:
    """A projection that hangs amid a COPY, where the server waits for it without a bound, when it
    writes for the last time that it may."""

    def __init__(self, inner: Projection[Any], writes: int = 1) -> None:
        self.hangs = asyncio.Event()
        self.inner = inner
        self.writes = writes
        self.name = inner.name
        self.version = inner.version
        self.tables = inner.tables
        self.ddl = inner.ddl
        self.fold = inner.fold

    async def write(self, connection: Connection, ops: Any) -> None:
        await self.inner.write(connection, ops)
        self.writes -= 1
        if not self.writes:
            await connection.execute("CREATE TEMPORARY TABLE hanging (number integer)")
            await connection.copy_records_to_table("hanging", records=self._never())

    async def _never(self) -> AsyncIterator[tuple[int]]:
        yield (1,)
        self.hangs.set()
        await asyncio.Event().wait()


class Late(Listed):
    """A source whose flow comes late: all events are there already."""

    all: list[StoredEvent]

    async def at(self, position: int) -> Delivered:
        return self.all[position - 1]


@asynccontextmanager
async def hung(work: Coroutine[Any, Any, Any]) -> AsyncIterator[asyncio.Task[Any]]:
    """Work that is at its point for ever; it is stopped after the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_of_a_retry(pools: list[Pool]) -> None:
    source = Listed(played(6, 100).events)
    await filled(pools[0], Allergic(AUDIT, 20), source)
    (parked,) = await parking.listed(pools[0])
    hanging = Hanging(AUDIT)
    device = (parked.tenant_id, parked.device_id)
    async with hung(retry(pools[0], source, hanging, device)):
        await asyncio.wait_for(hanging.hangs.wait(), 20)
        async with running(ProjectionWorker(pools[1], source, AUDIT)):

            async def freed() -> bool:
                return await parking.listed(pools[1], waiting=True) == []

            await eventually(freed)


async def test_of_a_verification(pools: list[Pool]) -> None:
    events = played(6, 100).events
    source = Listed(events[:40])
    await filled(pools[0], AUDIT, source)
    hanging = Hanging(AUDIT)
    async with hung(verify(pools[0], source, hanging)):
        await asyncio.wait_for(hanging.hangs.wait(), 20)
        await source.more(events[40:])
        async with running(ProjectionWorker(pools[1], source, AUDIT)):
            await caught_up(pools[1], AUDIT, source)


async def test_of_a_rebuild_that_takes_the_live_ones_place(
    pools: list[Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    events = played(6, 100).events
    source, slow = Listed(events), Late(events[:40], head=len(events))
    slow.all = events
    await filled(pools[0], AUDIT, source)
    await rebuilds.begin(pools[0], AUDIT, await source.identity())
    hanging = Hanging(AUDIT, writes=2)
    with monkeypatch.context() as stopped:
        stopped.setattr("projections.lease.BEAT_SECONDS", 3600.0)
        stopped.setattr("projections.builder.HELD_SECONDS", 3600.0)
        async with hung(ProjectionBuilder(pools[0], slow, hanging).build()):
            # It holds the live ones and waits for what is missing.
            await eventually(lambda: _waits_in_transaction(pools[1]))
            await slow.more(events[40:])
            await asyncio.wait_for(hanging.hangs.wait(), 20)
            stopped.undo()

            async def built() -> bool:
                await ProjectionBuilder(pools[1], source, AUDIT).build()
                return await rebuilds.find(pools[1], AUDIT) is None

            await eventually(built, within=30)


async def _waits_in_transaction(pool: Pool) -> bool:
    return bool(
        await pool.fetchval(
            "SELECT count(*) FROM pg_locks JOIN pg_class ON pg_class.oid = relation"
            " WHERE relname = 'checkpoints' AND mode = 'RowShareLock' AND granted"
        )
    )
