"""What observations mean for a device, and what else is told of it."""

from __future__ import annotations

from functools import partial

import pytest
from msgspec.structs import replace

from domain.collecting import failure_told
from domain.decisions import (
    MOST_SECTIONS,
    collection_failed,
    diffed,
    finished,
    recanonicalised,
    triggered,
)
from domain.device import (
    MOST_KINDS,
    DeviceState,
    History,
    classify,
    evolve,
    needs_history,
)
from domain.envelope import Head, NewEvent, new_event
from domain.events import (
    DeviceRetired,
    DiffGenerated,
    DuplicateSkipped,
    SectionChange,
    SnapshotCreated,
)
from tests.observed import CONTENT, Device, at, of, seen


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
