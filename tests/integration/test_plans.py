"""No query of the API reads a table from end to end, however long the history is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from adapters.postgres.pool import open_pool
from projections.rows import Pool
from tests.loading import Long, load
from tests.queries import queries
from tests.support import eventually

LONG = Long(tenants=10, devices=300, snapshots=60, audit=40_000)
# Those that grow with the history; the others have a row a device.
GROWING = frozenset({"snapshots", "observations", "diffs", "changes", "audit"})


@pytest.fixture
async def pool(postgres_dsn: str) -> AsyncIterator[Pool]:
    async with open_pool(postgres_dsn) as pool:
        async with pool.acquire() as connection:
            await load(connection, LONG)

            async def all_visible() -> bool:
                # While somebody looks at a table (autovacuum's ANALYZE, say), VACUUM can't mark its
                # pages, and an index would seem to cost more than it does on a settled table.
                await connection.execute("VACUUM ANALYZE")
                return bool(await connection.fetchval(_ALL_VISIBLE))

            await eventually(all_visible)
        yield pool


_ALL_VISIBLE = """
    SELECT bool_and(relallvisible >= 0.99 * relpages) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'configtrail'::regnamespace AND relpages > 100
"""

# What touches more rows than a page has, however it is filtered.
GATHERING = frozenset({"Seq Scan", "Bitmap Heap Scan"})


class Explaining:
    """A reader that has every statement's plan looked at before it runs."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.scans: list[str] = []

    async def _explain(self, query: str, arguments: tuple[Any, ...]) -> None:
        raw = await self._pool.fetchval(f"EXPLAIN (FORMAT JSON, COSTS OFF) {query}", *arguments)
        self.scans += [
            f"{node['Node Type']} on {node.get('Relation Name')}"
            for node in nodes(json.loads(raw)[0]["Plan"])
            if node["Node Type"] in GATHERING and node.get("Relation Name") in GROWING
        ]

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        await self._explain(query, arguments)
        return await self._pool.fetch(query, *arguments)

    async def fetchrow(self, query: str, *arguments: Any) -> asyncpg.Record | None:
        await self._explain(query, arguments)
        return await self._pool.fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        await self._explain(query, arguments)
        return await self._pool.fetchval(query, *arguments)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The node and all below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


async def test_every_query_goes_by_an_index_at_each_end_and_in_the_middle(pool: Pool) -> None:
    found: dict[str, list[str]] = {}
    for share in (0.0, 0.5, 1.0):
        explaining = Explaining(pool)
        for name, query in queries(LONG, explaining, 7, share).items():
            explaining.scans.clear()
            answer = await query(None)
            assert answer, f"{name} has an answer at {share}"
            if explaining.scans:
                found[f"{name} at {share}"] = list(explaining.scans)
    assert found == {}
