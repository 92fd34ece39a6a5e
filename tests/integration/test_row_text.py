"""Rows are spelt as Postgres spells them, one by one and column by column, whatever is in them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.postgres.pool import open_pool
from adapters.tlog.row_columns import JOINED_QUERY, LONGEST, joined
from adapters.tlog.row_text import ROW_QUERY, position_in, row_line
from projections.audit.tables import DDL
from projections.audit.write import COLUMNS
from projections.rows import Pool

TEXTS = st.text(
    st.sampled_from("\\\b\t\n\v\f\r\x01\x7f'\",{}Nx.aé€\U0001f680\u2028")
    | st.characters(codec="utf-8", exclude_characters="\0"),
    max_size=12,
)
ZONES = st.sampled_from(
    [UTC, timezone(timedelta(hours=5, minutes=45)), timezone(-timedelta(1) / 2)]
)
# Drawn without a zone, which they are given then.
SPAN = tuple(datetime.fromisoformat(day) for day in ("0001-01-03", "9999-12-28"))
TIMES = st.datetimes(*SPAN, timezones=ZONES)
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)
ROWS = st.lists(
    st.tuples(
        NUMBERS,
        *(TEXTS,) * 2,
        *(TIMES,) * 2,
        *(TEXTS,) * 5,
        NUMBERS,
        *(st.none() | TEXTS,) * 2,
        TEXTS,
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda row: row[0],
)


@pytest.fixture
async def pool(postgres_dsn: str) -> AsyncIterator[Pool]:
    async with open_pool(postgres_dsn) as pool:
        await pool.execute(f"CREATE SCHEMA configtrail; SET search_path = configtrail; {DDL}")
        yield pool


async def copied(pool: Pool, rows: list[tuple[Any, ...]]) -> tuple[list[bytes], tuple[object, ...]]:
    """The rows as they come out of Postgres, by position: as lines, and column by column."""
    parts: list[bytes] = []

    async def take(part: bytes) -> None:
        parts.append(part)

    async with pool.acquire() as one:
        await one.execute("TRUNCATE configtrail.audit; SET timezone = 'Asia/Kathmandu'")
        await one.copy_records_to_table(
            "audit", schema_name="configtrail", columns=list(COLUMNS), records=rows
        )
        await one.copy_from_query(f"{ROW_QUERY} ORDER BY position", output=take)
        told = await one.fetchrow(JOINED_QUERY, -(1 << 63), (1 << 63) - 1, len(rows))
    assert told is not None
    return b"".join(parts).splitlines(keepends=True), tuple(told)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ROWS)
async def test_a_row_is_spelt_as_postgres_spells_it(
    pool: Pool, rows: list[tuple[Any, ...]]
) -> None:
    rows.sort(key=lambda row: row[0])
    lines, told = await copied(pool, rows)
    assert lines == [row_line(row) for row in rows]
    assert [position_in(line) for line in lines] == [row[0] for row in rows]
    # Where one of the marks is in them, others may be told the same.
    texts = [one for row in rows for one in row if isinstance(one, str)]
    marked = any(set(one) & set("\x01\x02") for one in texts)
    assert joined(rows) == told or (marked and joined(rows) is None)


async def test_rows_that_are_longer_than_many_can_be_are_not_told_column_by_column(
    pool: Pool,
) -> None:
    when = datetime(2026, 1, 5, tzinfo=UTC)
    for length, same in ((LONGEST, True), (LONGEST + 1, False)):
        for long in ("x" * length, "\N{EURO SIGN}" * (length // 3) + "x" * (length % 3)):
            row = (1, "a", "b", when, when, *"cdefg", 1, None, None, long)
            _, told = await copied(pool, [row])
            assert (joined([row]) == told) == same
