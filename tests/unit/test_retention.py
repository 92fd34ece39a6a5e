"""What a policy keeps: judged on made-up histories of one device."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.envelope import StoredEvent
from domain.errors import InvalidInput
from domain.events import (
    Completeness,
    ContentRef,
    DeviceRetired,
    DiffGenerated,
    DomainEvent,
    DuplicateSkipped,
    LegalHoldPlaced,
    RetentionPolicy,
    SnapshotCreated,
)
from domain.retention import Holdings, Verdict, check_policy, gone_with, in_words, judge
from tests.generators import played

NOW = datetime(2026, 6, 17, 15, 30, tzinfo=UTC)  # a Wednesday


class Device:
    """A device's events, told by days before now."""

    def __init__(self) -> None:
        self.events: list[StoredEvent] = []

    def tell(self, event: DomainEvent) -> None:
        number = len(self.events) + 1
        self.events.append(
            StoredEvent(
                position=number,
                version=number,
                stored_at=NOW - timedelta(days=500),
                event_id=str(number),
                tenant_id="acme",
                device_id="r1",
                occurred_at=NOW,
                event=event,
            )
        )

    def snapshot(self, name: str, ago: float, completeness: Completeness = "complete") -> Device:
        self.tell(
            SnapshotCreated(
                actor="system:recorder",
                observation_id=name,
                snapshot_id=name,
                fingerprint=name,
                text_fingerprint=name,
                canonical="text/1",
                content=ContentRef(sequence=len(self.events) + 1, commitment=name),
                size_bytes=1,
                line_count=1,
                collected_at=NOW - timedelta(days=ago),
                platform="text",
                source="pushed",
                completeness=completeness,
            )
        )
        return self

    def confirmed(self, name: str, ago: float) -> Device:
        self.tell(
            DuplicateSkipped(
                actor="system:recorder",
                observation_id=f"{name} {ago}",
                snapshot_id=name,
                text_fingerprint=name,
                collected_at=NOW - timedelta(days=ago),
                source="pushed",
            )
        )
        return self

    def diff(self, before: str, after: str) -> Device:
        self.tell(
            DiffGenerated(
                actor="system:differ",
                from_snapshot_id=before,
                to_snapshot_id=after,
                lines_added=1,
                lines_removed=0,
                content=ContentRef(sequence=len(self.events) + 1, commitment="d"),
                changes_content=ContentRef(sequence=1000 + len(self.events), commitment="c"),
            )
        )
        return self

    def judged(self, now: datetime = NOW, **numbers: int) -> list[Verdict]:
        return judge(Holdings.of(self.events), RetentionPolicy(**numbers), now)

    def stays(self, now: datetime = NOW, **numbers: int) -> set[str]:
        return {one.kept.snapshot.snapshot_id for one in self.judged(now, **numbers) if one.reasons}


def test_without_a_policy_everything_stays() -> None:
    device = Device().snapshot("a", 900).snapshot("b", 800)
    assert device.stays() == {"a", "b"}
    assert in_words(RetentionPolicy()) == "everything is kept"


def test_days_keep_what_held_within_them_however_old_it_is() -> None:
    device = Device().snapshot("a", 300).snapshot("b", 200).snapshot("c", 20).snapshot("d", 10)
    # b held until 20 days ago, so the file as of 25 days ago is b.
    assert device.stays(days=30) == {"b", "c", "d"}
    assert device.stays(days=15) == {"c", "d"}
    assert device.stays(days=5) == {"d"}


def test_the_last_ones_are_counted_by_collection() -> None:
    device = Device().snapshot("b", 20).snapshot("c", 10).snapshot("a", 300)
    assert device.stays(last=2) == {"b", "c"}


def test_one_a_day_is_what_held_at_its_end() -> None:
    device = Device()
    for name, ago in (("a", 2.6), ("b", 2.2), ("c", 1.6), ("d", 1.2), ("e", 0.2), ("f", 0.1)):
        device.snapshot(name, ago)
    # 2.6 and 2.2 days ago are both the 15th (15:30 − …): the later one held at the end of it.
    assert device.stays(daily=1) == {"f"}
    assert device.stays(daily=2) == {"d", "f"}
    assert device.stays(daily=3) == {"b", "d", "f"}


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    monday = datetime(2026, 6, 15, tzinfo=UTC)
    device = Device()
    for name, moment in (
        ("before", monday - timedelta(seconds=1)),
        ("after", monday),
        ("may", datetime(2026, 5, 31, 23, 59, tzinfo=UTC)),
        ("april", datetime(2026, 4, 30, 23, 59, tzinfo=UTC)),
    ):
        device.snapshot(name, (NOW - moment) / timedelta(days=1))
    assert device.stays(weekly=2) == {"before", "after"}
    assert device.stays(monthly=2) == {"may", "after"}
    assert device.stays(monthly=3) == {"april", "may", "after"}
    assert device.stays(monthly=100_000) == {"april", "may", "after"}


