"""The event store in memory: for tests of one's own, and for trying rules out. Nothing is kept.

It passes the same suite of behaviour as the store on JetStream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime

from domain.envelope import (
    Head,
    Mark,
    NewEvent,
    Selection,
    StoredEvent,
    StreamIdentity,
    stored_event,
)
from domain.errors import AppendConflict, BatchTooLarge, ConfigtrailError, StreamMismatch
from domain.ports import ALL, MAX_TOGETHER

_BATCH = 500


class MemoryEventStore:
    """`domain.ports.EventStore` in one event loop's memory."""

    def __init__(self, name: str = "MEMORY") -> None:
        self._name = name
        self._created = datetime.now(UTC)
        self._events: list[StoredEvent] = []
        self._changed = asyncio.Condition()

    async def append(self, event: NewEvent, after: Head) -> StoredEvent:
        """See `domain.ports.EventStore.append`."""
        return (await self.append_together([event], after))[0]

    async def append_together(
        self, events: Sequence[NewEvent], after: Head
    ) -> tuple[StoredEvent, ...]:
        """See `domain.ports.EventStore.append_together`."""
        if len(events) > MAX_TOGETHER:
            raise BatchTooLarge(len(events), MAX_TOGETHER)
        if not events:
            return ()
        tenant_id, device_id = events[0].tenant_id, events[0].device_id
        if any((one.tenant_id, one.device_id) != (tenant_id, device_id) for one in events):
            raise ValueError("events that are appended together are of one device")
        async with self._changed:
            newer = self._branch(tenant_id, device_id, after)
            if newer:
                own = {event.event_id for event in events}
                landed = tuple(one for one in newer if one.event_id in own)
                if len(landed) == len(events):
                    return landed
                raise AppendConflict(tenant_id, device_id, newer)
            now = datetime.now(UTC)
            stored = tuple(
                stored_event(event, len(self._events) + number, after.version + number, now)
                for number, event in enumerate(events, 1)
            )
            self._events += stored
            self._changed.notify_all()
            return stored

    async def read_branch(
        self, tenant_id: str, device_id: str, after: Head | None = None
    ) -> AsyncGenerator[StoredEvent, None]:
        """See `domain.ports.EventStore.read_branch`."""
        for stored in self._branch(tenant_id, device_id, after or Head()):
            yield stored

    async def read(
        self,
        after: int = 0,
        until: int | None = None,
        where: Selection = ALL,
        *,
        unread: Callable[[ConfigtrailError], None] | None = None,
    ) -> AsyncGenerator[list[StoredEvent], None]:
        """See `domain.ports.EventStore.read`."""
        found = [one for one in self._events[after:until] if where.takes(one)]
        for start in range(0, len(found), _BATCH):
            yield found[start : start + _BATCH]

    async def follow(
        self, after: int = 0, where: Selection = ALL
    ) -> AsyncGenerator[list[StoredEvent], None]:
        """See `domain.ports.EventStore.follow`."""
        created = self._created
        while True:
            async with self._changed:
                while len(self._events) <= after and self._created == created:
                    await self._changed.wait()
            if self._created != created:
                raise StreamMismatch(self._name, "it was made anew while it was followed")
            batch = self._events[after : after + _BATCH]
            after += len(batch)
            if wanted := [one for one in batch if where.takes(one)]:
                yield wanted

    async def position_at(self, moment: datetime) -> int:
        """See `domain.ports.EventStore.position_at`."""
        return sum(one.stored_at < moment for one in self._events)

    async def mark_at(self, position: int) -> Mark | None:
        """See `domain.ports.EventStore.mark_at`."""
        found = self._events[position - 1 : position] if position else []
        return Mark(found[0].event_id, found[0].stored_at) if found else None

    async def head(self) -> int:
        """See `domain.ports.EventStore.head`."""
        return len(self._events)

    async def identity(self) -> StreamIdentity:
        """See `domain.ports.EventStore.identity`."""
        return StreamIdentity(self._name, self._created)

    async def recreate(self) -> None:
        """Forget everything, as when a stream was deleted and made again."""
        async with self._changed:
            self._events = []
            self._created = datetime.now(UTC)
            self._changed.notify_all()

    def _branch(self, tenant_id: str, device_id: str, after: Head) -> list[StoredEvent]:
        where = Selection(tenant_id=tenant_id, device_id=device_id)
        return [one for one in self._events[after.position :] if where.takes(one)]
