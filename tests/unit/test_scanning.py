"""Searching one text: what a line is, and which number it has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.scanning import Query, ScanJob, scan
from domain.canonical.form import physical_lines

KEY = bytes(32)


def found(text: str, query: Query) -> list[tuple[int, str]]:
    scanned = scan(ScanJob(text.encode(), "routeros", KEY, "r1", query))
    assert scanned is not None
    return [(one.number, one.text) for one in scanned.lines]


@pytest.mark.parametrize("inside", ["\u2028", "\u2029", "\x85", "\v", "\f", "\x1c"])
def test_only_line_endings_begin_a_line(inside: str) -> None:
    text = f'/system note\nset note="one{inside}two"\n/system identity\nset name=edge\n'
    assert found(text, Query("name=edge")) == [(4, "set name=edge")]
    assert found(text, Query("two")) == [(2, f'set note="one{inside}two"')]


def test_lines_are_those_that_a_text_is_counted_by() -> None:
    for end in ("\n", "\r\n", "\r"):
        text = end.join(["/system identity", "set name=edge", ""])
        assert found(text, Query("name=edge$", is_pattern=True)) == [(2, "set name=edge")]
        # No line follows the last line's end.
        assert found(text, Query("^$", is_pattern=True)) == []
    assert found("", Query("^$", is_pattern=True)) == []


LINES = st.sampled_from(
    ["set name=edge", "set name=core", "# a\fb", "# \v edge", "# edge\x85", "# \u2028 edge", ""]
)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@given(st.lists(st.tuples(LINES, ENDS), max_size=15))
def test_each_line_has_the_number_that_it_has_in_the_text(lines: list[tuple[str, str]]) -> None:
    text = "/system identity\n" + "".join(f"{line}{end}" for line, end in lines)
    wanted = [(at, line) for at, line in enumerate(physical_lines(text), 1) if "edge" in line]
    assert found(text, Query("edge")) == wanted
