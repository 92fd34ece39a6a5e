"""The rows of the audit read model beside those that the events give."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from operator import itemgetter

from adapters.tlog.evidence import Page, Row
from domain.envelope import StoredEvent
from domain.tlog.findings import Finding, Kind
from projections.audit.write import fold

MOST_FINDINGS = 1_000
_position = itemgetter(0)


class Rows:
    """The rows of the read model beside those that the events give, both by position.

    An event beyond the read model's own checkpoint is not missed there: its row is on its way. A
    row that is there is compared wherever it is, so a checkpoint that was put back hides none.
    """

    def __init__(self, pages: AsyncGenerator[Page, None]) -> None:
        self._pages = pages
        self._page: Sequence[Row] = ()
        self._at = 0
        self._ended = False
        self._projected = 0
        self.compared = 0
        self.awaited = 0

    async def compare(self, stored: Sequence[StoredEvent], until: int) -> list[Finding]:
        """The rows up to a position against those of the events."""
        expected, found = fold(stored), await self._up_to(until)
        self.compared += len(found)
        if expected == found:
            return []
        there = {row[0] for row in found}
        due = [row for row in expected if row[0] <= self._projected or row[0] in there]
        self.awaited += len(expected) - len(due)
        return _differences(due, found)

    async def beyond(self, head: int) -> list[Finding]:
        """Rows of positions that the stream does not have."""
        left: list[Finding] = []
        while len(left) < MOST_FINDINGS and await self._more():
            found = [_inserted(row) for row in self._page[self._at :] if row[0] > head]
            left += found[: MOST_FINDINGS - len(left)]
            self._at = len(self._page)
        return left

    async def close(self) -> None:
        """Let go of the connection that the rows come by."""
        await self._pages.aclose()

    async def _up_to(self, until: int) -> list[Row]:
        found: list[Row] = []
        while await self._more():
            end = bisect_right(self._page, until, self._at, key=_position)
            found += self._page[self._at : end]
            self._at = end
            if end < len(self._page):
                break
        return found

    async def _more(self) -> bool:
        """Whether there is a row that was not looked at; fetches the next page when need be."""
        while self._at >= len(self._page) and not self._ended:
            page = await anext(self._pages, None)
            self._at, self._ended = 0, page is None
            if page is not None:
                self._page, self._projected = page.rows, page.projected
            else:
                self._page = ()
        return not self._ended


def _differences(expected: Sequence[Row], found: Sequence[Row]) -> list[Finding]:
    findings: list[Finding] = []
    wanted = {row[0]: row for row in expected}
    for row in found:
        told = wanted.pop(row[0], None)
        if told is None:
            findings.append(_inserted(row))
        elif told != row:
            findings.append(_row_finding("altered", row[0], "it differs from its event"))
    findings += [_row_finding("missing", position, "its event is there") for position in wanted]
    return sorted(findings, key=lambda one: one.position)


def _inserted(row: Row) -> Finding:
    return _row_finding("inserted", row[0], "no event says it")


def _row_finding(kind: Kind, position: int, detail: str) -> Finding:
    return Finding("audit row", kind, position, detail)
