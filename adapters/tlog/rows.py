"""The rows of the audit read model beside those that the events give."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from adapters.tlog.row_pages import Page
from adapters.tlog.row_text import NOWHERE, position_in, row_line, row_text
from domain.envelope import StoredEvent
from domain.tlog.findings import Finding, Kind
from projections.audit.write import fold

MOST_FINDINGS = 1_000


class Rows:
    """The rows of the read model beside those that the events give, both by position.

    An event beyond the read model's own checkpoint is not missed there: its row is on its way. But
    rows come in order, so none is that stands before one that is there. A row that is there is
    compared wherever it is. So a checkpoint that was put back hides nothing.
    """

    def __init__(self, pages: AsyncGenerator[Page, None]) -> None:
        self._pages = pages
        # Lines that were not looked at begin at that place of the text.
        self._text = b""
        self._at = 0
        self._ended = False
        self._projected = 0
        self._until = 0
        self.compared = 0
        self.awaited = 0
        # Of those, the first ones.
        self.late: list[int] = []

    async def compare(self, stored: Sequence[StoredEvent], until: int) -> list[Finding]:
        """The rows up to a position against those of the events."""
        self._until = until
        rows = fold(stored)
        text = row_text(rows)
        # Nearly always they are the same, and then the last one is that of the position.
        if rows and rows[-1][0] == until:
            while len(self._text) - self._at < len(text) and await self._more():
                pass
            if self._text.startswith(text, self._at) and text.count(b"\n") == len(rows):
                self._at += len(text)
                self.compared += len(rows)
                return self._overdue()
        missing = {row[0]: row for row in rows}
        findings: list[Finding] = []
        strange = last = 0
        while (line := await self._line()) and (position := position_in(line)) <= until:
            self._at += len(line)
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

    async def beyond(self, head: int) -> list[Finding]:
        """Rows of positions that the stream does not have, and further ones of the last event."""
        left: list[Finding] = []
        while len(left) < MOST_FINDINGS and (line := await self._line()):
            self._at += len(line)
            position = position_in(line)
            # What came since the last events were read has rows, rightly.
            if position > head or position <= self._until:
                left.append(_inserted(position))
        return left

    async def close(self) -> None:
        """Let go of the connection that the rows come by."""
        await self._pages.aclose()

    async def _line(self) -> bytes:
        """The next line that was not looked at; none when there is none."""
        while self._at >= len(self._text) and await self._more():
            pass
        return self._text[self._at : self._text.find(b"\n", self._at) + 1]

    async def _more(self) -> bool:
        """Fetch the next page, if there is one."""
        page = None if self._ended else await anext(self._pages, None)
        if page is None:
            self._ended = True
            return False
        self._projected = page.projected
        self._text, self._at = self._text[self._at :] + page.text, 0
        return True


def _missing(position: int) -> Finding:
    return _row_finding("missing", position, "its event is there")


def _inserted(position: int) -> Finding:
    if position == NOWHERE:
        return _row_finding("inserted", 0, "it has no position, so no event says it")
    return _row_finding("inserted", position, "no event says it")


def _row_finding(kind: Kind, position: int, detail: str) -> Finding:
    return Finding("audit row", kind, position, detail)
