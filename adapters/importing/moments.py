"""When readings were made, so that no two of a device are taken for one.

An observation is told from others by its device, its time and its text, and git knows seconds only:
of commits that a script made, a text may come, go and come back within one. What comes back then
gets a time that is a microsecond later, and so does what follows it in that second.

Imports of an older rule took what came back for known. It is added now; but where they went on to
another text in that second, that second is left as it is: what were added now would come last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from adapters.importing.reading import Reading, digest
from domain.errors import InvalidInput

_STEP: Final = timedelta(microseconds=1)

IsKnown = Callable[[str, datetime, str], bool]
"""Whether a device's reading of this time and text (its SHA-256) has its fact."""


class _Latest(Struct):
    """What a device's readings at one time have come to. `told` is that time, `at` the one that the
    next of them has; `seen` are the texts at `at`, and `sha256` is the last one. `older`: an older
    rule has imported them; None: that was not asked yet."""

    told: datetime
    at: datetime
    sha256: str
    seen: set[str]
    older: bool | None = None


class Moments:
    """The times of readings, which are in the order of time."""

    def __init__(self, readings: Sequence[Reading], is_known: IsKnown) -> None:
        self._readings = readings
        self._is_known = is_known
        self._latest: dict[str, _Latest] = {}

    async def of(self, number: int, told: datetime, sha256: str) -> datetime:
        """The time of a reading, by its number, of which a time is told. To be asked for each, in
        turn. The same text twice on end is one reading, as of a file that was moved."""
        device_id = self._readings[number].device_id
        latest = self._latest.get(device_id)
        if latest is None or told > latest.at:
            self._latest[device_id] = _Latest(told, told, sha256, {sha256})
            return told
        if sha256 == latest.sha256:
            return latest.at
        if sha256 in latest.seen:
            if latest.older is None:
                latest.older = await asyncio.to_thread(self._is_older, number, latest)
            if not latest.older:
                latest.at += _STEP
                latest.seen = set()
        latest.seen.add(sha256)
        latest.sha256 = sha256
        return latest.at

    def _is_older(self, number: int, latest: _Latest) -> bool:
        """Whether a text that comes first after what came back is known, at the told time."""
        device_id = self._readings[number].device_id
        for later in range(number + 1, len(self._readings)):
            reading = self._readings[later]
            try:
                if reading.collected_at > latest.told:
                    return False
                if reading.device_id != device_id:
                    continue
                sha256 = digest(reading.text())
            except InvalidInput:
                continue  # it is refused in its turn
            if sha256 not in latest.seen and self._is_known(device_id, latest.told, sha256):
                return True
        return False
