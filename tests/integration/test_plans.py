"""No statement reads a table from end to end, however long the history is: the queries of the API,
asked as the role that answers for a tenant, and those that bring events in."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any, cast

import asyncpg
import pytest

from adapters.postgres.pool import open_pool
from domain.envelope import StoredEvent
from domain.events import (
    CollectionFailed,
    ContentExpired,
    ContentRef,
    ContentShredded,
    DiffGenerated,
    DomainEvent,
    DuplicateSkipped,
    ManualBackupFinished,
    ManualBackupTriggered,
    SectionChange,
    SnapshotCreated,
    SnapshotRef,
)
from projections import AUDIT, BACKUPS, DIFFS, FLEET
from projections.projection import Projection
from projections.rows import Connection, Pool, Reader
from projections.schema import LIVE, write_to
from projections.tenancy import READER, TenantReader
from tests.loading import Long, load
from tests.queries import Paging, queries
from tests.support import eventually

LONG = Long(tenants=10, devices=300, snapshots=60, audit=40_000)
# Those that grow with the history; the others have a row a device.
GROWING = frozenset({"snapshots", "observations", "diffs", "audit"})


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

BY_NUMBER = frozenset({"snapshots", "validity", "history", "history of a section", "diffs"})

# Rows of a page may lie on some pages more or less.
SLACK = 5

# What touches more rows than a page has, however it is filtered.
GATHERING = frozenset({"Seq Scan", "Bitmap Heap Scan"})
# Who filters by this, instead of finding it in an index, reads all that is newer or older.
TIME = "collected_at"


class Explaining:
    """A session that has every statement's plan looked at before it runs. `prepared`: the one plan
    that it has for whatever it is asked, which knows no more of that than the server does then."""

    def __init__(self, session: Reader, *, prepared: bool = False) -> None:
        self._session = session
        self._prepared = prepared
        self.scans: list[str] = []
        self.sifted: list[str] = []

    async def _explain(self, query: str, arguments: tuple[Any, ...]) -> None:
        explain = "EXPLAIN (FORMAT JSON, COSTS OFF)"
        if self._prepared:
            await self._session.fetchval(f"PREPARE asked AS {query}")
            told = ", ".join(literal(one) for one in arguments)
            raw = await self._session.fetchval(f"{explain} EXECUTE asked({told})")
            await self._session.fetchval("DEALLOCATE asked")
        else:
            raw = await self._session.fetchval(f"{explain} {query}", *arguments)
        growing = [
            node
            for node in nodes(json.loads(raw)[0]["Plan"])
            if node.get("Relation Name") in GROWING
        ]
        self.scans += [
            f"{node['Node Type']} on {node['Relation Name']}"
            for node in growing
            if node["Node Type"] in GATHERING
        ]
        self.sifted += [
            f"{node['Filter']} on {node['Relation Name']}"
            for node in growing
            if TIME in node.get("Filter", "")
        ]

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        await self._explain(query, arguments)
        return await self._session.fetch(query, *arguments)

    async def fetchrow(self, query: str, *arguments: Any) -> asyncpg.Record | None:
        await self._explain(query, arguments)
        return await self._session.fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        await self._explain(query, arguments)
        return await self._session.fetchval(query, *arguments)


def literal(value: object) -> str:
    """The value in the text of a statement."""
    if value is None or isinstance(value, int):
        return "NULL" if value is None else str(value)
    quoted = str(value).replace("'", "''")
    return f"'{quoted}'"


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The node and all below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


async def test_every_query_goes_by_an_index_at_each_end_and_in_the_middle(
    pool: Pool, postgres_dsn: str
) -> None:
    found: dict[str, list[str]] = {}
    async with open_pool(postgres_dsn, role=READER) as readers:
        explaining = Explaining(TenantReader(readers, LONG.tenant(7)))
        for share in (0.0, 0.5, 1.0):
            for name, query in queries(LONG, explaining, 7, share).items():
                explaining.scans.clear()
                explaining.sifted.clear()
                answer = await query(None)
                assert answer, f"{name} has an answer at {share}"
                told = [*explaining.scans, *explaining.sifted]
                if told:
                    found[f"{name} at {share}"] = told
    assert found == {}


async def test_what_lies_further_back_costs_no_more_pages(pool: Pool, postgres_dsn: str) -> None:
    pages: dict[str, list[int]] = {}
    async with open_pool(postgres_dsn, role=READER) as readers:
        reader = Paging(TenantReader(readers, LONG.tenant(7)))
        for share in (0.0, 0.5, 1.0):
            for name, query in queries(LONG, reader, 7, share).items():
                reader.pages = 0
                await query(None)
                pages.setdefault(name, []).append(reader.pages)
    # Pages by number read over what they leave out, of one device.
    allowed = {name: 3.0 if name in BY_NUMBER else 1.2 for name in pages}
    dearer = {
        name: found
        for name, found in pages.items()
        if max(found) > allowed[name] * found[-1] + SLACK
    }
    assert dearer == {}


async def test_reads_that_have_one_plan_go_by_an_index(pool: Pool, postgres_dsn: str) -> None:
    names = ("snapshots", "validity", "history", "devices, shown", "audit, shown")
    found: dict[str, list[str]] = {}
    async with (
        open_pool(postgres_dsn, role=READER) as readers,
        TenantReader(readers, LONG.tenant(7)).session(one_plan=True) as session,
    ):
        explaining = Explaining(session, prepared=True)
        for name, query in queries(LONG, explaining, 7, 0.5).items():
            if name.startswith(names):
                explaining.scans.clear()
                explaining.sifted.clear()
                assert await query(None), name
                found[name] = [*explaining.scans, *explaining.sifted]
    assert len(found) >= 10
    assert {name: told for name, told in found.items() if told} == {}


class Writing(Explaining):
    """The same for what a projection writes by."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._connection = connection
        self.explained = 0

    async def execute(self, query: str, *arguments: Any) -> str:
        await self._explain(query, arguments)
        self.explained += 1
        return await self._connection.execute(query, *arguments)

    async def executemany(self, query: str, rows: list[tuple[Any, ...]]) -> None:
        for row in rows:
            await self._explain(query, row)
            self.explained += 1
        await self._connection.executemany(query, rows)


