"""What observations mean for a device, in whatever order they arrive."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.collecting import failure_told
from domain.decisions import (
    MOST_SECTIONS,
    collection_failed,
    confirmed,
    created,
    diffed,
    finished,
    recanonicalised,
    triggered,
)
from domain.device import (
    MOST_KINDS,
    AlreadyRecorded,
    Confirms,
    DeviceState,
    History,
    IsNew,
    classify,
    evolve,
    needs_history,
)
from domain.envelope import Head, NewEvent, StoredEvent, new_event
from domain.events import (
    ContentRef,
    DeviceRetired,
    DiffGenerated,
    DuplicateSkipped,
    SectionChange,
    SnapshotCreated,
    decode_event,
    encode_event,
)
from domain.ids import snapshot_id
from domain.observation import Observation

DAY = datetime(2025, 1, 1, tzinfo=UTC)
CONTENT = ContentRef(sequence=1, commitment="00" * 32)


def at(hour: int) -> datetime:
    return DAY + timedelta(hours=hour)


def seen(
    configuration: str,
    hour: int,
    *,
    text: str = "",
    canonical: str = "routeros/1",
    platform: str = "routeros",
) -> Any:
    """An observation of a configuration (a letter) at an hour, in a text of its own or not."""
    name = f"{configuration}{text}@{hour}{canonical}"
    return Observation(
        observation_id=name.encode().hex().rjust(32, "0")[-32:],
        tenant_id="acme",
        device_id="edge1",
        collected_at=at(hour),
        fingerprint=f"fingerprint of {configuration}",
        text_fingerprint=f"fingerprint of {configuration}{text}",
        canonical=canonical,
        size_bytes=10,
        line_count=1,
        platform=platform,
        os_version=None,
        source="scheduled",
        completeness="complete",
    )


class Device:
    """A device's branch in memory: decisions appended, state folded."""

    def __init__(self) -> None:
        self.events: list[StoredEvent] = []
        self.state = DeviceState()

    def append(self, new: NewEvent) -> StoredEvent:
        stored = StoredEvent(
            position=len(self.events) * 3 + 1,
            version=len(self.events) + 1,
            stored_at=DAY,
            event_id=new.event_id,
            tenant_id=new.tenant_id,
            device_id=new.device_id,
            occurred_at=new.occurred_at,
            event=decode_event(encode_event(new.event)),
        )
        self.events.append(stored)
        self.state = evolve(self.state, stored)
        return stored

    def observe(self, observation: Observation) -> StoredEvent | None:
        history = History.of(self.events) if needs_history(self.state, observation) else None
        match classify(self.state, observation, history):
            case Confirms() as verdict:
                return self.append(confirmed(observation, verdict))
            case IsNew() as verdict:
                return self.append(created(observation, verdict, CONTENT))
            case AlreadyRecorded():
                return None

    def observed(self, *observations: Observation) -> list[Any]:
        return [stored.event if stored else None for stored in map(self.observe, observations)]

    @property
    def current(self) -> str | None:
        return self.state.current.ref.snapshot_id if self.state.current else None


def of(observation: Observation) -> str:
    return snapshot_id(observation.observation_id)


def test_the_first_observation_is_a_snapshot_without_predecessor() -> None:
    device, first = Device(), seen("A", 1)
    (event,) = device.observed(first)
    assert isinstance(event, SnapshotCreated)
    assert event.predecessor is None
    assert event.successor is None
    assert event.snapshot_id == of(first)
    assert device.current == of(first)
    assert device.state.pending_diffs == ()
    assert device.state.head == Head(1, 1)


def test_the_same_configuration_later_confirms_the_snapshot() -> None:
    device, first, second = Device(), seen("A", 1), seen("A", 2, text="other header")
    _, event = device.observed(first, second)
    assert isinstance(event, DuplicateSkipped)
    assert event.snapshot_id == of(first)
    assert event.text_fingerprint == second.text_fingerprint
    assert not event.late
    assert device.state.last_observed_at == at(2)
    assert device.current == of(first)


