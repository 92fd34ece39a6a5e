"""A device as a collector has planned it."""

from __future__ import annotations

from datetime import UTC, datetime

from adapters.collecting.schedule import Attempt, Record, due_at, from_another_clock
from domain.events import DeviceSettings, Source


def now_utc() -> datetime:
    """The time, by this machine."""
    return datetime.now(UTC)


class Planned:
    """A device as this collector knows it. `secret` marks its stored credential. `turn` numbers its
    places in the queue: only the newest one counts, which is `at` that time. `known`: `record` is
    what all share of it, or was not long ago. `forgiven`: it was read since this machine's clock is
    what it is.
    """

    def __init__(self) -> None:
        self.settings: DeviceSettings | None = None
        self.position = 0
        self.refused = ""
        self.secret = ""
        self.known = False
        self.forgiven = False
        self.record: Record | None = None
        self.turn = 0
        self.at = datetime.fromtimestamp(0, UTC)
        self.running = False
        self.source: Source = "scheduled"

    def forget(self) -> None:
        """What is known of its last reading counts no more: a manual backup, or another collector,
        may have tried it since."""
        self.known, self.record = False, None

    def learn(self, record: Record) -> None:
        """What all share of it now."""
        self.known, self.record = True, record

    @property
    def last(self) -> Attempt | None:
        """Its last attempt, as far as known."""
        return None if self.record is None else self.record.last

    def due(
        self, name: str, settings: DeviceSettings, last: Attempt | None, mark: str, now: datetime
    ) -> datetime | None:
        """When it is to be read next; None: not before a person does something.

        A record from the future, which some clock was wrong for, is passed over once. Not more
        often, or two collectors whose clocks differ would read the device for ever.
        """
        due = due_at(name, settings, mark, last, now)
        if due is None or self.forgiven or not from_another_clock(last, settings, now):
            return due
        return due_at(name, settings, mark, None, now)
