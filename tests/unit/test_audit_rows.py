"""Rows are compared with events the same, however both are cut into pages and batches."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from adapters.tlog.row_columns import Joined, joined
from adapters.tlog.rows import Rows
from projections.audit.write import COLUMNS, fold
from tests.generators import played
from tests.listed_rows import ListedRows, joined_in_postgres

EVENTS = played(7, 60).events
TRUE = fold(EVENTS)


Row = tuple[Any, ...]


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
    ends = data.draw(st.lists(st.integers(0, len(rows)), max_size=6))
    table = ListedRows(projected, rows, data.draw(st.integers(1, 70)))
    size = data.draw(st.integers(1, 70))

    async def compared() -> list[tuple[str, int]]:
        comparing = Rows(table, size)
        found = []
        begin = 0
        for end in sorted({min(one, len(EVENTS)) for one in ends} | {len(EVENTS)}):
            if end > begin:
                found += await comparing.compare(EVENTS[begin:end], end)
                begin = end
        found += await comparing.rest()
        assert comparing.done == len(EVENTS)
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


class AskedRows(ListedRows):
    """Notes what is asked for."""

    def __init__(self) -> None:
        super().__init__(len(TRUE), TRUE)
        self.asked: list[int] = []

    async def joined(self, first: int, last: int, count: int) -> Joined:
        self.asked.append(first)
        return await super().joined(first, last, count)


async def test_the_next_range_is_asked_for_before_its_events_are_read() -> None:
    """Postgres then works while they are."""
    table = AskedRows()
    comparing = Rows(table, 10)
    await comparing.compare(EVENTS[:9], 9)
    assert table.asked == [-(1 << 63)]
    await comparing.compare(EVENTS[9:10], 10)
    assert table.asked == [-(1 << 63), 11]
    await comparing.close()


MARKS = st.text(st.sampled_from("ab\x01\x02\x03"), max_size=2)
WHENS = st.sampled_from([TRUE[0][3], TRUE[9][3]])
TOLD = st.lists(
    st.tuples(
        st.integers(1, 2),
        *(MARKS,) * 2,
        *(WHENS,) * 2,
        *(MARKS,) * 5,
        st.integers(1, 2),
        *(st.none() | MARKS,) * 2,
        MARKS,
    ),
    max_size=3,
)
# Of the columns, with NULL also where there should be none.
VALUES = (
    *(st.integers(1, 3),),
    *(st.none() | MARKS,) * 2,
    *(st.none() | WHENS,) * 2,
    *(st.none() | MARKS,) * 5,
    *(st.none() | st.integers(1, 3),),
    *(st.none() | MARKS,) * 3,
)


@settings(max_examples=500, deadline=None)
@given(st.data(), TOLD)
def test_rows_that_are_told_column_by_column_are_told_as_no_others_are(
    data: st.DataObject, rows: list[Row]
) -> None:
    other = [list(row) for row in rows]
    kinds = st.lists(st.sampled_from(["edit", "remove", "repeat"]), max_size=3)
    for kind in data.draw(kinds) if rows else ():
        place = data.draw(st.integers(0, len(other) - 1))
        if kind == "edit":
            column = data.draw(st.integers(0, len(COLUMNS) - 1))
            other[place][column] = data.draw(VALUES[column])
        elif kind == "repeat":
            other.append(list(other[place]))
        elif len(other) > 1:
            del other[place]
    held = [tuple(row) for row in other]
    if joined(rows) == joined_in_postgres(held):
        assert held == rows


PAIRS = st.lists(st.none() | MARKS, min_size=1, max_size=4)


@settings(max_examples=500, deadline=None)
@given(PAIRS, PAIRS, st.sampled_from([1, 11, 13]))
def test_no_two_columns_of_texts_are_told_the_same(
    told: list[str | None], held: list[str | None], column: int
) -> None:
    def rows(values: list[str | None]) -> list[Row]:
        return [(*TRUE[0][:column], one, *TRUE[0][column + 1 :]) for one in values]

    if column != 11:  # no event gives NULL there, and somebody may have put it there
        told = [one or "" for one in told]
    if joined(rows(told)) == joined_in_postgres(rows(held)):
        assert told == held


def test_a_stretch_that_the_stream_lacks_is_passed_over_at_once() -> None:
    far = 10**15
    moved = [structs.replace(one, position=one.position + far) for one in EVENTS]
    table = ListedRows(far + len(EVENTS), [(7, *TRUE[0][1:]), *fold(moved)])

    async def compared() -> list[tuple[str, int]]:
        comparing = Rows(table, 10)
        found = await comparing.compare(EVENTS[:1], 1)
        for end in range(20, len(EVENTS) + 20, 20):
            batch = moved[end - 20 : end]
            found += await comparing.compare(batch, batch[-1].position)
        found += await comparing.rest()
        found += await comparing.beyond(far + len(EVENTS))
        await comparing.close()
        return [(one.kind, one.position) for one in found]

    assert asyncio.run(compared()) == [("missing", 1), ("inserted", 7)]