def test_another_configuration_is_a_snapshot_with_a_difference_to_tell() -> None:
    device, first, second = Device(), seen("A", 1), seen("B", 2)
    _, event = device.observed(first, second)
    assert isinstance(event, SnapshotCreated)
    assert event.predecessor is not None
    assert event.predecessor.snapshot_id == of(first)
    assert event.successor is None
    assert device.current == of(second)
    assert device.state.pending_diffs == ((of(first), of(second)),)


def test_a_change_back_to_an_earlier_configuration_is_a_new_snapshot() -> None:
    device = Device()
    first, second, third = seen("A", 1), seen("B", 2), seen("A", 3)
    *_, event = device.observed(first, second, third)
    assert isinstance(event, SnapshotCreated)
    assert event.snapshot_id == of(third) != of(first)
    assert event.fingerprint == first.fingerprint
    assert device.current == of(third)


def test_a_form_under_other_rules_confirms_nothing() -> None:
    device = Device()
    *_, event = device.observed(seen("A", 1), seen("A", 2, canonical="routeros/2"))
    assert isinstance(event, SnapshotCreated)


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


def test_the_newest_observations_are_judged_without_history() -> None:
    device, newest = Device(), seen("A", 3)
    device.observed(seen("A", 1), newest)
    assert not needs_history(device.state, newest)
    assert not needs_history(device.state, seen("B", 4))
    assert needs_history(device.state, seen("B", 3))
    assert needs_history(device.state, seen("A", 2))
    with pytest.raises(ValueError, match="whole history"):
        classify(device.state, seen("A", 2))


def test_the_same_decision_has_the_same_event_id() -> None:
    one, two = Device(), Device()
    observation = seen("A", 1)
    first, second = one.observe(observation), two.observe(observation)
    assert first is not None
    assert second is not None
    assert first.event_id == second.event_id == f"observation.{observation.observation_id}"
    assert first.occurred_at == observation.collected_at


def test_a_difference_is_told_once() -> None:
    device, first, second = Device(), seen("A", 1), seen("B", 2)
    device.observed(first, second)

    def told() -> NewEvent | None:
        return diffed(
            device.state,
            "acme",
            "edge1",
            from_snapshot_id=of(first),
            to_snapshot_id=of(second),
            content=CONTENT,
            lines_added=1,
            lines_removed=2,
            sections=(),
            coarse=False,
            occurred_at=at(3),
        )

    new = told()
    assert new is not None
    assert isinstance(device.append(new).event, DiffGenerated)
    assert device.state.pending_diffs == ()
    assert told() is None


def test_of_too_many_sections_the_rest_is_counted() -> None:
    device, first, second = Device(), seen("A", 1), seen("B", 2)
    device.observed(first, second)
    sections = tuple(
        SectionChange(section=f"/ip menu-{n}", added=1, removed=0) for n in range(MOST_SECTIONS + 3)
    )
    new = diffed(
        device.state,
        "acme",
        "edge1",
        from_snapshot_id=of(first),
        to_snapshot_id=of(second),
        content=CONTENT,
        lines_added=1,
        lines_removed=2,
        sections=sections,
        coarse=False,
        occurred_at=at(3),
    )
    assert new is not None
    assert isinstance(new.event, DiffGenerated)
    assert new.event.sections == sections[:MOST_SECTIONS]
    assert new.event.sections_more == 3


def test_an_observation_is_compared_by_the_rules_of_the_snapshot() -> None:
    device, first = Device(), seen("A", 1)
    device.observed(first)
    same = replace(seen("A", 2, canonical="routeros/2"), older=(("routeros/1", first.fingerprint),))
    other = replace(seen("A", 3, canonical="routeros/2"), older=(("routeros/1", "another"),))
    events = device.observed(same, other)
    assert [type(event) for event in events] == [DuplicateSkipped, SnapshotCreated]


@pytest.mark.parametrize("forgotten", ["text", "cisco"])
def test_a_text_of_which_nobody_knew_the_platform_is_recorded_anew_with_it(forgotten: str) -> None:
    device, first = Device(), seen("A", 1, canonical="plain/1", platform=forgotten)
    known = [
        replace(
            seen("A", hour, canonical="ios/3", platform="ios"),
            older=(("plain/1", first.fingerprint),),
        )
        for hour in (2, 3)
    ]
    again = replace(
        seen("A", 4, canonical="plain/1", platform=forgotten),
        older=(("ios/3", first.fingerprint),),
    )
    events = device.observed(first, *known, again)
    assert [type(event) for event in events] == [
        SnapshotCreated,
        SnapshotCreated,
        DuplicateSkipped,
        DuplicateSkipped,
    ]


