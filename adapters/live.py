"""A tenant's events as they come, for any number of listeners: the stream is read once a process.

Invariants: a listener gets every event of its tenant after its position, once and in order, or its
feed ends; then it comes again with the last position that it had. What is kept for one that does
not read is bounded. Positions are the stream's, so a feed goes on over restarts of everything.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from msgspec import Struct, field

from domain.envelope import Selection, StoredEvent
from domain.errors import (
    ConfigtrailError,
    InvalidInput,
    MalformedEvent,
    Unavailable,
    UnknownEventType,
)
from domain.events import encode_event, event_name
from domain.ports import EventStore
from projections.audit.write import ACTIONS, resource_of
from projections.source import Delivered, EventSource, Unreadable

log = logging.getLogger(__name__)

LISTENERS_MAX = 1_500
# No tenant keeps all others out.
OF_TENANT_MAX = 1_200
# A listener that is this many events behind does not read: its feed ends.
KEPT = 1_000


class Frame(Struct, frozen=True):
    """An event as listeners get it (JSON, one line). Without a body it only says that there is
    nothing else up to its position."""

    position: int
    body: bytes = b""


class _Listener(Struct, eq=False):
    waiting: deque[Frame] = field(default_factory=deque)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False

    def end(self) -> None:
        self.ended = True
        self.waiting.clear()
        self.news.set()


class Live:
    """Reads the stream while anybody listens, from its end on; who comes later gets what is
    missing from the stream itself."""

    def __init__(
        self, source: EventSource, events: EventStore, *, heartbeat: float, kept: int = KEPT
    ) -> None:
        self._source = source
        self._events = events
        self._heartbeat = heartbeat
        self._kept = kept
        self._listeners: dict[str, set[_Listener]] = {}
        self._counts: Counter[str] = Counter()
        self._position = 0
        self._starting = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None
        self._stopped = False

    async def listen(self, tenant_id: str, after: int | None = None) -> AsyncGenerator[Frame, None]:
        """Events after a position (None: from now on), with empty frames while there are none. Ends
        when the listener does not keep up, when the stream is another one, or with the program.

        Raises `InvalidInput` for a position ahead of the stream, and `Unavailable`.
        """
        full = self.listeners >= LISTENERS_MAX or self._counts[tenant_id] >= OF_TENANT_MAX
        if self._stopped or full:
            raise Unavailable("the live feed", "it takes no more listeners")
        self._counts[tenant_id] += 1
        listener = _Listener()
        try:
            await self._follow()
            if after is not None and after > self._position:
                await self._check_there(after)
            sent = self._position if after is None else after
            yield Frame(sent)
            # Most of what is missing comes before anything is kept for this listener.
            for registered in (False, True):
                if registered:
                    self._listeners.setdefault(tenant_id, set()).add(listener)
                    await self._follow()
                until = self._position
                async with aclosing(self._missed(tenant_id, sent, until)) as missed:
                    async for frame in missed:
                        yield frame
                sent = max(sent, until)
            async with aclosing(self._coming(listener, sent)) as coming:
                async for frame in coming:
                    yield frame
        finally:
            self._counts[tenant_id] -= 1
            if not self._counts[tenant_id]:
                del self._counts[tenant_id]
            self._forget(tenant_id, listener)

    async def stop(self) -> None:
        """End every feed, and take no more listeners."""
        self._stopped = True
        self._end_all()
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    @property
    def listeners(self) -> int:
        """How many there are."""
        return self._counts.total()

    async def _follow(self) -> None:
        async with self._starting:
            if self._following is None or self._following.done():
                self._position = await self._source.head()
                self._following = asyncio.create_task(self._read(), name="live")

    async def _read(self) -> None:
        try:
            async with aclosing(self._source.follow(self._position)) as batches:
                async for batch in batches:
                    for one in batch:
                        self._hand_out(one)
        except ConfigtrailError as error:
            # The stream is not what it was: who comes again is told so, or begins anew.
            log.error("the live feed ends: %s", error)
        finally:
            self._end_all()

    def _hand_out(self, event: Delivered) -> None:
        self._position = event.position
        listeners = self._listeners.get(event.tenant_id)
        if not listeners:
            return
        frame = frame_of(event)
        for one in listeners:
            if one.ended:
                continue
            if len(one.waiting) >= self._kept:
                log.warning("a listener does not keep up; its feed ends")
                one.end()
                continue
            one.waiting.append(frame)
            one.news.set()

    async def _coming(self, listener: _Listener, sent: int) -> AsyncGenerator[Frame, None]:
        while not listener.ended:
            listener.news.clear()
            while listener.waiting:
                frame = listener.waiting.popleft()
                if frame.position > sent:
                    sent = frame.position
                    yield frame
            if listener.news.is_set():
                continue
            try:
                async with asyncio.timeout(self._heartbeat):
                    await listener.news.wait()
            except TimeoutError:
                if not listener.waiting:
                    sent = max(sent, self._position)
                    yield Frame(sent)

    async def _missed(self, tenant_id: str, after: int, until: int) -> AsyncGenerator[Frame, None]:
        bound, unreadable = until, None
        while after < until:
            try:
                found = self._events.read(after, bound, Selection(tenant_id=tenant_id))
                async with aclosing(found) as batches:
                    async for batch in batches:
                        for stored in batch:
                            yield frame_of(stored)
                            after = stored.position
            except (MalformedEvent, UnknownEventType) as error:
                bound, unreadable = error.position - 1, error.position
                continue
            if unreadable is not None:
                yield frame_of(await self._source.at(unreadable))
            after, bound, unreadable = unreadable or until, until, None

    async def _check_there(self, after: int) -> None:
        head = await self._source.head()
        if after > head:
            raise InvalidInput(
                "Last-Event-ID", f"is ahead of the stream, which ends at {head}; begin without it"
            )

    def _forget(self, tenant_id: str, listener: _Listener) -> None:
        listeners = self._listeners.get(tenant_id, set())
        listeners.discard(listener)
        if not listeners:
            self._listeners.pop(tenant_id, None)

    def _end_all(self) -> None:
        for listeners in self._listeners.values():
            for one in listeners:
                one.end()


def frame_of(event: Delivered) -> Frame:
    """An event as an entry of the audit trail has it, with its type; of one that can't be read,
    what can be said."""
    told: dict[str, object] = {
        "id": event.event_id,
        "position": event.position,
        "device_id": event.device_id,
    }
    if isinstance(event, Unreadable):
        told |= {"type": event.type_name, "details": None}
    else:
        told |= {"type": event_name(event.event), **_entry(event)}
    return Frame(event.position, msgspec.json.encode(told))


def _entry(stored: StoredEvent) -> dict[str, object]:
    resource_type, resource_id = resource_of(stored.event, stored.tenant_id, stored.device_id)
    return {
        "actor": stored.event.actor,
        "action": ACTIONS[type(stored.event)],
        "resource_type": resource_type,
        "resource_id": resource_id,
        "created_at": stored.occurred_at,
        "recorded_at": stored.stored_at,
        "correlation_id": stored.correlation_id,
        "causation_id": stored.causation_id,
        "details": msgspec.Raw(encode_event(stored.event)),
    }
