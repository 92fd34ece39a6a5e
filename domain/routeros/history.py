"""What `/system history print detail` says, and nothing of what it holds.

    Flags: U - undoable, R - redoable, F - floating-undo
     U redo=
         /ip firewall filter add action=accept chain=input comment="…"
       undo=/ip firewall filter remove *1 action="filter rule added" by="admin"
       policy=write time=jan/02/2024 10:00:00

Commands and action hold configuration, passwords too. Only who, when and the kind are taken. What
stands in quotes is set aside first, so that no comment can pass for an entry.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from domain.attribution import DeviceAction, DeviceHistory
from domain.events import ActionKind

CAPACITY: Final = 100
"""RouterOS keeps this many actions."""

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ENTRY = re.compile(
    r'(?<=\s)action="(\d+)"\s+by="(\d+)"\s+policy=\S*\s+time=(?:([^\s:]+)\s+)?(\d\d:\d\d:\d\d)(?=\s|\Z)'
)
_NUMBERED = re.compile(r'(?<=\s)by="\d+"\s+policy=')
_MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
_NAMED_DAY = re.compile(r"([a-z]{3})/(\d\d)(?:/(\d{4}))?\Z")
_ISO_DAY = re.compile(r"(?:(\d{4})-)?(\d\d)-(\d\d)\Z")
_UPTIME = re.compile(
    r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+):(\d\d):(\d\d)|(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?)\Z"
)
_KINDS: Final[dict[str, ActionKind]] = {
    "added": "added",
    "removed": "removed",
    "changed": "changed",
    "moved": "moved",
    "enabled": "enabled",
    "disabled": "disabled",
}
_EARLIEST_YEAR: Final = 1970
_LATEST_YEAR: Final = 9000
# Zones are whole quarters of an hour; what is left is the clock's error.
_QUARTER: Final = timedelta(minutes=15)
_FARTHEST_ZONE: Final = timedelta(hours=15)
_CLOCK_ERROR: Final = timedelta(minutes=2)


def parse_history(text: str, *, day: str, time: str, uptime: str, now: datetime) -> DeviceHistory:
    """The history, with its times as ours. `day`, `time` and `uptime` are the device's when it was
    `now` here."""
    local = _local(day.strip(), time.strip(), None)
    up = _seconds_up(uptime.strip())
    if local is None or up is None:
        return DeviceHistory(unreadable="not_understood")
    ahead = local - now
    error = (ahead + _QUARTER / 2) % _QUARTER - _QUARTER / 2
    if abs(ahead) > _FARTHEST_ZONE or abs(error) > _CLOCK_ERROR:
        return DeviceHistory(unreadable="clock_off")
    quoted: list[str] = []

    def aside(found: re.Match[str]) -> str:
        quoted.append(found[1])
        return f'"{len(quoted) - 1}"'

    bare = _QUOTED.sub(aside, text)
    actions = []
    for what, who, date, clock in _ENTRY.findall(bare):
        at = _local(date, clock, local)
        if at is None:
            return DeviceHistory(unreadable="not_understood")
        if at > local + _CLOCK_ERROR:
            return DeviceHistory(unreadable="clock_off")
        name = "".join(one if one.isprintable() else "?" for one in quoted[int(who)])[:100]
        last = quoted[int(what)].rpartition(" ")[2].lower()
        actions.append(
            DeviceAction(who=name or None, at=at - ahead, kind=_KINDS.get(last, "other"))
        )
    # An entry of a form that is not known: who it names is not known either.
    if len(actions) != len(_NUMBERED.findall(bare)):
        return DeviceHistory(unreadable="not_understood")
    oldest = min((one.at for one in actions), default=now)
    # One that is not full has everything since the start.
    reach = oldest if len(actions) >= CAPACITY else min(oldest, now - up)
    return DeviceHistory(actions=tuple(actions), reaches_back_to=reach)


def _local(day: str, time: str, today: datetime | None) -> datetime | None:
    """A time of the device's clock, marked as UTC though it is not; None when it is none. Parts
    that it leaves out are today's."""
    named, iso = _NAMED_DAY.match(day), _ISO_DAY.match(day)
    parts: tuple[str | None, int, int]
    if named and named[1] in _MONTHS:
        parts = named[3], _MONTHS.index(named[1]) + 1, int(named[2])
    elif iso:
        parts = iso[1], int(iso[2]), int(iso[3])
    elif not day and today is not None:
        parts = str(today.year), today.month, today.day
    else:
        return None
    year, month, number = parts
    if year is None and today is None:
        return None
    try:
        if year is not None or today is None:
            return _at(int(year or 0), month, number, time)
        found = _at(today.year, month, number, time)
        return found if found <= today + _CLOCK_ERROR else _at(found.year - 1, month, number, time)
    except ValueError:
        return None


def _at(year: int, month: int, day: int, time: str) -> datetime:
    if not _EARLIEST_YEAR <= year <= _LATEST_YEAR:
        raise ValueError("no year of a router")
    return datetime.fromisoformat(f"{year:04}-{month:02}-{day:02}T{time}+00:00")


def _seconds_up(text: str) -> timedelta | None:
    found = _UPTIME.match(text)
    if not text or found is None:
        return None
    weeks, days, *rest = (int(one or 0) for one in found.groups())
    hours, minutes, seconds = (rest[index] + rest[index + 3] for index in range(3))
    return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
