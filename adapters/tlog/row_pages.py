"""The rows of the audit read model as they are now, page by page, as one snapshot has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

import asyncpg
from msgspec import Struct

from adapters.tlog.row_text import ROW_QUERY, position_in
from domain.errors import NewerProjection, TableChanged
from projections.audit.write import COLUMNS, Audit
from projections.checkpoints import checkpoints
from projections.rows import Connection, Pool

_PAGE = 5_000
# What the columns of the table are, where they are not text.
_TYPES: Final = {
    "position": "bigint",
    "occurred_at": "timestamp with time zone",
    "stored_at": "timestamp with time zone",
    "version": "bigint",
}


class Page(Struct, frozen=True):
    """Rows by position, each a line as Postgres' COPY writes it. `projected`: up to which position
    the read model held the events when all of its pages were taken; of later ones it need not have
    rows."""

    projected: int
    text: bytes


async def audit_rows(pool: Pool, size: int = _PAGE) -> AsyncGenerator[Page, None]:
    """The rows of all tenants by position, `size` a page, those that have none last. At least one
    page, which may be empty. Raises `TableChanged`, `NewerProjection`."""
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        # Before the snapshot is taken: the table that a rebuild puts in its place meanwhile would
        # lack the rows that were written to it since.
        try:
            await connection.execute("LOCK TABLE configtrail.audit IN ACCESS SHARE MODE")
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
            raise TableChanged(Audit.name, "its table is not there") from error
        # In the snapshot of the rows: events may be on their way into them.
        found = (await checkpoints(connection)).get(Audit.name)
        if found is not None and found.version > Audit.version:
            raise NewerProjection(Audit.name, found.version, Audit.version)
        # After the version: a newer program's table may well be another one.
        await _check_table(connection)
        projected = found.position if found is not None else 0
        yield Page(projected, b"")
        after: tuple[int, int] | None = None
        # Postgres works out the next page while this one is compared.
        coming = asyncio.create_task(_page(connection, size, after))
        try:
            while text := await coming:
                after = _end_of(text, after)
                coming = asyncio.create_task(_page(connection, size, after))
                yield Page(projected, text)
            coming = asyncio.create_task(_copied(connection, "position IS NULL", size))
            yield Page(projected, await coming)
        finally:
            coming.cancel()
            await asyncio.wait([coming])


async def _check_table(connection: Connection) -> None:
    """Raises `TableChanged` where the rows can't be what `fold` makes."""
    told = await connection.fetch(
        "SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute"
        " WHERE attrelid = 'configtrail.audit'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    types = {row["attname"]: row["type"] for row in told}
    for column in COLUMNS:
        wanted, there = _TYPES.get(column, "text"), types.get(column)
        if there is None:
            raise TableChanged(Audit.name, f"its table has no column {column}")
        if there != wanted:
            raise TableChanged(Audit.name, f"its column {column} is {there}, and not {wanted}")


async def _page(connection: Connection, size: int, after: tuple[int, int] | None) -> bytes:
    """The next rows behind so many of a position; nothing when there are none. Who took the table's
    key away may have added rows of a position that is there."""
    if after is None:
        return await _copied(connection, "position IS NOT NULL", size)
    position, passed = after
    return await _copied(connection, f"position >= {position}", size, passed)


async def _copied(connection: Connection, which: str, size: int, passed: int = 0) -> bytes:
    parts: list[bytes] = []

    async def take(part: bytes) -> None:
        parts.append(part)

    query = f"{ROW_QUERY} WHERE {which} ORDER BY position, ctid LIMIT {size} OFFSET {passed}"
    await connection.copy_from_query(query, output=take)
    return b"".join(parts)


def _end_of(text: bytes, before: tuple[int, int] | None) -> tuple[int, int]:
    """The last position of a page, and how many of its rows were taken, on this page and before."""
    begin = text.rfind(b"\n", 0, -1) + 1
    start, count = text[begin : text.index(b"\t", begin) + 1], 1
    while begin:
        begin = text.rfind(b"\n", 0, begin - 1) + 1
        if not text.startswith(start, begin):
            break
        count += 1
    position = position_in(start)
    if before is not None and before[0] == position:
        count += before[1]
    return position, count
