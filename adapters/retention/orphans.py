"""Texts that nothing refers to: stored for a decision that was not taken, by a program that died.

One goes when nothing can come to refer to it any more:

- It was stored more than `SAFE_AGE` ago, and no event of its device names it.
- The device's history goes on with an event that was stored more than `REFERRED_WITHIN` after it.
  Whoever stores a text decides within that time, or stores it anew; so an append that is still on
  its way was decided on a history without that event, and the stream refuses it.
- No legal hold is on the device or its tenant.

A part of a long text is named by the list that an event names. What can't go yet waits by name.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from adapters.jetstream.buckets import Bucket
from adapters.jetstream.content_store import JetStreamContentStore
from adapters.jetstream.listing import Listed
from adapters.roles.devices import DeviceRepository
from domain.contents import contents_of
from domain.envelope import Selection, StoredEvent
from domain.events import DiffGenerated, SnapshotCreated
from domain.ids import TENANT_BRANCH
from domain.ports import REFERRED_WITHIN, EventStore

log = logging.getLogger(__name__)

SAFE_AGE = timedelta(hours=24)
_PLACE = "orphans"
_AT_ONCE = 100_000
# What events say of the time before a content came is read again, for clocks of several servers.
_OVERLAP = timedelta(minutes=5)
_NAMING = Selection(types=(SnapshotCreated.__name__, DiffGenerated.__name__))


class Place(Struct, frozen=True):
    """Contents up to `content` are judged, but for those that wait; events up to `event` were
    stored before. Of the streams that were made at `created`."""

    created: str
    content: int = 0
    event: int = 0
    waiting: tuple[int, ...] = ()


class Orphans:
    """Any number may sweep: everything that it does is the same done twice."""

    def __init__(
        self,
        events: EventStore,
        devices: DeviceRepository,
        content: JetStreamContentStore,
        bucket: Bucket,
        *,
        referred_within: timedelta = REFERRED_WITHIN,
    ) -> None:
        self._events = events
        self._devices = devices
        self._content = content
        self._bucket = bucket
        self._within = referred_within

    async def sweep(self, now: datetime) -> int:
        """Remove what can go; how many messages that were. Broken off, the next one does it again.
        Raises `Unavailable`."""
        place = await self._place()
        waiting = [await self._content.look(one) for one in place.waiting]
        removed, left = await self._judge([one for one in waiting if one is not None], now)
        place = msgspec.structs.replace(place, waiting=tuple(left))
        while window := await self._window(place.content, now - SAFE_AGE):
            named, reached = await self._named(place.event, window)
            gone, left = await self._judge(
                [one for one in window if one.sequence not in named], now
            )
            removed += gone
            place = Place(
                place.created, window[-1].sequence, reached, tuple(sorted({*place.waiting, *left}))
            )
            await self._bucket.put(msgspec.json.encode(place), _PLACE)
        await self._bucket.put(msgspec.json.encode(place), _PLACE)
        if removed:
            log.info("%d stored texts that no event refers to are removed", removed)
        return removed

    async def _place(self) -> Place:
        identity = await self._events.identity()
        created = f"{identity.created.isoformat()} {await self._content.created()}"
        raw = await self._bucket.get(_PLACE)
        place = msgspec.json.decode(raw, type=Place) if raw else Place(created)
        return place if place.created == created else Place(created)

    async def _window(self, after: int, until: datetime) -> list[Listed]:
        """The next contents, as far as they are old enough."""
        found: list[Listed] = []
        async with aclosing(self._content.listed(after)) as batches:
            async for batch in batches:
                found += [one for one in batch if one.stored_at < until]
                if batch[-1].stored_at >= until or len(found) >= _AT_ONCE:
                    break
        return found

    async def _named(self, after: int, window: Sequence[Listed]) -> tuple[set[int], int]:
        """The contents that events name of the time in which these came and could be named, and up
        to where events are of the time before the next ones."""
        named: set[int] = set()
        reached = after
        first, last = window[0].stored_at, window[-1].stored_at
        async with aclosing(self._events.read(after, where=_NAMING)) as batches:
            async for batch in batches:
                for stored in batch:
                    if stored.stored_at < last - _OVERLAP:
                        reached = stored.position
                    if stored.stored_at >= first - _OVERLAP:
                        named.update(_names((stored,)))
                if batch[-1].stored_at > last + self._within + _OVERLAP:
                    break
        return named, reached

    async def _judge(self, found: Sequence[Listed], now: datetime) -> tuple[int, list[int]]:
        """Remove those that can go, and give those that have to wait."""
        removed = 0
        waiting: list[int] = []
        devices: dict[tuple[str, str], list[Listed]] = {}
        for one in found:
            devices.setdefault(self._content.whose(one.subject), []).append(one)
        for (tenant_id, device_id), theirs in devices.items():
            tenant = await self._devices.refresh(tenant_id, TENANT_BRANCH)
            device = await self._devices.refresh(tenant_id, device_id)
            async with aclosing(self._events.read_branch(tenant_id, device_id)) as branch:
                history = [one async for one in branch]
            named = _names(history)
            theirs = [one for one in theirs if one.sequence not in named]
            if not theirs:
                continue
            for sequence in sorted(named):
                if sequence > theirs[0].sequence:
                    named.update(await self._content.parts(sequence))
            for one in theirs:
                if one.sequence in named:
                    continue
                passed = history and history[-1].stored_at > one.stored_at + self._within
                if not passed or tenant.holds or device.holds or now < one.stored_at + SAFE_AGE:
                    waiting.append(one.sequence)
                else:
                    removed += await self._content.delete(one.sequence)
        return removed, waiting


def _names(events: Iterable[StoredEvent]) -> set[int]:
    return {ref.sequence for one in events for _, ref in contents_of(one)}
