"""Rows of the audit trail as they are copied are the rows that the fold gives, byte by byte."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.envelope import StoredEvent
from projections import binary
from projections.audit.encoding import COLUMNS, record
from projections.audit.write import COLUMNS as FOLDED
from projections.audit.write import fold
from tests.generators import played

EVENTS = [stored for seed in range(4) for stored in played(seed, 200).events]
IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# At the very ends of the calendar another zone has no such time.
TIMES = st.datetimes().filter(lambda time: 1 < time.year < 9999)


def in_steps(stored: StoredEvent) -> bytes:
    """The row as the fold gives it, encoded value by value."""
    values = dict(zip(FOLDED, fold([stored])[0], strict=True))
    return binary.row([values[name] for name in COLUMNS])


@given(
    st.sampled_from(EVENTS),
    st.fixed_dictionaries(
        {},
        optional={
            "position": st.integers(1, (1 << 63) - 1),
            "version": st.integers(0, 10**18 - 1),
            "occurred_at": TIMES | st.builds(datetime.astimezone, TIMES, ZONES),
            "event_id": IDS,
            # No table takes one with NUL, in either form.
            "device_id": IDS.filter(lambda one: "\x00" not in one),
            "correlation_id": st.none() | IDS,
            "causation_id": st.none() | IDS,
        },
    ),
)
@settings(max_examples=300, deadline=None)
def test_a_row_encoded_in_one_step_is_the_one_that_the_fold_gives(
    stored: StoredEvent, other: dict[str, object]
) -> None:
    changed = msgspec.structs.replace(stored, **other)
    assert record(changed) == in_steps(changed)


def test_every_event_of_a_history_has_the_row_of_its_fold() -> None:
    for stored in EVENTS:
        assert record(stored) == in_steps(stored)


@given(st.lists(st.binary(max_size=400_000), max_size=8))
@settings(max_examples=50, deadline=None)
def test_a_copy_in_pieces_is_the_whole(rows: list[bytes]) -> None:
    found = list(binary.pieces(rows))
    assert b"".join(found) == binary.HEADER + b"".join(rows) + binary.TRAILER
    assert all(len(one) <= (1 << 19) + 400_000 + len(binary.HEADER) for one in found)


@pytest.mark.parametrize("value", [b"bytes", 1.5, object()])
def test_what_no_field_holds_is_an_error(value: object) -> None:
    with pytest.raises(TypeError, match="no field of a binary COPY"):
        binary.row([value])