FED: tuple[Projection[Any], ...] = (BACKUPS, DIFFS, AUDIT, FLEET)


async def test_what_brings_events_in_goes_by_an_index(pool: Pool) -> None:
    found: dict[str, list[str]] = {}
    async with pool.acquire() as connection:
        change = connection.transaction()
        await change.start()
        await write_to(connection, LIVE)
        known = await connection.fetchval(
            "SELECT snapshot_id FROM snapshots WHERE device_id = $1 ORDER BY version LIMIT 1",
            LONG.device(7),
        )
        batch = list(late_events(known))
        for projection in FED:
            writing = Writing(connection)
            await projection.write(cast(Connection, writing), projection.fold(batch))
            assert writing.explained
            if writing.scans:
                found[projection.name] = writing.scans
        await change.rollback()
    assert found == {}


def late_events(known: str) -> Iterator[StoredEvent]:
    """What can happen to a device of which the snapshot is known, some of it out of its order."""
    moment = LONG.snapshot_time(3) + timedelta(hours=2)
    content = ContentRef(sequence=1, commitment="c")
    ref = SnapshotRef(snapshot_id=known, content=content)
    common: dict[str, Any] = {"actor": "system:recorder"}
    seen: dict[str, Any] = {
        "observation_id": "o",
        "text_fingerprint": "t",
        "collected_at": moment,
        "source": "scheduled",
    }
    happened: list[DomainEvent] = [
        DuplicateSkipped(snapshot_id=known, late=True, **seen, **common),
        SnapshotCreated(
            snapshot_id=str(uuid.UUID(int=1)),
            fingerprint="f",
            canonical="routeros/1",
            content=content,
            size_bytes=1,
            line_count=1,
            platform="routeros",
            completeness="complete",
            predecessor=ref,
            successor=ref,
            **seen,
            **common,
        ),
        DiffGenerated(
            from_snapshot_id=known,
            to_snapshot_id=str(uuid.UUID(int=1)),
            lines_added=1,
            lines_removed=0,
            content=content,
            sections=(SectionChange(section="/ip address", added=1, removed=0),),
            **common,
        ),
        ManualBackupTriggered(trigger_id="t1", **common),
        ManualBackupFinished(trigger_id="t1", outcome="failed", **common),
        CollectionFailed(
            failure_id="f1",
            kind="timeout",
            message="nobody answers",
            attempted_at=moment,
            source="scheduled",
            **common,
        ),
        ContentExpired(run_id="r", snapshot_id=known, contents=(), reason="policy", **common),
        ContentShredded(
            erasure_id="e", scope="device", reason="law", content_until=9, key_ids=(), **common
        ),
    ]
    for number, event in enumerate(happened, 1):
        yield StoredEvent(
            position=1 << 40 | number,
            version=1_000 + number,
            stored_at=moment,
            event_id=f"late.{number}",
            tenant_id=LONG.tenant(7),
            device_id=LONG.device(7),
            occurred_at=moment,
            event=event,
        )
