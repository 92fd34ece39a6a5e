"""The event store on JetStream: optimistic append on a device's branch, contiguous reads.

Invariants: an append returns only after the server's acknowledgement (or after its effect was read
back); no read ever skips a position or a version in silence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import APIError, NotFoundError

from adapters.jetstream import wire
from adapters.jetstream.branch import BranchReader
from adapters.jetstream.connection import REQUEST_TIMEOUT_SECONDS, outage_as_unavailable
from adapters.jetstream.feed import EventFeed
from adapters.jetstream.streams import EVENTS
from domain.envelope import Head, NewEvent, StoredEvent, StreamIdentity
from domain.errors import AppendConflict, Unavailable

log = logging.getLogger(__name__)

WRONG_LAST_SEQUENCE = (10071, 10164)


class JetStreamEventStore:
    """`domain.ports.EventStore` on the stream CONFIGTRAIL_EVENTS."""

    def __init__(self, nc: Client, js: JetStreamContext) -> None:
        self._js = js
        self._feed = EventFeed(nc, js)
        self._branches = BranchReader(nc, js)

    async def append(self, event: NewEvent, after: Head) -> StoredEvent:
        """See `domain.ports.EventStore.append`. In the result `stored_at` is this program's clock:
        an acknowledgement does not tell the stream's."""
        subject, headers, body = wire.encode(event, after)
        try:
            with outage_as_unavailable("appending an event"):
                ack = await self._js.publish(
                    subject,
                    body,
                    headers=headers,
                    stream=EVENTS,
                    timeout=REQUEST_TIMEOUT_SECONDS,
                )
        except APIError as error:
            if error.err_code not in WRONG_LAST_SEQUENCE:
                raise
            return await self._landed(event, after)
        except Unavailable:
            # The acknowledgement may have been lost on its way: only the branch knows.
            return await self._landed(event, after)
        if ack.duplicate:
            return await self._landed(event, after)
        return StoredEvent(
            position=ack.seq,
            version=after.version + 1,
            stored_at=datetime.now(UTC),
            event_id=event.event_id,
            tenant_id=event.tenant_id,
            device_id=event.device_id,
            occurred_at=event.occurred_at,
            event=event.event,
            correlation_id=event.correlation_id,
            causation_id=event.causation_id,
            traceparent=event.traceparent,
        )

    async def _landed(self, event: NewEvent, after: Head) -> StoredEvent:
        """The event as the branch holds it, if it landed; else the reason why it did not."""
        newer = await self._branches.read_from_leader(event.tenant_id, event.device_id, after)
        for stored in newer:
            if stored.event_id == event.event_id:
                return stored
        if newer:
            raise AppendConflict(event.tenant_id, event.device_id, newer)
        raise Unavailable("NATS", "the event was not acknowledged and is not in the stream")

    def read_branch(
        self, tenant_id: str, device_id: str, after: Head | None = None
    ) -> AsyncGenerator[StoredEvent, None]:
        """See `domain.ports.EventStore.read_branch`."""
        return self._branches.read(tenant_id, device_id, after or Head())

    async def read(
        self, after: int = 0, until: int | None = None
    ) -> AsyncGenerator[list[StoredEvent], None]:
        """See `domain.ports.EventStore.read`."""
        end = await self.head() if until is None else until
        if after >= end:
            return
        async with aclosing(self._feed.follow(after)) as batches:
            async for batch in batches:
                inside = [stored for stored in batch if stored.position <= end]
                if inside:
                    yield inside
                if batch[-1].position >= end:
                    return

    def follow(self, after: int = 0) -> AsyncGenerator[list[StoredEvent], None]:
        """See `domain.ports.EventStore.follow`."""
        return self._feed.follow(after)

    async def head(self) -> int:
        """See `domain.ports.EventStore.head`."""
        with outage_as_unavailable("asking for the head of the stream"):
            return (await self._js.stream_info(EVENTS)).state.last_seq

    async def identity(self) -> StreamIdentity:
        """See `domain.ports.EventStore.identity`."""
        return await self._feed.identity()


async def wait_available(store: JetStreamEventStore, *, every: float = 2.0) -> None:
    """Return when the stream answers; says so each few seconds while it does not."""
    while True:
        try:
            await store.head()
        except (Unavailable, NotFoundError) as error:
            log.warning("waiting for the event stream: %s", error)
            await asyncio.sleep(every)
        else:
            return
