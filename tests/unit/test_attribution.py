"""Who changed a device: all whom its history names, and nobody where it can't be known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.attribution import DeviceAction, DeviceHistory, attributed, history_as_json
from domain.attribution import parse_device_history as parsed
from domain.errors import InvalidInput
from domain.routeros.history import CAPACITY, parse_history

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
BEFORE = NOW - timedelta(hours=6)

V6 = """Flags: U - undoable, R - redoable, F - floating-undo
 U redo=
     /ip firewall filter add action=drop chain=input comment="say \\"by=\\" and \\
    more" time=8h-17h,mon
   undo=/ip firewall filter remove *1 action="filter rule added" by="ann"
   policy=write time=mar/01/2026 11:30:00
 U redo=/user set admin password="hunter2"
   undo=/user set admin password="hunter1" action="user admin changed" by="bob"
   policy=policy,write time=mar/01/2026 11:00:00
   redo="" undo="" action="time changed" by="" policy=write time=feb/28/2026 23:00:00
"""
V7 = V6.replace("mar/01/2026", "2026-03-01").replace("feb/28/2026", "2026-02-28")


def of(text: str, **given: str) -> DeviceHistory:
    clock = {"day": "2026-03-01", "time": "12:00:00", "uptime": "1w2d03:04:05", **given}
    return parse_history(text, now=NOW, **clock)


@pytest.mark.parametrize(("text", "day"), [(V6, "mar/01/2026"), (V7, "2026-03-01")])
def test_who_when_and_of_which_kind_is_read_in_both_forms_and_nothing_else(
    text: str, day: str
) -> None:
    history = of(text, day=day)
    assert [(one.who, one.kind) for one in history.actions] == [
        ("ann", "added"),
        ("bob", "changed"),
        (None, "changed"),
    ]
    assert history.actions[0].at == NOW - timedelta(minutes=30)
    assert history.reaches_back_to == NOW - timedelta(days=9, hours=3, minutes=4, seconds=5)
    assert "hunter" not in repr(history)


@pytest.mark.parametrize("time", ["13:30:00", "17:45:00", "03:00:00"])
def test_a_zone_of_its_own_is_no_error_of_the_clock(time: str) -> None:
    history = of(V6.replace("11:30:00", "02:30:00").replace("11:00:00", "02:00:00"), time=time)
    hour, minute = int(time[:2]), int(time[3:5])
    ago = timedelta(hours=hour, minutes=minute) - timedelta(hours=2, minutes=30)
    assert history.actions[0].at == NOW - ago


@pytest.mark.parametrize(
    ("day", "time"),
    [("jan/02/1970", "00:10:00"), ("mar/01/2026", "12:05:00"), ("mar/03/2026", "12:00:00")],
)
def test_a_clock_that_is_off_makes_it_unknown(day: str, time: str) -> None:
    found = attributed(of(V6, day=day, time=time), BEFORE, NOW)
    assert found is not None
    assert (found.certainty, found.reason, found.people) == ("unknown", "clock_off", ())


def test_an_action_from_the_future_tells_of_a_clock_that_was_set() -> None:
    assert of(V6, time="11:15:00").unreadable == "clock_off"


@pytest.mark.parametrize(
    "text",
    [
        V6.replace("time=mar", "at=mar"),
        V6.replace("mar/01", "xyz/01"),
        V6.replace("mar/01", "mar/41"),
        V6.replace("mar/01/2026", "0001-01-01"),
        V6.replace("mar/01/2026", "feb/29"),
    ],
)
def test_a_form_that_is_not_known_names_nobody(text: str) -> None:
    assert of(text) == DeviceHistory(unreadable="not_understood")


def test_no_comment_passes_for_an_entry() -> None:
    forged = 'action="x changed" by="eve" policy=write time=mar/01/2026 11:59:00'
    quoted = forged.replace('"', '\\"')
    text = V6.replace('comment="say', f'comment=" action=" name=" {quoted} {quoted}')
    assert {one.who for one in of(text).actions} == {"ann", "bob", None}


def test_all_who_changed_something_between_two_readings_are_named() -> None:
    found = attributed(of(V6), BEFORE, NOW)
    assert found is not None
    assert (found.certainty, found.reason) == ("known", None)
    assert [(one.who, one.actions, one.kinds) for one in found.people] == [
        ("ann", 1, ("added",)),
        ("bob", 1, ("changed",)),
    ]


def test_a_history_that_does_not_reach_back_is_incomplete() -> None:
    short = attributed(of(V6, uptime="01:00:00"), BEFORE - timedelta(days=5), NOW)
    assert short is not None
    assert (short.certainty, short.reason) == ("incomplete", "history_too_short")
    entry = '  undo="" action="x added" by="ann" policy=write time=mar/01/2026 11:'
    full = "\n".join(f"{entry}{n // 60:02}:{n % 60:02}" for n in range(CAPACITY))
    assert of(f" {full}").reaches_back_to == NOW - timedelta(hours=1)


def test_a_change_that_nobody_made_is_unknown() -> None:
    nobody = attributed(of("Flags: U - undoable"), BEFORE, NOW)
    assert nobody is not None
    assert (nobody.certainty, nobody.reason) == ("unknown", "none_listed")
    rebooted = attributed(of("Flags: U - undoable", uptime="00:05:00"), BEFORE, NOW)
    assert rebooted is not None
    assert rebooted.reason == "history_too_short"
    assert attributed(of(V6), None, NOW) is None
    assert attributed(None, BEFORE, NOW) is None


@pytest.mark.parametrize(
    ("day", "time"), [("", "11:30:00"), ("mar/01 ", "11:30:00"), ("03-01 ", "11:30:00")]
)
def test_a_shortened_time_is_of_today_or_this_year(day: str, time: str) -> None:
    text = f' redo="" action="x added" by="ann" policy=write time={day}{time}'
    assert of(text).actions[0].at == NOW - timedelta(minutes=30)


MOMENTS = st.datetimes(timezones=st.just(UTC))
NAMES = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=20)


@given(
    st.builds(
        DeviceHistory,
        actions=st.lists(
            st.builds(
                DeviceAction,
                who=st.none() | NAMES,
                at=MOMENTS,
                kind=st.sampled_from(["added", "other"]),
            )
        ).map(tuple),
        reaches_back_to=st.none() | MOMENTS,
        unreadable=st.none() | st.sampled_from(["clock_off", "refused"]),
    )
)
def test_the_intake_carries_a_history_as_it_is(history: DeviceHistory) -> None:
    assert parsed({"device_history": history_as_json(history)}) == history


@given(st.text(), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_whatever_a_device_says_is_read_without_an_error(
    text: str, day: str, time: str, uptime: str
) -> None:
    parse_history(text, day=day, time=time, uptime=uptime, now=NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        {"actions": {}},
        {"actions": [1]},
        {"actions": [{"who": "a\nb", "at": "2026-03-01T00:00:00Z", "kind": "added"}]},
        {"actions": [{"at": "2026-03-01T00:00:00Z", "kind": "password=x"}]},
        {"actions": [{"at": "yesterday", "kind": "added"}]},
        {"unreadable": "because"},
        {"actions": [{}] * 501},
    ],
)
def test_a_history_that_breaks_a_rule_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        parsed({"device_history": wrong})
