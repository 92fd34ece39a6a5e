"""Rows are compared with events the same, however both are cut into pages and batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.tlog.row_pages import Page
from adapters.tlog.row_text import row_line, row_text
from adapters.tlog.rows import Rows
from projections.audit.write import fold
from tests.generators import played

EVENTS = played(7, 60).events
TRUE = fold(EVENTS)


Row = tuple[Any, ...]


def cut(items: Sequence[Row], places: list[int]) -> list[Sequence[Row]]:
    """The items in pages, some of which may be empty."""
    ends = sorted(min(place, len(items)) for place in places)
    return [items[a:b] for a, b in zip([0, *ends], [*ends, len(items)], strict=True)]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_row_that_is_not_as_its_event_says_is_named_once(data: st.DataObject) -> None:
    kinds = st.sampled_from(["altered", "missing"])
    wrong = data.draw(st.dictionaries(st.integers(1, len(TRUE)), kinds, max_size=5))
    strange = data.draw(st.sets(st.sampled_from([-1, 0, len(TRUE) + 1, len(TRUE) + 9])))
    rows = [
        (*row[:-1], row[-1] + " ") if row[0] in wrong else row
        for row in TRUE
        if wrong.get(row[0]) != "missing"
    ]
    rows = sorted([*rows, *((place, *TRUE[0][1:]) for place in strange)], key=lambda row: row[0])
    projected = data.draw(st.integers(0, len(EVENTS)) | st.just(len(EVENTS)))
    places = st.lists(st.integers(0, len(rows)), max_size=6)
    pages, ends = cut(rows, data.draw(places)), data.draw(places)

    async def stored() -> AsyncGenerator[Page, None]:
        for page in pages:
            yield Page(projected, b"".join(map(row_line, page)))

    async def compared() -> list[tuple[str, int]]:
        comparing = Rows(stored())
        found = []
        begin = 0
        for end in sorted({min(one, len(EVENTS)) for one in ends} | {len(EVENTS)}):
            if end > begin:
                found += await comparing.compare(EVENTS[begin:end], end)
                begin = end
        found += await comparing.beyond(len(EVENTS))
        await comparing.close()
        assert comparing.compared == len([row for row in rows if row[0] <= len(TRUE)])
        assert comparing.awaited == len(awaited)
        return [(one.kind, one.position) for one in found]

    # Where a later row is there that is as it should be, none is on its way any more.
    last = max((row[0] for row in TRUE if row[0] not in wrong), default=0)
    awaited = {
        place for place, kind in wrong.items() if kind == "missing" and place > max(projected, last)
    }
    expected = [(kind, position) for position, kind in wrong.items() if position not in awaited]
    expected += [("inserted", position) for position in strange]
    assert sorted(asyncio.run(compared())) == sorted(expected)


TEXTS = st.text(st.sampled_from("\\bnNt\b\t\n\r"), max_size=3)
WHEN = TRUE[0][3]
SPELT = st.tuples(
    st.integers(1, 2),
    *(TEXTS,) * 2,
    *(st.just(WHEN),) * 2,
    *(TEXTS,) * 5,
    st.integers(1, 2),
    *(st.none() | TEXTS,) * 2,
    TEXTS,
)


@settings(max_examples=2_000, deadline=None)
@given(st.data(), SPELT, st.sampled_from([0, 1, 2, *range(5, 14)]))
def test_a_row_that_is_spelt_quickly_is_like_no_other(
    data: st.DataObject, row: Row, column: int
) -> None:
    values = st.integers(1, 2) if column in (0, 10) else TEXTS
    value = data.draw(st.none() | TEXTS if column in (11, 12) else values)
    other = (*row[:column], value, *row[column + 1 :])
    quick = row_text([row])
    if quick == row_line(other) and quick.count(b"\n") == 1:
        assert row == other
