"""The rows of the audit read model beside those that the events give."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import msgspec

from adapters.tlog.evidence import Row
from domain.envelope import StoredEvent
from domain.tlog.findings import Finding, Kind
from projections.audit.write import fold

MOST_FINDINGS = 1_000


class Rows:
    """The rows of the read model beside those that the events give, both by position."""

    def __init__(self, pages: AsyncGenerator[Sequence[Row], None]) -> None:
        self._pages = pages
        self._page: Sequence[Row] = ()
        self._at = 0
        self._ended = False
        self.compared = 0

    async def compare(self, stored: Sequence[StoredEvent], until: int) -> list[Finding]:
        """The rows up to a position against those of the events."""
        findings: list[Finding] = []
        wanted = {row[0]: _comparable(row) for row in fold(stored)}
        for row in await self._up_to(until):
            expected = wanted.pop(row[0], None)
            if expected is None:
                findings.append(_row_finding("inserted", row[0], "no event says it"))
            elif expected != row:
                findings.append(_row_finding("altered", row[0], "it differs from its event"))
        findings += [_row_finding("missing", position, "its event is there") for position in wanted]
        return sorted(findings, key=lambda one: one.position)

    async def beyond(self, head: int) -> list[Finding]:
        """Rows of positions that the stream does not have."""
        left: list[Finding] = []
        while (row := await self._next()) and len(left) < MOST_FINDINGS:
            self._at += 1
            if row[0] > head:
                left.append(_row_finding("inserted", row[0], "no event says it"))
        await self._pages.aclose()
        return left

    async def _up_to(self, until: int) -> list[Row]:
        found: list[Row] = []
        while (row := await self._next()) and row[0] <= until:
            found.append(row)
            self._at += 1
        self.compared += len(found)
        return found

    async def _next(self) -> Row | None:
        while self._at >= len(self._page) and not self._ended:
            page = await anext(self._pages, None)
            self._page, self._at, self._ended = page or (), 0, page is None
        return None if self._ended else self._page[self._at]


def _comparable(row: Row) -> Row:
    return (*row[:-1], msgspec.json.decode(row[-1]))


def _row_finding(kind: Kind, position: int, detail: str) -> Finding:
    return Finding("audit row", kind, position, detail)
