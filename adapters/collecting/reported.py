"""Changes that devices told of and that are to be read: written down until they are, for a
collector may be killed between the message and the reading, and no second message comes."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from adapters.collecting.schedule import Schedule
from domain.errors import Unavailable

log = logging.getLogger(__name__)

# So often it is looked for changes that others were told of.
LOOK_SECONDS: Final = 60.0
# They are read here once they are that old: longer than a device takes to come to rest, and to be
# read, unless whoever was told is gone.
_OVERDUE: Final = timedelta(minutes=2)
_RETRY_SECONDS: Final = 5.0

Key = tuple[str, str]


class ReportedChanges:
    """What devices told this collector, and what others left."""

    def __init__(self, schedule: Schedule, clock: Callable[[], datetime]) -> None:
        self._schedule = schedule
        self._clock = clock
        self._numbers = itertools.count(1)
        self._own: dict[Key, int] = {}
        self._unwritten: dict[Key, datetime | None] = {}
        self._changed = asyncio.Event()

    def note(self, key: Key) -> None:
        """A device told of a change."""
        self._own[key] = next(self._numbers)
        self._write_soon(key, self._clock())

    def newest(self, key: Key) -> int | None:
        """The number of what the device told last, None when that is nothing."""
        return self._own.get(key)

    def settle(self, key: Key, newest: int | None) -> None:
        """What a device had told when `newest` was the last of it is read. Not what it told since:
        that may be of a change that the reading was too early for."""
        if newest is not None and self._own.get(key) == newest:
            del self._own[key]
            self._write_soon(key, None)

    async def run(self, hurry: Callable[[str, str], bool]) -> None:
        """Write down, and `hurry` what others left, until cancelled; outages are waited out. That
        says whether the device is collected at all."""
        loop = asyncio.get_running_loop()
        overdue, look_at = timedelta(0), loop.time()
        while True:
            try:
                await self._write()
                if loop.time() >= look_at:
                    await self._look(hurry, overdue)
                    overdue, look_at = _OVERDUE, loop.time() + LOOK_SECONDS
                wait = look_at - loop.time()
            except Unavailable as error:
                log.warning("reported changes are not written down now, trying again: %s", error)
                wait = _RETRY_SECONDS
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _write_soon(self, key: Key, told: datetime | None) -> None:
        self._unwritten[key] = told
        self._changed.set()

    async def _write(self) -> None:
        self._changed.clear()
        while self._unwritten:
            key, told = next(iter(self._unwritten.items()))
            if told is None:
                await self._schedule.settle(*key)
            else:
                await self._schedule.report(*key, told)
            if self._unwritten[key] is told:
                del self._unwritten[key]

    async def _look(self, hurry: Callable[[str, str], bool], overdue: timedelta) -> None:
        """At the start all is taken that others were told of: most likely they are gone."""
        for key, told in (await self._schedule.reported()).items():
            if key in self._own or told > self._clock() - overdue:
                continue
            if not hurry(*key):
                await self._schedule.settle(*key)
