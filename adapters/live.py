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

from msgspec import Struct, field

from adapters.frames import READABLE, Frame, frame_of, outline_of
from domain.envelope import Selection
from domain.errors import (
    ConfigtrailError,
    InvalidInput,
    MalformedEvent,
    Unavailable,
    UnknownEventType,
)
from domain.ports import EventStore
from projections.source import Delivered, EventSource

log = logging.getLogger(__name__)

LISTENERS_MAX = 1_500
# No tenant keeps all others out.
OF_TENANT_MAX = 1_200
# A listener that is this many events behind does not read: its feed ends.
KEPT = 1_000
# So does one for whom so much waits, but for a single event.
KEPT_BYTES = 16 * 1024 * 1024


class _Listener(Struct, eq=False):
    whole: bool
    waiting: deque[Frame] = field(default_factory=deque)
    waiting_bytes: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False

    def end(self) -> None:
        self.ended = True
        self.waiting.clear()
        self.waiting_bytes = 0
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

    async def listen(
        self, tenant_id: str, after: int | None = None, *, whole: bool = True
    ) -> AsyncGenerator[Frame, None]:
        """Events after a position (None: from now on), with empty frames while there are none. Ends
        when the listener does not keep up, when the stream is another one, or with the program.
        Unless `whole`, they are those that other reads show as well, in outline.

        Raises `InvalidInput` for a position ahead of the stream, and `Unavailable`.
        """
        full = self.listeners >= LISTENERS_MAX or self._counts[tenant_id] >= OF_TENANT_MAX
        if self._stopped or full:
            raise Unavailable("the live feed", "it takes no more listeners")
        self._counts[tenant_id] += 1
        listener = _Listener(whole)
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
                async with aclosing(self._missed(tenant_id, sent, until, whole)) as missed:
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
        frames = {whole: _told(event, whole) for whole in {one.whole for one in listeners}}
        for one in listeners:
            frame = frames[one.whole]
            if one.ended or frame is None:
                continue
            size = one.waiting_bytes + len(frame.body)
            if len(one.waiting) >= self._kept or (one.waiting and size > KEPT_BYTES):
                log.warning("a listener does not keep up; its feed ends")
                one.end()
                continue
            one.waiting.append(frame)
            one.waiting_bytes = size
            one.news.set()

    async def _coming(self, listener: _Listener, sent: int) -> AsyncGenerator[Frame, None]:
        while not listener.ended:
            listener.news.clear()
            while listener.waiting:
                frame = listener.waiting.popleft()
                listener.waiting_bytes -= len(frame.body)
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

    async def _missed(
        self, tenant_id: str, after: int, until: int, whole: bool
    ) -> AsyncGenerator[Frame, None]:
        types = () if whole else tuple(one.__name__ for one in READABLE)
        wanted = Selection(tenant_id=tenant_id, types=types)
        bound, unreadable = until, None
        while after < until:
            try:
                async with aclosing(self._events.read(after, bound, wanted)) as batches:
                    async for batch in batches:
                        for stored in batch:
                            if (frame := _told(stored, whole)) is not None:
                                yield frame
                            after = stored.position
            except (MalformedEvent, UnknownEventType) as error:
                bound, unreadable = error.position - 1, error.position
                continue
            if unreadable is not None:
                frame = _told(await self._source.at(unreadable), whole)
                if frame is not None:
                    yield frame
            after, bound, unreadable = unreadable or until, until, None

    async def _check_there(self, after: int) -> None:
        head = await self._source.head()
        if after > head:
            raise InvalidInput(
                "after", f"is ahead of the stream, which ends at {head}; begin without it"
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


def _told(event: Delivered, whole: bool) -> Frame | None:
    return frame_of(event) if whole else outline_of(event)
