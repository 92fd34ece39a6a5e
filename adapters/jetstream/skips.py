"""Skips on the stream: whether one is recorded, and where the next one goes.

They must be possible for whatever others wrote, so nothing here trusts what an event says.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field
from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.jetstream import wire
from adapters.jetstream.delivery import DeliveryDecoder, readable_or_not
from adapters.jetstream.headers import number_in
from adapters.jetstream.passing import passing
from adapters.jetstream.places import version_after
from adapters.jetstream.pull import Puller, PullLost
from adapters.jetstream.raw import RawMessage, from_delivery
from adapters.jetstream.stored import last_stored, next_stored, stored_at
from adapters.jetstream.streams import EVENTS
from domain.envelope import Head, StoredEvent
from domain.errors import StreamGap, Unavailable
from domain.events import EventSkipped
from domain.ids import to_token
from domain.tlog.leaf import RawEvent
from projections.parking import skip_branches
from projections.source import Delivered, Unreadable

_SKIPPED = EventSkipped.__name__
_BRANCHES_KEPT = 1_000


async def event_at(nc: Client, decoder: DeliveryDecoder, position: int) -> Delivered:
    """The event at a position, as it is read when it is followed. Raises `StreamGap`."""
    found = await stored_at(nc, EVENTS, position)
    if found is None:
        raise StreamGap(EVENTS, position, 0)
    return _decoded(decoder, found)


class _Told(Struct):
    """The skips of one branch, as far as they were read: where each is told, by read model and
    position; the position that it is about, by read model and id; and the last of them."""

    at: dict[tuple[str, int], int] = field(default_factory=dict)
    about: dict[tuple[str, str], int] = field(default_factory=dict)
    last: RawEvent | None = None


class Skips:
    """Which events read models go on without, as the stream says.

    Thousands may be told on one branch, and a rebuild asks for each: so each is read once.
    """

    def __init__(self, nc: Client, decoder: DeliveryDecoder) -> None:
        self._nc = nc
        self._decoder = decoder
        self._branches: dict[str, _Told] = {}

    async def has(self, projection: str, event: Delivered) -> bool:
        """Whether the projection goes on without this event."""
        for tenant_id, device_id in skip_branches(event):
            told = await self._read(_subject(tenant_id, device_id))
            if told.at.get((projection, event.position), 0) > event.position:
                return True
        return False

    async def has_before(self, projection: str, event: Delivered, event_id: str) -> bool:
        """Whether it goes on without an earlier event of the same device, which has that id."""
        own = (event.tenant_id, event.device_id)
        told = await self._read(_subject(*own))
        position = told.about.get((projection, event_id), event.position)
        return position < min(event.position, told.at.get((projection, position), 0))

    async def _read(self, subject: str) -> _Told:
        told = self._branches.get(subject)
        if told is None or not await self._stands(told):
            if len(self._branches) >= _BRANCHES_KEPT:
                self._branches.clear()
            told = self._branches[subject] = _Told()
        while True:
            known = told.last.position if told.last is not None else 0
            raw = await next_stored(self._nc, EVENTS, subject, known + 1)
            if raw is None:
                return told
            one = _decoded(self._decoder, raw)
            if isinstance(one, StoredEvent) and isinstance(one.event, EventSkipped):
                told.at[one.event.projection, one.event.position] = raw.position
                about = (one.event.projection, one.event.skipped_event_id)
                told.about[about] = one.event.position
            told.last = raw

    async def _stands(self, told: _Told) -> bool:
        """Whether the stream still has what was read, and was not put back or made anew since."""
        last = told.last
        return last is None or last == await stored_at(self._nc, EVENTS, last.position)


async def end_of_branch(nc: Client, js: JetStreamContext, tenant_id: str, device_id: str) -> Head:
    """Where a device's branch ends, whatever lies there: what has no place in the device's history
    counts for the position alone."""
    subjects = wire.branch_filter(tenant_id, device_id)
    last = await last_stored(nc, EVENTS, subjects)
    if last is None:
        return Head()
    event = _decoded(DeliveryDecoder(), last)
    if isinstance(event, StoredEvent) and 1 <= event.version <= event.position:
        return Head(event.version, event.position)
    return Head(await _last_version(nc, js, subjects, last.position), last.position)


async def _last_version(nc: Client, js: JetStreamContext, subjects: str, until: int) -> int:
    """The last place in a device's history that anything up to a position has."""
    found = 0
    async with (
        passing(nc, js, EVENTS, 1, [subjects]) as made,
        Puller(nc, EVENTS, made.consumer) as puller,
    ):
        while True:
            try:
                messages = await puller.next()
            except PullLost as error:
                raise Unavailable("NATS", f"reading a device's branch: {error}") from error
            for raw in map(from_delivery, messages):
                told = _told_version(raw.headers)
                readable = told != found + 1 and _is_readable(raw)
                found = version_after(found, told, raw.position, readable=readable)
                if raw.position >= until:
                    return found


def _subject(tenant_id: str, device_id: str) -> str:
    """Of the skips on a branch."""
    return f"{wire.PREFIX}.{to_token(tenant_id)}.{to_token(device_id)}.{_SKIPPED}"


def _told_version(headers: Mapping[str, str]) -> int | None:
    try:
        return number_in(headers.get("ce-sequence", ""))
    except ValueError:
        return None


def _is_readable(raw: RawMessage) -> bool:
    read = readable_or_not(raw.subject, raw.headers, raw.body, raw.position, raw.stored_at)
    return not isinstance(read, Unreadable)


def _decoded(decoder: DeliveryDecoder, raw: RawEvent) -> Delivered:
    return decoder.event(raw.subject.encode(), raw.block, raw.body, raw.position, raw.stored_ns)[0]