def test_the_latest_complete_one_of_a_live_device_and_the_current_one_never_go() -> None:
    device = Device().snapshot("a", 900).snapshot("whole", 800).snapshot("part", 700, "partial")
    far = NOW + timedelta(days=3_000)
    assert device.stays(far, daily=1) == {"whole", "part"}


def test_what_a_retired_device_showed_last_goes_when_its_time_comes_unless_it_is_read_again() -> (
    None
):
    device = Device().snapshot("a", 900).confirmed("a", 700)
    device.tell(DeviceRetired(actor="user:ann", change_id="1"))
    assert device.stays(days=800) == {"a"}
    assert device.stays(days=600) == set()
    device.confirmed("a", 500)
    assert device.stays(days=100) == {"a"}


def test_under_a_legal_hold_nothing_goes() -> None:
    device = Device().snapshot("a", 900).snapshot("b", 800)
    hold = LegalHoldPlaced(actor="user:ann", hold_id="case", reason="the court asked")
    assert device.stays(last=1) == {"b"}
    verdicts = judge(Holdings.of(device.events), RetentionPolicy(last=1), NOW, tenant_holds=[hold])
    assert all("legal hold of the tenant: the court asked" in one.reasons for one in verdicts)
    device.tell(hold)
    assert device.stays(last=1) == {"a", "b"}


def test_a_difference_goes_with_either_of_its_texts_and_never_twice() -> None:
    device = Device().snapshot("a", 900).snapshot("b", 800).diff("a", "b").snapshot("c", 700)
    device.diff("b", "c")
    verdicts = device.judged(last=2)
    (gone,) = [one for one in verdicts if not one.reasons]
    contents = gone_with(gone, verdicts)
    assert [(one.kind, one.content.sequence) for one in contents] == [
        ("snapshot", 1),
        ("diff", 3),
        ("changes", 1002),
    ]


def test_a_content_that_another_snapshot_needs_does_not_go() -> None:
    device = Device().snapshot("a", 900).snapshot("b", 800)
    first, second = device.events[0].event, device.events[1].event
    assert isinstance(first, SnapshotCreated)
    assert isinstance(second, SnapshotCreated)
    holdings = Holdings.of(device.events)
    shared = SnapshotCreated(
        **{
            name: getattr(first if name == "content" else second, name)
            for name in second.__struct_fields__
        }
    )
    holdings.snapshots["b"] = (shared, NOW)
    verdicts = judge(holdings, RetentionPolicy(last=1), NOW)
    (gone,) = [one for one in verdicts if not one.reasons]
    assert gone_with(gone, verdicts) == ()


@pytest.mark.parametrize("number", [0, -1, 100_001])
def test_numbers_that_nobody_can_mean_are_refused(number: int) -> None:
    with pytest.raises(InvalidInput, match="weekly"):
        check_policy(RetentionPolicy(weekly=number))


@given(st.integers(0, 2**32), st.integers(1, 120), st.integers(1, 4), st.integers(1, 4))
def test_whatever_the_history_the_latest_complete_one_stays_and_more_keeps_more(
    seed: int, steps: int, last: int, days: int
) -> None:
    fleet = played(seed, steps)
    now = fleet.events[-1].occurred_at if fleet.events else NOW
    for key in {(one.tenant_id, one.device_id) for one in fleet.events}:
        holdings = Holdings.of(fleet.branch(key))
        narrow = _stays(holdings, RetentionPolicy(last=last), now)
        assert narrow <= _stays(holdings, RetentionPolicy(last=last, days=days), now)
        assert narrow <= _stays(holdings, RetentionPolicy(last=last + 1), now)
        kept = [one.snapshot for one in holdings.kept()]
        complete = [one.snapshot_id for one in kept if one.completeness == "complete"]
        held = [one.snapshot_id for one in holdings.held() if one.snapshot_id in complete]
        if held and not holdings.retired:
            assert held[-1] in narrow
        assert len(narrow) >= min(last, len(kept))


def _stays(holdings: Holdings, policy: RetentionPolicy, now: datetime) -> set[str]:
    verdicts = judge(holdings, policy, now)
    return {one.kept.snapshot.snapshot_id for one in verdicts if one.reasons}
