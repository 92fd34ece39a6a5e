"""The event store on JetStream: optimistic append on a device's branch, contiguous reads.

Invariants: an append returns only after the server's acknowledgement (or after its effect was read
back); no read ever skips a position or a version in silence.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import APIError, NotFoundError

from adapters.jetstream import wire
from adapters.jetstream.batch import Outgoing, publish_batch
from adapters.jetstream.branch import BranchReader
from adapters.jetstream.codes import WRONG_LAST_SEQUENCE
from adapters.jetstream.connection import (
    REQUEST_TIMEOUT_SECONDS,
    missing_as_unavailable,
    outage_as_unavailable,
)
from adapters.jetstream.feed import Feed, message_at
from adapters.jetstream.parted import FULL
from adapters.jetstream.publisher import Publisher
from adapters.jetstream.raw import RawMessage, from_leader
from adapters.jetstream.streams import EVENTS
from domain.envelope import (
    Head,
    Mark,
    NewEvent,
    Selection,
    StoredEvent,
    StreamIdentity,
    stored_event,
)
from domain.errors import (
    AppendConflict,
    ConfigtrailError,
    MalformedEvent,
    StreamFull,
    StreamGap,
    Unavailable,
    UnknownEventType,
)
from domain.ports import ALL

log = logging.getLogger(__name__)

# The first try of the same append is still on its way through the cluster.
_IN_PROCESS = 10158
# A batch holds a message id that the stream has already.
_DUPLICATE_IN_BATCH = 10201


class JetStreamEventStore:
    """`domain.ports.EventStore` on the stream CONFIGTRAIL_EVENTS."""

    def __init__(self, nc: Client, js: JetStreamContext) -> None:
        self._nc = nc
        self._js = js
        self._publisher = Publisher(nc)
        self._feed = Feed(nc, js, EVENTS)
        self._branches = BranchReader(nc, js, EVENTS)

    async def append(self, event: NewEvent, after: Head) -> StoredEvent:
        """See `domain.ports.EventStore.append`. In the result `stored_at` is this program's clock:
        an acknowledgement does not tell the stream's."""
        subject, headers, body = wire.encode(event, after)
        try:
            with outage_as_unavailable("appending an event"):
                ack = await self._publisher.publish(
                    subject,
                    body,
                    headers,
                    timeout=REQUEST_TIMEOUT_SECONDS,
                    stream=EVENTS,
                )
        except APIError as error:
            if error.err_code in FULL:
                raise StreamFull(EVENTS) from error
            if error.err_code not in (*WRONG_LAST_SEQUENCE, _IN_PROCESS):
                raise
            return (await self._landed([event], after))[0]
        except Unavailable:
            # The acknowledgement may have been lost on its way: only the branch knows.
            return (await self._landed([event], after))[0]
        if ack.duplicate:
            return (await self._landed([event], after))[0]
        return stored_event(event, ack.seq, after.version + 1, datetime.now(UTC))

    async def append_together(
        self, events: Sequence[NewEvent], after: Head
    ) -> tuple[StoredEvent, ...]:
        """See `domain.ports.EventStore.append_together`."""
        if not events:
            return ()
        if len({(event.tenant_id, event.device_id) for event in events}) > 1:
            raise ValueError("events that are appended together are of one device")
        messages = [Outgoing(*wire.encode(events[0], after))]
        for version, event in enumerate(events[1:], after.version + 2):
            messages.append(Outgoing(*wire.encode_next(event, version)))
        try:
            first = await publish_batch(self._nc, messages)
        except APIError as error:
            if error.err_code in FULL:
                raise StreamFull(EVENTS) from error
            if error.err_code not in (*WRONG_LAST_SEQUENCE, _IN_PROCESS, _DUPLICATE_IN_BATCH):
                raise
            return await self._landed(events, after)
        except Unavailable:
            return await self._landed(events, after)
        now = datetime.now(UTC)
        return tuple(
            stored_event(event, first + index, after.version + 1 + index, now)
            for index, event in enumerate(events)
        )

    async def _landed(self, events: Sequence[NewEvent], after: Head) -> tuple[StoredEvent, ...]:
        """The events as the branch holds them, if they landed; else the reason why they did not."""
        tenant_id, device_id = events[0].tenant_id, events[0].device_id
        branch = wire.branch_filter(tenant_id, device_id)
        newer: list[StoredEvent] = []
        async with aclosing(
            self._branches.read_from_leader(branch, after.position + 1)
        ) as messages:
            async for stored in _versions(branch, after, messages):
                newer.append(stored)
        own = {event.event_id for event in events}
        landed = tuple(stored for stored in newer if stored.event_id in own)
        if len(landed) == len(events):
            return landed
        if newer:
            raise AppendConflict(tenant_id, device_id, newer)
        raise Unavailable("NATS", "the append was not acknowledged and is not in the stream")

    async def read_branch(
        self, tenant_id: str, device_id: str, after: Head | None = None
    ) -> AsyncGenerator[StoredEvent, None]:
        """See `domain.ports.EventStore.read_branch`."""
        head = after or Head()
        branch = wire.branch_filter(tenant_id, device_id)
        async with aclosing(self._branches.read(branch, head.position + 1)) as messages:
            async for stored in _versions(branch, head, messages):
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
        end = await self.head() if until is None else until
        if after >= end:
            return
        subjects = wire.selected_subjects(where)
        if subjects and not await self._feed.pending(after, subjects):
            return
        async with aclosing(self._feed.follow(after, subjects)) as batches:
            async for batch in batches:
                inside = _decoded([raw for raw in batch if raw.position <= end], unread)
                if inside:
                    yield inside
                if batch[-1].position >= end or (subjects and not batch[-1].pending):
                    return

    async def follow(
        self, after: int = 0, where: Selection = ALL
    ) -> AsyncGenerator[list[StoredEvent], None]:
        """See `domain.ports.EventStore.follow`."""
        async with aclosing(self._feed.follow(after, wire.selected_subjects(where))) as batches:
            async for batch in batches:
                yield [wire.decode_raw(raw) for raw in batch]

    async def position_at(self, moment: datetime) -> int:
        """See `domain.ports.EventStore.position_at`. Answered by the stream's leader."""
        head = await self.head()
        request = {
            "start_time": moment.astimezone(UTC).isoformat(),
            "next_by_subj": "configtrail.>",
        }
        with outage_as_unavailable("asking for a position by time"):
            reply = await self._nc.request(
                f"$JS.API.STREAM.MSG.GET.{EVENTS}",
                json.dumps(request).encode(),
                timeout=REQUEST_TIMEOUT_SECONDS,
            )
        answer = json.loads(reply.data)
        if "error" not in answer:
            return int(answer["message"]["seq"]) - 1
        error = answer["error"]
        if error["code"] != 404:
            raise APIError(error["code"], error["description"], error["err_code"])
        return head

    async def mark_at(self, position: int) -> Mark | None:
        """See `domain.ports.EventStore.mark_at`. Answered by the stream's leader."""
        with missing_as_unavailable(EVENTS):
            there = await message_at(self._js, EVENTS, position) if position else None
        if there is None:
            return None
        found = from_leader(there)
        return Mark(found.headers.get("ce-id", ""), found.stored_at)

    async def head(self) -> int:
        """See `domain.ports.EventStore.head`."""
        with missing_as_unavailable(EVENTS), outage_as_unavailable("asking for the head"):
            return (await self._js.stream_info(EVENTS)).state.last_seq

    async def identity(self) -> StreamIdentity:
        """See `domain.ports.EventStore.identity`."""
        return await self._feed.identity()


def _decoded(
    batch: Sequence[RawMessage], unread: Callable[[ConfigtrailError], None] | None
) -> list[StoredEvent]:
    found = []
    for raw in batch:
        try:
            found.append(wire.decode_raw(raw))
        except (MalformedEvent, UnknownEventType) as error:
            if unread is None:
                raise
            unread(error)
    return found


async def _versions(
    branch: str, head: Head, messages: AsyncGenerator[RawMessage, None]
) -> AsyncGenerator[StoredEvent, None]:
    """The events of one branch; raises `StreamGap` where its versions are not contiguous."""
    version = head.version
    async for raw in messages:
        stored = wire.decode_raw(raw)
        if stored.version != version + 1:
            raise StreamGap(f"versions of {branch}", version + 1, stored.version)
        version = stored.version
        yield stored


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
