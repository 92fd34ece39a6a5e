"""The rows of the audit read model as they are now, all as one snapshot has them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Final, Protocol

import asyncpg

from adapters.tlog.row_columns import JOINED_QUERY, Joined
from adapters.tlog.row_text import ROW_QUERY, position_in
from domain.errors import NewerProjection, TableChanged
from projections.audit.write import COLUMNS, Audit
from projections.checkpoints import checkpoints
from projections.rows import Connection, Pool

_PAGE: Final = 5_000
# What Postgres' positions lie between.
FIRST, LAST = -(1 << 63), (1 << 63) - 1
# What the columns of the table are, where they are not text.
_TYPES: Final = {
    "position": "bigint",
    "occurred_at": "timestamp with time zone",
    "stored_at": "timestamp with time zone",
    "version": "bigint",
}


class AuditRows(Protocol):
    """The rows of all tenants, as they were when they were opened. One question at a time."""

    async def open(self) -> int:
        """Up to which position the read model held the events: of later ones it need not have
        rows. Before anything else. Raises `TableChanged`, `NewerProjection`."""
        ...

    async def joined(self, first: int, last: int, count: int) -> Joined:
        """What there is from one position to another, column by column; where it is more than so
        many rows, of so many and one."""
        ...

    def lines(self, first: int, last: int) -> AsyncGenerator[bytes, None]:
        """The same rows in pages, each a line as Postgres' COPY writes it."""
        ...

    def strays(self) -> AsyncGenerator[bytes, None]:
        """Those that have no position, likewise."""
        ...

    async def close(self) -> None:
        """Let go of what they come by. No question is under way any more."""
        ...


class AuditTable:
    """`AuditRows` in Postgres, `size` a page."""

    def __init__(self, pool: Pool, size: int = _PAGE) -> None:
        self._pool = pool
        self._size = size
        self._stack = AsyncExitStack()
        self._connection: Connection | None = None

    async def open(self) -> int:
        """See `AuditRows.open`."""
        connection = await self._stack.enter_async_context(self._pool.acquire())
        await self._stack.enter_async_context(
            connection.transaction(isolation="repeatable_read", readonly=True)
        )
        # Before the snapshot is taken: the table that a rebuild puts in its place meanwhile would
        # lack the rows that were written to it since.
        try:
            await connection.execute(
                "SET LOCAL search_path = pg_catalog;"
                "LOCK TABLE configtrail.audit IN ACCESS SHARE MODE"
            )
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
            raise TableChanged(Audit.name, "its table is not there") from error
        # In the snapshot of the rows: events may be on their way into them.
        found = (await checkpoints(connection)).get(Audit.name)
        if found is not None and found.version > Audit.version:
            raise NewerProjection(Audit.name, found.version, Audit.version)
        # After the version: a newer program's table may well be another one.
        await _check_table(connection)
        self._connection = connection
        return found.position if found is not None else 0

    async def joined(self, first: int, last: int, count: int) -> Joined:
        """See `AuditRows.joined`."""
        found = await self._opened.fetchrow(JOINED_QUERY, first, last, count)
        assert found is not None
        return tuple(found)

    async def lines(self, first: int, last: int) -> AsyncGenerator[bytes, None]:
        """See `AuditRows.lines`."""
        after: tuple[int, int] = (first, 0)
        while text := await self._page(*after, last):
            after = _end_of(text, after)
            yield text

    async def strays(self) -> AsyncGenerator[bytes, None]:
        """See `AuditRows.strays`."""
        passed = 0
        while text := await self._copied("position IS NULL", passed):
            passed += text.count(b"\n")
            yield text

    async def close(self) -> None:
        """See `AuditRows.close`."""
        self._connection = None
        await self._stack.aclose()

    @property
    def _opened(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("the rows are not opened")
        return self._connection

    async def _page(self, position: int, passed: int, last: int) -> bytes:
        """The next rows behind so many of a position; nothing when there are none. Who took the
        table's key away may have added rows of a position that is there."""
        return await self._copied(f"position BETWEEN '{position}' AND '{last}'", passed)

    async def _copied(self, which: str, passed: int) -> bytes:
        parts: list[bytes] = []

        async def take(part: bytes) -> None:
            parts.append(part)

        query = (
            f"{ROW_QUERY} WHERE {which} ORDER BY position, ctid LIMIT {self._size} OFFSET {passed}"
        )
        await self._opened.copy_from_query(query, output=take)
        return b"".join(parts)


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


def _end_of(text: bytes, before: tuple[int, int]) -> tuple[int, int]:
    """The last position of a page, and how many of its rows were taken, on this page and before."""
    begin = text.rfind(b"\n", 0, -1) + 1
    start, count = text[begin : text.index(b"\t", begin) + 1], 1
    while begin:
        begin = text.rfind(b"\n", 0, begin - 1) + 1
        if not text.startswith(start, begin):
            break
        count += 1
    position = position_in(start)
    if before[0] == position:
        count += before[1]
    return position, count
