"""What observations that arrive late mean for a device, and in whatever order."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.device import (
    DeviceState,
    History,
)
from domain.events import (
    DuplicateSkipped,
    SnapshotCreated,
)
from domain.observation import Observation
from tests.observed import Device, at, of, seen


def test_a_redelivery_is_recorded_however_late_it_comes() -> None:
    device = Device()
    observations = [seen("A", 1), seen("A", 2), seen("B", 3), seen("A", 4), seen("C", 5)]
    device.observed(*observations)
    before = device.state
    assert device.observed(*observations, *reversed(observations)) == [None] * 10
    assert device.state == before


def test_a_late_one_between_two_is_compared_with_its_neighbours_and_never_current() -> None:
    device = Device()
    first, last, late = seen("A", 1), seen("C", 5), seen("B", 3)
    *_, event = device.observed(first, last, late)
    assert isinstance(event, SnapshotCreated)
    assert event.predecessor is not None
    assert event.successor is not None
    assert event.predecessor.snapshot_id == of(first)
    assert event.successor.snapshot_id == of(last)
    assert device.current == of(last)
    assert device.state.last_observed_at == at(5)
    assert device.state.pending_diffs == (
        (of(first), of(last)),
        (of(first), of(late)),
        (of(late), of(last)),
    )


def test_a_late_one_before_all_others_has_a_successor_only() -> None:
    device = Device()
    first, late = seen("B", 5), seen("A", 1)
    *_, event = device.observed(first, late)
    assert isinstance(event, SnapshotCreated)
    assert event.predecessor is None
    assert event.successor is not None
    assert device.current == of(first)
    assert device.state.pending_diffs == ((of(late), of(first)),)


def test_a_late_one_that_splits_a_confirmed_range_is_a_change_and_a_change_back() -> None:
    device = Device()
    first, again, late = seen("A", 1), seen("A", 5), seen("B", 3)
    *_, event = device.observed(first, again, late)
    assert isinstance(event, SnapshotCreated)
    assert event.predecessor == event.successor
    assert device.current == of(first)
    assert device.state.pending_diffs == ((of(first), of(late)), (of(late), of(first)))


def test_a_late_one_within_a_confirmed_range_confirms_it() -> None:
    device = Device()
    *_, event = device.observed(seen("A", 1), seen("A", 5), seen("A", 3))
    assert isinstance(event, DuplicateSkipped)
    assert event.late
    assert device.state.last_observed_at == at(5)


def test_a_late_one_equal_to_its_predecessor_confirms_that() -> None:
    device, first = Device(), seen("A", 1)
    *_, event = device.observed(first, seen("B", 5), seen("A", 3))
    assert isinstance(event, DuplicateSkipped)
    assert event.snapshot_id == of(first)
    assert event.late


@pytest.mark.parametrize("before", [[], [seen("A", 1)]])
def test_a_late_one_equal_to_its_successor_shows_it_earlier(before: list[Observation]) -> None:
    device, successor = Device(), seen("B", 5)
    *_, event = device.observed(*before, successor, seen("B", 3))
    assert isinstance(event, DuplicateSkipped)
    assert event.snapshot_id == of(successor)
    assert event.late
    assert device.state.last_observed_at == at(5)


def test_at_equal_times_the_later_arrival_counts_as_later() -> None:
    device, one, two = Device(), seen("A", 1), seen("B", 1)
    *_, event = device.observed(one, two)
    assert isinstance(event, SnapshotCreated)
    assert event.predecessor is not None
    assert event.predecessor.snapshot_id == of(one)
    assert event.successor is None
    assert device.current == of(two)
    assert device.observed(one, two) == [None, None]


def test_at_the_time_of_an_earlier_one_a_late_arrival_stands_after_it() -> None:
    device, one, last, late = Device(), seen("A", 1), seen("C", 2), seen("B", 1)
    *_, event = device.observed(one, last, late)
    assert isinstance(event, SnapshotCreated)
    assert event.predecessor is not None
    assert event.predecessor.snapshot_id == of(one)
    assert event.successor is not None
    assert event.successor.snapshot_id == of(last)


_OBSERVATIONS = st.lists(
    st.builds(
        seen,
        st.sampled_from("ABC"),
        st.integers(0, 6),
        text=st.sampled_from(["", "x"]),
        canonical=st.sampled_from(["routeros/1", "routeros/1", "routeros/2"]),
    ),
    unique_by=lambda one: one.observation_id,
    max_size=12,
)


@st.composite
def _deliveries(draw: st.DrawFn) -> tuple[list[Observation], list[Observation]]:
    observations = draw(_OBSERVATIONS)
    repeats = draw(st.lists(st.sampled_from(observations))) if observations else []
    return observations, draw(st.permutations([*observations, *repeats]))


@given(_deliveries())
def test_any_deliveries_give_one_fact_an_observation_and_a_history_in_order(
    made: tuple[list[Observation], list[Observation]],
) -> None:
    observations, deliveries = made
    device = Device()
    running = History()
    for delivery in deliveries:
        stored = device.observe(delivery)
        if stored is not None:
            running = running.extended(stored)

    facts = [stored.event for stored in device.events]
    told = Counter(getattr(fact, "observation_id", None) for fact in facts)
    assert told == Counter(one.observation_id for one in observations)
    assert [stored.version for stored in device.events] == list(range(1, len(facts) + 1))

    history = History.of(device.events)
    assert history == running
    times = [sighting.collected_at for sighting in history.sightings]
    assert times == sorted(one.collected_at for one in observations)

    by_id = {one.observation_id: one for one in observations}
    snapshots = {fact.snapshot_id: fact for fact in facts if isinstance(fact, SnapshotCreated)}
    assert set(snapshots) == {of(by_id[fact.observation_id]) for fact in snapshots.values()}
    for sighting in history.sightings:
        assert sighting.snapshot.shows(by_id[sighting.observation_id])
    for fact in facts:
        if isinstance(fact, DuplicateSkipped):
            snapshot = snapshots[fact.snapshot_id]
            observation = by_id[fact.observation_id]
            assert snapshot.fingerprint == observation.fingerprint
            assert snapshot.canonical == observation.canonical

    if history.sightings:
        newest = history.sightings[-1]
        assert device.state.current == newest.snapshot
        assert device.state.last_observed_at == newest.collected_at
        assert device.state.last_observation_id == newest.observation_id
    else:
        assert device.state == DeviceState()

    pending = device.state.pending_diffs
    for fact in snapshots.values():
        if fact.predecessor is not None:
            assert (fact.predecessor.snapshot_id, fact.snapshot_id) in pending
        if fact.successor is not None:
            assert (fact.snapshot_id, fact.successor.snapshot_id) in pending


@given(_OBSERVATIONS)
def test_in_time_order_only_changes_are_snapshots(observations: list[Observation]) -> None:
    device = Device()
    ordered = sorted(observations, key=lambda one: one.collected_at)
    events = device.observed(*ordered)
    for index, event in enumerate(events):
        one, previous = ordered[index], ordered[index - 1] if index else None
        same = previous is not None and (
            (one.fingerprint, one.canonical) == (previous.fingerprint, previous.canonical)
        )
        assert isinstance(event, DuplicateSkipped if same else SnapshotCreated)
