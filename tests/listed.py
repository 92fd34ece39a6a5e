"""A source of events that is a list: for tests of what comes behind the stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from domain.envelope import StoredEvent, StreamIdentity
from domain.events import EventSkipped
from projections.precedence import Precedence
from projections.projection import Projection
from projections.rows import Pool
from projections.source import Delivered
from projections.writer import ProjectionWriter
from tests.generators import STREAM


async def brought_in(
    pool: Pool, projections: Iterable[Projection[Any]], events: Sequence[StoredEvent]
) -> None:
    """Each read model takes all of the events in, as one batch."""
    for projection in projections:
        writer = ProjectionWriter(pool, projection, Listed(events))
        await writer.prepare(STREAM)
        await writer.apply(events)


class Listed:
    """`projections.source.EventSource` over events that are there, and `more` that may come."""

    def __init__(
        self,
        events: Sequence[Delivered],
        *,
        head: int | None = None,
        identity: StreamIdentity = STREAM,
    ) -> None:
        self.events = list(events)
        self._head = head
        self._identity = identity
        self._news = asyncio.Condition()
        self._precedence = Precedence()

    async def more(self, events: Sequence[Delivered]) -> None:
        """The stream goes on."""
        async with self._news:
            self.events += events
            self._news.notify_all()

    async def follow(self, after: int = 0) -> AsyncGenerator[Sequence[Delivered], None]:
        while True:
            async with self._news:
                while len(self.events) <= after:
                    await self._news.wait()
            batch = self.events[after : after + 100]
            yield batch
            after += len(batch)

    async def at(self, position: int) -> Delivered:
        return self.events[position - 1]

    async def skipped(self, projection: str, event: Delivered) -> bool:
        return any(
            isinstance(one, StoredEvent)
            and isinstance(one.event, EventSkipped)
            and (one.event.projection, one.event.position) == (projection, event.position)
            for one in self.events
        )

    async def skipped_before(self, projection: str, event: Delivered, event_id: str) -> bool:
        return any(
            isinstance(one, StoredEvent)
            and isinstance(one.event, EventSkipped)
            and (one.event.projection, one.event.skipped_event_id) == (projection, event_id)
            and (one.tenant_id, one.device_id) == (event.tenant_id, event.device_id)
            and one.event.position < event.position
            for one in self.events
        )

    async def head(self) -> int:
        return len(self.events) if self._head is None else self._head

    async def identity(self) -> StreamIdentity:
        return self._identity

    def ahead(self) -> AbstractContextManager[Callable[[], None]]:
        return self._precedence.ahead()
