"""Rows of the audit read model that somebody edited by hand, compared with the events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.postgres.pool import open_pool
from adapters.tlog.row_pages import AuditTable
from adapters.tlog.rows import MOST_FINDINGS, Rows
from domain.errors import NewerProjection
from projections import AUDIT
from projections.rows import Pool
from projections.writer import ProjectionWriter
from tests.generators import STREAM, played
from tests.listed import Listed

EVENTS = played(3, 300).events
HEAD = EVENTS[-1].position
FREE = "ALTER TABLE configtrail.audit DROP CONSTRAINT audit_pkey"
NULLABLE = f"{FREE}; ALTER TABLE configtrail.audit ALTER position DROP NOT NULL"
COPIES = (
    "INSERT INTO configtrail.audit SELECT a.* FROM configtrail.audit a, generate_series(1, {times})"
    " WHERE a.position IN ({positions})"
)


@pytest.fixture
async def pool(postgres_dsn: str) -> AsyncIterator[Pool]:
    async with open_pool(postgres_dsn) as pool:
        writer = ProjectionWriter(pool, AUDIT, Listed(EVENTS))
        await writer.prepare(STREAM)
        await writer.apply(EVENTS)
        yield pool


async def compared(pool: Pool, size: int = 50) -> list[tuple[str, int]]:
    rows = Rows(AuditTable(pool, size), size)
    try:
        found = []
        for start in range(0, len(EVENTS), 70):
            batch = EVENTS[start : start + 70]
            found += await rows.compare(batch, batch[-1].position)
        found += await rows.rest()
        found += await rows.beyond(HEAD)
    finally:
        await rows.close()
    return [(one.kind, one.position) for one in found]


async def edited(pool: Pool, statement: str) -> list[tuple[str, int]]:
    """What is found after an edit, which is then taken back."""
    await pool.execute("CREATE TABLE configtrail.kept AS TABLE configtrail.audit")
    await pool.execute(statement)
    found = await compared(pool)
    await pool.execute(
        "TRUNCATE configtrail.audit; INSERT INTO configtrail.audit TABLE configtrail.kept;"
        "DROP TABLE configtrail.kept"
    )
    return found


SESSIONS = (
    "DateStyle = 'German'",
    "TimeZone = 'Asia/Kathmandu'",
    "bytea_output = 'escape'",
    "extra_float_digits = -15",
    "client_encoding = 'LATIN1'",
    "standard_conforming_strings = off",
    "default_transaction_isolation = 'serializable'",
    "search_path = pg_temp",
)


async def test_whatever_the_sessions_are_set_to_untouched_rows_are_not_accused(
    pool: Pool, postgres_dsn: str
) -> None:
    database = await pool.fetchval("SELECT current_database()")
    for one in SESSIONS:
        await pool.execute(f'ALTER DATABASE "{database}" SET {one}')
    async with open_pool(postgres_dsn) as other:
        assert await other.fetchval("SHOW DateStyle") == "German, DMY"
        assert await compared(other) == []


TEXTS = (
    *("tenant_id", "event_id", "actor", "action", "resource_type", "resource_id", "device_id"),
    *("details", "correlation_id", "causation_id"),
)
EDITS = (
    *(f"{name} = coalesce({name}, '') || {more}" for name in TEXTS for more in ("' '", "E'\\n'")),
    *(f"{name} = ''" for name in TEXTS),
    *(f"{name} = '\\N'" for name in TEXTS),
    *(
        f"{name}_at = {value}"
        for name in ("occurred", "stored")
        for value in (
            "'infinity'",
            "'-infinity'",
            "'0044-03-15 BC'",
            "'294276-12-31'",
            "{name}_at + interval '1 microsecond'",
            "{name}_at - interval '1 day'",
        )
        for value in (value.format(name=name),)
    ),
    "version = -version",
    "version = 0",
    "details = details::jsonb::text",
    "details = replace(details, ':', ': ')",
    "details = chr(65279) || details",
    "tenant_id = 'other'",
)


async def test_every_edit_of_a_column_is_named(pool: Pool) -> None:
    for one in EDITS:
        change = f"UPDATE configtrail.audit SET {one} WHERE position = 50"
        assert (one, await edited(pool, change)) == (one, [("altered", 50)])


@pytest.mark.parametrize("position", [1, 49, 50, 51, 70, HEAD - 1, HEAD])
async def test_rows_that_share_a_position_are_named_wherever_a_page_ends(
    pool: Pool, position: int
) -> None:
    await pool.execute(FREE)
    found = await edited(pool, COPIES.format(times=1, positions=position))
    assert found == [("inserted", position)]
    # More than a page has, and the first page of all.
    found = await edited(pool, COPIES.format(times=120, positions=f"{position}, 1"))
    assert set(found) == {("inserted", 1), ("inserted", position)}
    assert len(found) == 120 * len({1, position})


async def test_no_more_rows_that_nobody_told_are_named_than_anybody_reads(pool: Pool) -> None:
    found = await edited(
        pool,
        "INSERT INTO configtrail.audit SELECT (a).* FROM (SELECT jsonb_populate_record(a,"
        " jsonb_build_object('position', -n)) AS a FROM configtrail.audit a,"
        f" generate_series(1, {MOST_FINDINGS * 3}) n WHERE a.position = 1) made",
    )
    assert found == [("inserted", -n) for n in range(MOST_FINDINGS * 3, MOST_FINDINGS * 2, -1)]


async def test_rows_without_a_position_are_named(pool: Pool) -> None:
    await pool.execute(NULLABLE)
    copy = "CREATE TEMPORARY TABLE c AS SELECT * FROM configtrail.audit WHERE position < 4;"
    null = "UPDATE c SET position = NULL; INSERT INTO configtrail.audit TABLE c; DROP TABLE c"
    assert await edited(pool, copy + null) == [("inserted", 0)] * 3
    gone = "UPDATE configtrail.audit SET position = NULL WHERE position = 50"
    assert await edited(pool, gone) == [("missing", 50), ("inserted", 0)]


@pytest.mark.parametrize("put_back", ["SET position = 0", "SET position = 49", None])
async def test_a_row_that_is_gone_is_missed_wherever_the_checkpoint_was_put(
    pool: Pool, put_back: str | None
) -> None:
    back = (
        f"UPDATE configtrail.checkpoints {put_back}"
        if put_back
        else "DELETE FROM configtrail.checkpoints"
    )
    gone = "DELETE FROM configtrail.audit WHERE position IN (50, 51, 80)"
    assert await edited(pool, f"{gone}; {back}") == [("missing", at) for at in (50, 51, 80)]
    # The last ones may still come.
    assert await edited(pool, f"DELETE FROM configtrail.audit WHERE position > 60; {back}") == []


async def test_rows_of_a_newer_version_are_not_accused(pool: Pool) -> None:
    await pool.execute("UPDATE configtrail.checkpoints SET version = version + 1")
    with pytest.raises(NewerProjection):
        await compared(pool)


async def test_a_table_that_takes_the_place_of_the_former_one_meanwhile_is_not_accused(
    pool: Pool,
) -> None:
    """Its rows may be younger than the snapshot in which the former one's checkpoint was read."""
    rows = Rows(AuditTable(pool, 50), 50)
    assert await rows.compare(EVENTS[:1], 1) == []
    async with pool.acquire() as other:
        swap = asyncio.create_task(
            other.execute(
                "BEGIN; CREATE TABLE configtrail.fresh (LIKE configtrail.audit INCLUDING ALL);"
                "INSERT INTO configtrail.fresh TABLE configtrail.audit;"
                "DROP TABLE configtrail.audit;"
                "ALTER TABLE configtrail.fresh RENAME TO audit; COMMIT"
            )
        )
        try:
            assert await rows.compare(EVENTS[1:], HEAD) == []
            assert await rows.rest() == []
            assert rows.compared == HEAD
        finally:
            await rows.close()
            await swap
    assert await compared(pool) == []
