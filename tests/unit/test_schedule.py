"""When a device's turn is: intervals spread, failures back off, some wait for a person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.collecting.planned import Planned
from adapters.collecting.schedule import Attempt, due_at, mark_of
from adapters.ssh.failures import WAITS_FOR_A_PERSON
from domain.events import DeviceSettings
from domain.fields import seconds_until_open

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = DeviceSettings(addresses=("192.0.2.1",))
MARK = mark_of(SETTINGS)
BERLIN = ZoneInfo("Europe/Berlin")


def failed(times: int, kind: str = "timeout", mark: str = MARK) -> Attempt:
    return Attempt(at=NOW, settings=mark, failures=times, kind=kind)


def test_a_device_that_was_never_read_is_due_and_one_that_is_off_never_is() -> None:
    assert due_at("r1", SETTINGS, MARK, None, NOW) == NOW
    off = DeviceSettings(addresses=("192.0.2.1",), enabled=False)
    assert due_at("r1", off, mark_of(off), None, NOW) is None


@pytest.mark.parametrize(
    ("failures", "minutes"), [(1, 1), (2, 5), (3, 15), (4, 60), (5, 60), (500, 60)]
)
def test_failures_back_off(failures: int, minutes: int) -> None:
    due = due_at("r1", SETTINGS, MARK, failed(failures), NOW)
    assert due == NOW + timedelta(minutes=minutes)


def test_a_failure_is_not_tried_later_than_the_interval() -> None:
    often = DeviceSettings(addresses=("192.0.2.1",), interval_seconds=120)
    due = due_at("r1", often, mark_of(often), failed(9, mark=mark_of(often)), NOW)
    assert due == NOW + timedelta(minutes=2)


@pytest.mark.parametrize("kind", sorted(WAITS_FOR_A_PERSON))
def test_what_trying_cannot_mend_waits_until_settings_or_trust_are_others(kind: str) -> None:
    assert due_at("r1", SETTINGS, MARK, failed(1, kind), NOW + timedelta(days=9)) is None
    assert due_at("r1", SETTINGS, mark_of(SETTINGS, "other"), failed(1, kind), NOW) == NOW


def test_a_credential_that_was_not_to_be_had_is_looked_for_again_by_itself() -> None:
    """A vault that was away, or sealed, comes back: nobody may need to touch each device then."""
    due = due_at("r1", SETTINGS, MARK, failed(2, "no_credential"), NOW)
    assert due == NOW + timedelta(minutes=5)


@given(st.text(min_size=1, max_size=20), st.integers(60, 30 * 86_400))
def test_successes_are_an_interval_apart_less_up_to_a_tenth(name: str, interval: int) -> None:
    settings = DeviceSettings(addresses=("192.0.2.1",), interval_seconds=interval)
    last = Attempt(at=NOW, settings=mark_of(settings))
    due = due_at(name, settings, mark_of(settings), last, NOW)
    assert due is not None
    assert timedelta(seconds=0.9 * interval) <= due - NOW <= timedelta(seconds=interval)
    assert due == due_at(name, settings, mark_of(settings), last, NOW)


@given(st.integers(0, 86_399), st.integers(0, 12))
def test_no_reading_begins_outside_of_the_window(second: int, failures: int) -> None:
    settings = DeviceSettings(addresses=("192.0.2.1",), window="22:00-05:00")
    now = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=second)
    last = Attempt(at=now, settings=mark_of(settings), failures=failures, kind="timeout")
    due = due_at("r1", settings, mark_of(settings), last, now)
    assert due is not None
    start = max(due, now)
    of_day = (start - start.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    assert seconds_until_open(settings.window, of_day) == 0


@given(
    st.integers(0, 366 * 24 * 60).map(
        lambda minutes: (NOW + timedelta(minutes=minutes)).astimezone(BERLIN)
    ),
    st.sampled_from([None, "22:00-05:00", "01:30-02:30", "02:00-02:00", "23:59-00:00"]),
    st.integers(0, 90_000),
)
@example(datetime(2026, 3, 29, 3, tzinfo=BERLIN), "01:30-02:30", 0)
@example(datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN), "01:30-02:30", 3600)
def test_a_zone_with_summer_time_moves_no_window(
    now: datetime, window: str | None, ago: int
) -> None:
    settings = DeviceSettings(addresses=("192.0.2.1",), window=window)
    mark = mark_of(settings)
    in_utc = now.astimezone(UTC)
    last = Attempt(at=in_utc - timedelta(seconds=ago), settings=mark)
    due = due_at("r1", settings, mark, last, now)
    assert due is not None
    assert due == due_at("r1", settings, mark, last, in_utc)
    # From one window to the next is never more than a day.
    assert due.astimezone(UTC) <= max(in_utc, last.at + timedelta(hours=6)) + timedelta(days=1)
    start = max(due.astimezone(UTC), in_utc)
    of_day = start - start.replace(hour=0, minute=0, second=0, microsecond=0)
    assert seconds_until_open(window, of_day.total_seconds()) == 0


def test_a_record_from_the_future_is_passed_over_once_and_what_waits_for_a_person_waits() -> None:
    future = Attempt(at=NOW + timedelta(days=3), settings=MARK)
    planned = Planned()
    assert planned.due("r1", SETTINGS, future, MARK, NOW) == NOW
    planned.forgiven = True
    due = planned.due("r1", SETTINGS, future, MARK, NOW)
    assert due is not None
    assert due > NOW + timedelta(days=3)
    waits = Attempt(at=NOW + timedelta(days=3), settings=MARK, failures=1, kind="auth_failed")
    assert Planned().due("r1", SETTINGS, waits, MARK, NOW) is None
    near = Attempt(at=NOW + timedelta(hours=1), settings=MARK)
    soon = Planned().due("r1", SETTINGS, near, MARK, NOW)
    assert soon is not None
    assert soon > NOW
