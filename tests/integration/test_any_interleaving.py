"""Whatever comes in whatever pieces, and whatever breaks in between: the naive fold's rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.envelope import StoredEvent
from domain.errors import ProjectionStopped
from projections import ALL, rebuilds
from projections.builder import ProjectionBuilder
from projections.outages import is_outage
from projections.projection import Projection
from projections.retrying import retry_all
from projections.rows import Connection, Pool
from projections.schema import BUILD
from projections.writer import ProjectionWriter, Rewound
from tests.generators import STREAM, played
from tests.listed import Listed

# What may happen, one after the other. Numbers are sizes of batches.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), st.integers(1, 60)),
        st.tuples(st.just("again"), st.integers(1, 60)),
        st.tuples(st.just("crash"), st.integers(1, 60)),
        st.tuples(st.just("race"), st.integers(1, 60)),
        st.tuples(st.just("build"), st.integers(1, 60)),
        st.tuples(st.sampled_from(["restart", "drop", "rebuild", "cancel", "retry"]), st.just(0)),
    ),
    max_size=14,
)


MOST_PARKED = 4
_FULL = f"SELECT count(*) >= {MOST_PARKED} FROM configtrail.parked WHERE error IS NOT NULL"


class Breaking:
    """A projection that loses its session in mid-transaction when told to, and can't take some
    events in until that is mended."""

    def __init__(self, inner: Projection[Any], pool: Pool, poison: frozenset[int]) -> None:
        self.inner = inner
        self.pool = pool
        self.poison = poison
        self.cut = False
        self.name = inner.name
        self.version = inner.version
        self.tables = inner.tables
        self.ddl = inner.ddl

    def fold(self, batch: Sequence[StoredEvent]) -> Any:
        if any(one.position in self.poison for one in batch):
            raise ValueError("not this one")
        return self.inner.fold(batch)

    async def write(self, connection: Connection, ops: Any) -> None:
        await self.inner.write(connection, ops)
        if self.cut:
            self.cut = False
            own = await connection.fetchval("SELECT pg_backend_pid()")
            await self.pool.fetchval("SELECT pg_terminate_backend($1, 5000)", own)


class Run:
    """One history of one projection, played step by step."""

    def __init__(
        self, pool: Pool, projection: Projection[Any], source: Listed, poison: frozenset[int]
    ) -> None:
        self.pool = pool
        self.source = source
        self.projection = Breaking(projection, pool, poison)
        self.writer = self.fresh()

    def fresh(self) -> ProjectionWriter:
        return ProjectionWriter(self.pool, self.projection, self.source)

    async def restart(self) -> None:
        self.writer = self.fresh()
        await self.writer.prepare(STREAM)

    async def apply(self, size: int, writer: ProjectionWriter | None = None) -> None:
        writer = writer or self.writer
        batch = self.source.events[writer.position : writer.position + size]
        if size % 2:  # as when the batch was read ahead
            writer.prefold(batch)
        stands: int | None = None
        try:
            await writer.apply(batch)
        except (Rewound, asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            await self.restart()
        except ProjectionStopped as stopped:
            stands = stopped.position - 1
        if stands is not None:
            assert writer.position == stands
            assert not await self.pool.fetchval(_FULL)

    async def step(self, what: str, size: int) -> None:
        match what:
            case "apply":
                await self.apply(size)
            case "again":
                start = max(0, self.writer.position - size)
                await self.writer.apply(self.source.events[start : self.writer.position])
            case "crash":
                self.projection.cut = True
                try:
                    await self.apply(size)
                except Exception as error:
                    if not is_outage(error):
                        raise
                self.projection.cut = False
                await self.restart()
            case "race":
                other = self.fresh()
                await other.prepare(STREAM)
                await self.apply(size // 2 + 1, other)
                await self.apply(size)
            case "restart":
                await self.restart()
            case "drop":
                await self.pool.execute("DROP SCHEMA configtrail CASCADE")
                await self.restart()
            case "cancel":
                await rebuilds.cancel(self.pool, self.projection)
            case "retry":
                await retry_all(self.pool, self.source, self.projection)
            case "build":
                await self.build(size)
            case "rebuild":
                await self.rebuild()

    async def build(self, size: int) -> None:
        """A part of a rebuild, by somebody who then dies; it can't get beyond poison."""
        await rebuilds.begin(self.pool, self.projection, STREAM)
        writer = ProjectionWriter(self.pool, self.projection, self.source, BUILD)
        await writer.prepare(STREAM)
        end = min(writer.position + size, min(self.projection.poison, default=10**6) - 1)
        await writer.apply(self.source.events[writer.position : end])

    async def rebuild(self) -> None:
        """A whole one, by a program that knows the poison."""
        poison, self.projection.poison = self.projection.poison, frozenset()
        await rebuilds.begin(self.pool, self.projection, STREAM)
        await ProjectionBuilder(self.pool, self.source, self.projection).build()
        self.projection.poison = poison
        await self.restart()

    async def finish(self) -> dict[str, list[str]]:
        """With the poison known, to the end."""
        self.projection.poison = frozenset()
        await self.restart()
        while self.writer.position < len(self.source.events):
            await self.apply(100)
        await retry_all(self.pool, self.source, self.projection)
        assert await self.pool.fetchval("SELECT count(*) FROM configtrail.parked") == 0
        return await rows(self.pool, self.projection)


async def rows(pool: Pool, projection: Projection[Any]) -> dict[str, list[str]]:
    return {
        table: sorted(map(repr, await pool.fetch(f'SELECT * FROM configtrail."{table}"')))
        for table in projection.tables
    }


async def naive(pool: Pool, projection: Projection[Any], events: Sequence[StoredEvent]) -> Any:
    """The rows of a fold event by event, without any engine; nothing is left of it."""
    async with pool.acquire() as connection:
        await connection.execute("CREATE SCHEMA configtrail; SET search_path = configtrail")
        await connection.execute(projection.ddl)
        async with connection.transaction():
            for event in events:
                await projection.write(connection, projection.fold([event]))
        found = await rows(pool, projection)
        await connection.execute("DROP SCHEMA configtrail CASCADE")
    return found


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    projection=st.sampled_from(ALL),
    seed=st.integers(0, 2**32),
    size=st.integers(2, 160),
    steps=STEPS,
    poison=st.frozensets(st.integers(1, 200), min_size=1, max_size=9),
)
async def test_any_interleaving_comes_to_the_rows_of_the_naive_fold(
    pool: Pool,
    projection: Projection[Any],
    seed: int,
    size: int,
    steps: list[tuple[str, int]],
    poison: frozenset[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Few enough for a projection to stop now and then.
    monkeypatch.setattr("projections.poison.MOST_IN_A_ROW", 2)
    monkeypatch.setattr("projections.poison.MOST_PARKED", MOST_PARKED)
    events = played(seed, size).events
    await pool.execute("DROP SCHEMA IF EXISTS configtrail_build CASCADE")
    expected = await naive(pool, projection, events)
    run = Run(pool, projection, Listed(events), poison)
    await run.restart()
    for what, number in steps:
        await run.step(what, number)
    assert await run.finish() == expected
    await pool.execute("DROP SCHEMA configtrail CASCADE")
