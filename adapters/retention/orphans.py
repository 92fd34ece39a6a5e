"""Texts that nothing refers to: stored for a decision that was not taken, by a program that died.

One goes when nothing can come to refer to it any more:

- It was stored more than `SAFE_AGE` ago, and no event of its device names it.
- It was found so more than `GRACE` ago: if the log was put back to a copy in which the events are
  not that named it, there is that time to put a newer one in place.
- The device's history goes on with an event that was stored more than `REFERRED_WITHIN` after it.
  Whoever stores a text decides within that time, or stores it anew; so an append that is still on
  its way was decided on a history without that event, and the stream refuses it.
- No legal hold is on the device or its tenant.

A part of a long text is named by the list that an event names; of a list that can't be read, every
older content of its device may be a part. What can't go yet waits by name.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from adapters.jetstream.buckets import Bucket
from adapters.jetstream.content_store import JetStreamContentStore
from adapters.jetstream.listing import Listed
from adapters.retention.damaged import Damaged
from adapters.roles.devices import DeviceRepository
from domain.contents import contents_of
from domain.envelope import Selection, StoredEvent
from domain.errors import ContentCorrupt
from domain.events import DiffGenerated, SnapshotCreated
from domain.ids import TENANT_BRANCH
from domain.ports import REFERRED_WITHIN, EventStore

log = logging.getLogger(__name__)

SAFE_AGE = timedelta(hours=24)
GRACE = timedelta(days=7)
_PLACE = "unnamed"
_AT_ONCE = 100_000
# What events say of the time before a content came is read again, for clocks of several servers.
_OVERLAP = timedelta(minutes=5)
_NAMING = Selection(types=(SnapshotCreated.__name__, DiffGenerated.__name__))


class Waiting(Struct, frozen=True):
    """Contents of one device that no event names, all `found` at one time, the `oldest` stored
    then. The device's history was read up to the position `seen`, its `last` event stored then."""

    subject: str
    found: datetime
    oldest: datetime
    contents: tuple[int, ...]
    seen: int = 0
    last: datetime | None = None


class Place(Struct, frozen=True):
    """Contents up to `content` are judged, but for those that wait; events up to `event` were
    stored before. Of the streams that were made at `created`."""

    created: str
    content: int = 0
    event: int = 0
    waiting: tuple[Waiting, ...] = ()


class Orphans:
    """Any number may sweep: everything that it does is the same done twice."""

    def __init__(
        self,
        events: EventStore,
        devices: DeviceRepository,
        content: JetStreamContentStore,
        bucket: Bucket,
        damaged: Damaged,
        *,
        referred_within: timedelta = REFERRED_WITHIN,
        grace: timedelta = GRACE,
    ) -> None:
        self._events = events
        self._devices = devices
        self._content = content
        self._bucket = bucket
        self._damaged = damaged
        self._within = referred_within
        self._grace = grace

    async def sweep(self, now: datetime) -> int:
        """Remove what can go; how many messages that were. Broken off, the next one does it again.
        Raises `Unavailable`."""
        place = await self._place()
        removed, left = await self._carry_on(place.waiting, now)
        place = replace(place, waiting=left)
        while window := await self._window(place.content, now - SAFE_AGE):
            named, reached = await self._named(place.event, window)
            strays = [one for one in window if one.sequence not in named]
            gone, left = await self._carry_on(_grouped(strays, now), now)
            removed += gone
            place = Place(place.created, window[-1].sequence, reached, place.waiting + left)
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

    async def _carry_on(
        self, waiting: Sequence[Waiting], now: datetime
    ) -> tuple[int, tuple[Waiting, ...]]:
        """Remove those that can go, and give those that have to wait. What it costs to find that
        one has to is asked first: most do until their device's history goes on."""
        removed = 0
        left: list[Waiting] = []
        for one in waiting:
            tenant_id, device_id = self._content.whose(one.subject)
            young, new = now < one.found + self._grace, not one.seen
            if not new and (young or not (self._passed(one) or await self._goes_on(one))):
                left.append(one)
                continue
            tenant = await self._devices.refresh(tenant_id, TENANT_BRANCH)
            device = await self._devices.refresh(tenant_id, device_id)
            held = bool(tenant.holds or device.holds)
            if held and not new:
                left.append(one)
                continue
            gone, stays = await self._judge(one, wait=young or held)
            removed += gone
            if stays.contents:
                left.append(stays)
        return removed, tuple(left)

    def _passed(self, one: Waiting) -> bool:
        """Whether the device's history, as it was read, went on long enough after the oldest."""
        return one.last is not None and one.last > one.oldest + self._within

    async def _goes_on(self, one: Waiting) -> bool:
        """Whether the device has an event since its history was read."""
        tenant_id, device_id = self._content.whose(one.subject)
        where = Selection(tenant_id=tenant_id, device_id=device_id)
        async with aclosing(self._events.read(one.seen, where=where)) as batches:
            async for _ in batches:
                return True
        return False

    async def _judge(self, one: Waiting, *, wait: bool) -> tuple[int, Waiting]:
        """Remove those that no event can come to name, unless they are to `wait`, and forget those
        that one names."""
        seen = await self._events.head()
        tenant_id, device_id = self._content.whose(one.subject)
        async with aclosing(self._events.read_branch(tenant_id, device_id)) as branch:
            history = [event async for event in branch]
        named = _names(history)
        # Up to here every content may be a part of one whose list can't be read.
        unclear = 0
        for sequence in sorted(named):
            if sequence > one.contents[0]:
                try:
                    named.update(await self._content.parts(sequence))
                except ContentCorrupt as error:
                    self._damaged.tell(one.subject, error)
                    unclear = sequence
        last = history[-1].stored_at if history else None
        one = replace(one, seen=seen, last=last)
        strays = [sequence for sequence in one.contents if sequence not in named]
        if wait or not self._passed(one):
            return 0, replace(one, contents=tuple(strays))
        assert last is not None
        removed = 0
        stays: list[Listed] = []
        for sequence in strays:
            there = await self._content.look(sequence)
            if there is None:
                continue
            if sequence < unclear or last <= there.stored_at + self._within:
                stays.append(there)
            else:
                removed += await self._content.delete(sequence)
        oldest = min((each.stored_at for each in stays), default=one.oldest)
        return removed, replace(one, oldest=oldest, contents=tuple(each.sequence for each in stays))


def _grouped(strays: Iterable[Listed], now: datetime) -> list[Waiting]:
    found: dict[str, list[Listed]] = {}
    for one in strays:
        found.setdefault(one.subject, []).append(one)
    return [
        Waiting(
            subject,
            now,
            min(one.stored_at for one in some),
            tuple(one.sequence for one in some),
        )
        for subject, some in found.items()
    ]


def _names(events: Iterable[StoredEvent]) -> set[int]:
    return {ref.sequence for one in events for _, ref in contents_of(one)}
