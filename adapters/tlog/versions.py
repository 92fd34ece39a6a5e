"""Whether devices' versions follow each other, also where others' messages lie among them."""

from __future__ import annotations

from adapters.jetstream.places import version_after
from adapters.jetstream.verbatim import Reader
from domain.tlog.findings import Finding, Kind
from domain.tlog.leaf import RawEvent
from projections.source import Unreadable


class Versions:
    """The last version of each device's history, as its events are read one after the other."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._last: dict[str, int] = {}
        # How many of a branch may have had the next places: no reader can tell.
        self._unplaced: dict[str, int] = {}

    def check(
        self, event: RawEvent, branch: str, version: int | None, *, readable: bool | None = None
    ) -> Finding | None:
        """What is wrong with an event's version, if anything. What can't be read is accused of
        nothing. `readable`: None when nobody looked so far, which few events are worth."""
        last = self._last.get(branch, 0)
        if version == last + 1:
            self._last[branch] = version
            if self._unplaced:
                self._unplaced.pop(branch, None)
            return None
        if readable is None:
            readable = not isinstance(self._reader.read(event), Unreadable)
        if version is None or not readable:
            self._unplaced[branch] = self._unplaced.get(branch, 0) + 1
            return None
        self._last[branch] = version_after(last, version, event.position, readable=True)
        unplaced = self._unplaced.pop(branch, 0)
        if last < version <= last + 1 + unplaced:
            return None
        kind: Kind = "missing" if version > last else "reordered"
        detail = f"version {version} of the device where {last + 1} belongs"
        return Finding("device history", kind, event.position, detail)
