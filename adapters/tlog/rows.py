"""The rows of the audit read model beside those that the events give."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final

from adapters.tlog.row_columns import Joined, joined
from adapters.tlog.row_pages import FIRST, LAST, AuditRows
from adapters.tlog.row_text import NOWHERE, position_in, row_line
from domain.envelope import StoredEvent
from domain.tlog.findings import Finding, Kind
from projections.audit.write import fold

MOST_FINDINGS = 1_000
# Positions that are compared at once.
RANGE: Final = 1_000


class Rows:
    """The rows of the read model beside those that the events give, both by position.

    They are compared a range of positions at a time, all at once; where they are not the same, one
    by one. Postgres works out a range while the events of it are read.

    An event beyond the read model's own checkpoint is not missed there: its row is on its way. But
    rows come in order, so none is that stands before one that is there. A row that is there is
    compared wherever it is. So a checkpoint that was put back hides nothing.
    """

    def __init__(self, table: AuditRows, size: int = RANGE) -> None:
        self._table = table
        self._size = size
        self._opened = False
        self._projected = 0
        # The range that the next event is of, what Postgres has there, and what it should have.
        self._first, self._last = FIRST, size
        self._coming: asyncio.Task[Joined] | None = None
        self._rows: list[tuple[Any, ...]] = []
        # The last event that was taken, and the last one whose row was compared.
        self._until = 0
        self.done = 0
        self.compared = 0
        self.awaited = 0
        # Of those, the first ones.
        self.late: list[int] = []

    async def compare(self, stored: Sequence[StoredEvent], until: int) -> list[Finding]:
        """The events up to a position. What is found of rows up to `done`, which follows."""
        await self._open()
        rows, begin = fold(stored), 0
        findings: list[Finding] = []
        while until >= self._last:
            end = begin
            while end < len(rows) and rows[end][0] <= self._last:
                end += 1
            self._rows += rows[begin:end]
            begin = end
            findings += await self._compare_range(self._last)
            await self._go_on(rows[begin][0] if begin < len(rows) else until)
        self._rows += rows[begin:]
        self._until = until
        return findings

    async def rest(self) -> list[Finding]:
        """After the last event: what is found of rows up to it."""
        await self._open()
        return await self._compare_range(self._until) if self._until > self.done else []

    async def beyond(self, head: int) -> list[Finding]:
        """Rows of positions that the stream does not have. It may have more by now than were
        compared: those have rows, rightly."""
        await self._open()
        await self._settle()
        left: list[Finding] = []
        begin = FIRST if not self.done else max(head, self._until) + 1
        for pages in (self._table.lines(begin, LAST), self._table.strays()):
            async with aclosing(_lines(pages)) as lines:
                async for line in lines:
                    if len(left) == MOST_FINDINGS:
                        return left
                    position = position_in(line)
                    if position > head or position <= self._until:
                        left.append(_inserted(position))
        return left

    async def close(self) -> None:
        """Let go of the connection that the rows come by."""
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.wait([self._coming])
            self._coming = None
        await self._table.close()

    async def _open(self) -> None:
        if not self._opened:
            self._projected = await self._table.open()
            self._opened = True
            await self._ask()

    async def _ask(self) -> None:
        asking = self._table.joined(self._first, self._last, self._size)
        self._coming = asyncio.ensure_future(asking)
        # Now it leaves. Where events are here already, nothing waits for long, and Postgres would
        # begin when its answer is needed.
        await asyncio.sleep(0)

    async def _go_on(self, position: int) -> None:
        """The next range, in which that position is, unless it is of the one that is done: where
        the stream lacks a stretch, that is of it too."""
        self._first = self._last + 1
        self._last = max(position, self._first) + self._size - 1
        await self._ask()

    async def _settle(self) -> Joined | None:
        """What was asked for: nothing else may be meanwhile."""
        asked, self._coming = self._coming, None
        return await asked if asked is not None else None

    async def _compare_range(self, until: int) -> list[Finding]:
        """The rows of the range, up to a position of it."""
        there, rows, self._rows = await self._settle(), self._rows, []
        self.done = until
        # Nearly always they are the same.
        if rows and there == joined(rows):
            self.compared += len(rows)
            return self._overdue()
        return await self._compare_rows(rows, until)

    async def _compare_rows(self, rows: Sequence[tuple[Any, ...]], until: int) -> list[Finding]:
        missing = {row[0]: row for row in rows}
        findings: list[Finding] = []
        strange = last = 0
        async with aclosing(_lines(self._table.lines(self._first, until))) as lines:
            async for line in lines:
                position = position_in(line)
                self.compared += 1
                told = missing.pop(position, None)
                if told is not None and row_line(told) == line:
                    last = position
                elif told is not None:
                    findings.append(_row_finding("altered", position, "it differs from its event"))
                elif strange < MOST_FINDINGS:
                    # There may be any number of these.
                    strange += 1
                    findings.append(_inserted(position))
        if last:
            findings += self._overdue()
        known = max(self._projected, last)
        due = [position for position in missing if position <= known]
        self.awaited += len(missing) - len(due)
        more = MOST_FINDINGS - len(self.late)
        self.late += [position for position in missing if position > known][:more]
        findings += [_missing(position) for position in due]
        return sorted(findings, key=lambda one: one.position)

    def _overdue(self) -> list[Finding]:
        """Those that were taken to be on their way, where a later one is there."""
        found = [_missing(position) for position in self.late]
        self.late, self.awaited = [], 0
        return found


async def _lines(pages: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(pages):
        async for text in pages:
            for line in text.splitlines(keepends=True):
                yield line


def _missing(position: int) -> Finding:
    return _row_finding("missing", position, "its event is there")


def _inserted(position: int) -> Finding:
    if position == NOWHERE:
        return _row_finding("inserted", 0, "it has no position, so no event says it")
    return _row_finding("inserted", position, "no event says it")


def _row_finding(kind: Kind, position: int, detail: str) -> Finding:
    return Finding("audit row", kind, position, detail)
