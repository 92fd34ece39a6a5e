"""Where a device's history goes on, whatever lies among its events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.jetstream.places import version_after

foreign = st.one_of(st.none(), st.integers(0, 10**18))


@given(st.integers(0, 50), foreign, st.integers(51, 100))
def test_what_cannot_be_read_moves_no_history_by_more_than_one(
    last: int, told: int | None, position: int
) -> None:
    after = version_after(last, told, position, readable=False)
    assert after == (last + 1 if told == last + 1 else last)


@given(st.integers(0, 50), foreign, st.integers(51, 100))
def test_no_version_is_further_than_its_position(
    last: int, told: int | None, position: int
) -> None:
    after = version_after(last, told, position, readable=True)
    assert after in (last, told)
    assert after <= position


@given(st.lists(foreign, max_size=20))
def test_a_history_goes_on_as_if_what_has_no_place_was_not_there(between: list[int | None]) -> None:
    last = 0
    for position, told in enumerate(between, 1):
        last = version_after(last, told, 2 * position - 1, readable=False)
        last = version_after(last, last + 1, 2 * position, readable=True)
    assert len(between) <= last <= 2 * len(between)
