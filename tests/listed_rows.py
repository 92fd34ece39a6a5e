"""Rows of the audit read model that are a list, told as Postgres tells them."""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from adapters.tlog.row_columns import Joined, microseconds_of
from adapters.tlog.row_text import row_line
from projections.audit.write import COLUMNS

Row = tuple[Any, ...]


class ListedRows:
    """`adapters.tlog.row_pages.AuditRows` in memory, a few lines a page."""

    def __init__(self, projected: int, rows: Sequence[Row], size: int = 50) -> None:
        self._projected = projected
        self._rows = sorted(rows, key=lambda row: row[0])
        self._size = size

    async def open(self) -> int:
        return self._projected

    async def joined(self, first: int, last: int, count: int) -> Joined:
        return joined_in_postgres(self._between(first, last)[: count + 1])

    async def lines(self, first: int, last: int) -> AsyncGenerator[bytes, None]:
        rows = self._between(first, last)
        for start in range(0, len(rows), self._size):
            yield b"".join(map(row_line, rows[start : start + self._size]))

    async def strays(self) -> AsyncGenerator[bytes, None]:
        for _ in ():
            yield b""

    async def close(self) -> None:
        pass

    def _between(self, first: int, last: int) -> list[Row]:
        return [row for row in self._rows if first <= row[0] <= last]


def joined_in_postgres(rows: Sequence[Row]) -> Joined:
    """What Postgres makes of rows that it holds: said anew, and slowly."""
    answer: list[str | bytes | int | None] = []
    for place, name in enumerate(COLUMNS):
        there = [row[place] for row in rows if row[place] is not None]
        if name in ("position", "version", "occurred_at", "stored_at"):
            numbers = there if isinstance(there[0] if there else 0, int) else []
            numbers = numbers or [microseconds_of(one) for one in there]
            packed = b"".join(struct.pack(">q", one) for one in numbers)
            answer.append(packed if there else None)
        else:
            nullable = name in ("correlation_id", "causation_id")
            told = [row[place] for row in rows] if nullable else there
            texts = ["\x02" if one is None else one for one in told]
            texts = ["\x01" if len(one.encode()) > 16_384 else one for one in texts]
            answer += ("\x01".join(texts) if texts else None, len(there))
    return tuple(answer)