def test_a_recanonicalised_snapshot_is_compared_by_its_new_rules() -> None:
    device, first, second = Device(), seen("A", 1), seen("B", 5)
    device.observed(first, second)
    for observation in (first, second):
        device.append(
            recanonicalised(
                "acme",
                "edge1",
                snapshot_id=of(observation),
                fingerprint=f"new {observation.fingerprint}",
                canonical="routeros/2",
                previous_canonical="routeros/1",
                actor="user:ada",
                occurred_at=at(6),
            )
        )
    assert History.of(device.events).rules == {"routeros/2"}
    late, newest = (
        replace(one, fingerprint=f"new {one.fingerprint}", canonical="routeros/2")
        for one in (seen("A", 2, text="x"), seen("B", 7, text="x"))
    )
    events = device.observed(late, newest)
    assert [type(event) for event in events] == [DuplicateSkipped, DuplicateSkipped]
    assert [event.snapshot_id for event in events] == [of(first), of(second)]


def test_a_manual_backup_is_open_until_its_end_is_told_once() -> None:
    device = Device()
    for trigger in ("t1", "t2"):
        device.append(
            triggered("acme", "edge1", trigger_id=trigger, actor="user:ada", occurred_at=at(1))
        )
    assert list(device.state.open_triggers) == ["t1", "t2"]

    def ended() -> NewEvent | None:
        return finished(
            device.state,
            "acme",
            "edge1",
            trigger_id="t1",
            actor="user:ada",
            outcome="failed",
            occurred_at=at(2),
        )

    new = ended()
    assert new is not None
    assert new.causation_id == "trigger.t1"
    device.append(new)
    assert list(device.state.open_triggers) == ["t2"]
    assert ended() is None


def test_a_failed_reading_changes_nothing_but_the_head() -> None:
    device = Device()
    device.observe(seen("A", 1))
    before = device.state
    device.append(
        collection_failed(
            "acme",
            "edge1",
            failure_id="f1",
            kind="timeout",
            message="no answer",
            attempted_at=at(2),
            source="scheduled",
        )
    )
    assert device.state.head == Head(2, 4)
    assert device.state.last_failure_id == "f1"
    assert device.state.last_failure_at == at(2)
    assert device.state.current == before.current
    assert device.state.last_observed_at == before.last_observed_at


def test_of_the_kinds_of_failure_that_were_told_the_newest_are_known() -> None:
    device = Device()
    kinds = [f"kind{number}" for number in range(MOST_KINDS + 2)]
    for hour, kind in enumerate([*kinds, kinds[-2]]):
        device.append(
            collection_failed(
                "acme",
                "edge1",
                failure_id=f"f{hour}",
                kind=kind,
                message="no answer",
                attempted_at=at(hour),
                source="scheduled",
            )
        )
    assert device.state.failing_kinds == (*kinds[2:-2], kinds[-1], kinds[-2])


def test_a_device_that_is_back_in_the_inventory_has_no_failures_told() -> None:
    device = Device()
    failed = partial(
        failure_told,
        tenant_id="acme",
        device_id="edge1",
        kind="timeout",
        message="no answer",
        attempted_at=at(2),
        source="scheduled",
        attempt=1,
        trigger_id=None,
        registered=False,
    )
    told = failed(device.state, failure_id="f1")
    assert told is not None
    device.append(told)
    assert failed(device.state, failure_id="f2") is None
    device.append(
        new_event(
            "acme", "edge1", "retired.1", at(3), DeviceRetired(actor="user:ann", change_id="1")
        )
    )
    assert failed(device.state, failure_id="f3") is not None
    assert failed(device.state, failure_id="f3", registered=True) is None


def test_a_missing_or_repeated_version_is_refused() -> None:
    device = Device()
    device.observed(seen("A", 1), seen("B", 2))
    with pytest.raises(ValueError, match="version 1 follows version 2"):
        evolve(device.state, device.events[0])
    with pytest.raises(ValueError, match="version 2 follows version 0"):
        evolve(DeviceState(), device.events[1])


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
