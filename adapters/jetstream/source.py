"""The stream of events as projections read it: fast, contiguous, and over what can't be decoded."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, aclosing
from types import TracebackType
from typing import Self

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from adapters.jetstream.connection import (
    RETRY_SECONDS,
    missing_as_unavailable,
    outage_as_unavailable,
)
from adapters.jetstream.delivery import DeliveryDecoder
from adapters.jetstream.feed import AGAIN_SECONDS, contiguous, missing_or_lost, put_back, recreated
from adapters.jetstream.passing import passing
from adapters.jetstream.pull import Puller, PullLost
from adapters.jetstream.skips import Skips, end_of_branch, event_at
from adapters.jetstream.streams import EVENTS
from adapters.jetstream.tap import Tap, TappedMessage
from domain.envelope import Head, StreamIdentity
from domain.errors import StreamGap, Unavailable
from projections.precedence import Precedence
from projections.source import EVENT_BYTES, Batch, Delivered

log = logging.getLogger(__name__)

# Decoding so many takes a millisecond, in which nobody else has a turn. A batch goes eight ways to
# Postgres and back, which does nothing meanwhile: with 250 each of them took twice as long.
TAKEN = 100
TAKEN_BYTES = TAKEN * EVENT_BYTES


class JetStreamSource:
    """`projections.source.EventSource` on the stream CONFIGTRAIL_EVENTS."""

    def __init__(self, nc: Client, js: JetStreamContext) -> None:
        self._nc = nc
        self._js = js
        self._decoder = DeliveryDecoder()
        self._skips = Skips(nc, self._decoder)
        self._precedence = Precedence()

    async def head(self) -> int:
        """See `EventSource.head`."""
        with missing_as_unavailable(EVENTS), outage_as_unavailable("asking for the head"):
            return (await self._js.stream_info(EVENTS)).state.last_seq

    async def identity(self) -> StreamIdentity:
        """See `EventSource.identity`."""
        with missing_as_unavailable(EVENTS), outage_as_unavailable("asking for the identity"):
            info = await self._js.stream_info(EVENTS)
        assert info.created is not None
        return StreamIdentity(EVENTS, info.created)

    async def at(self, position: int) -> Delivered:
        """See `EventSource.at`."""
        with missing_as_unavailable(EVENTS):
            return await event_at(self._nc, self._decoder, position)

    def ahead(self) -> AbstractContextManager[Callable[[], None]]:
        """See `EventSource.ahead`."""
        return self._precedence.ahead()

    async def branch_head(self, tenant_id: str, device_id: str) -> Head:
        """Where a device's branch ends, whether its events can be decoded or not."""
        with missing_as_unavailable(EVENTS):
            return await end_of_branch(self._nc, self._js, tenant_id, device_id)

    async def skipped_before(self, projection: str, event: Delivered, event_id: str) -> bool:
        """See `EventSource.skipped_before`."""
        with missing_as_unavailable(EVENTS):
            return await self._skips.has_before(projection, event, event_id)

    async def skipped(self, projection: str, event: Delivered) -> bool:
        """See `EventSource.skipped`."""
        with missing_as_unavailable(EVENTS):
            return await self._skips.has(projection, event)

    async def follow(self, after: int = 0) -> AsyncGenerator[list[Delivered], None]:
        """See `EventSource.follow`. Outages are waited out. Raises `StreamMismatch` when the stream
        was recreated meanwhile, or put back to an older copy."""
        identity: StreamIdentity | None = None
        position = after
        last: Delivered | None = None
        while True:
            try:
                now = await self.identity()
                if identity is not None and now != identity:
                    raise recreated(EVENTS)
                identity = now
                if last is not None:
                    await self._check_there(last)
                elif position:
                    # What was read before this flow: without it, a stream that is put back before
                    # anything new comes would be taken for the same.
                    last = await self._before(position)
                async with aclosing(self._batches(position)) as batches:
                    async for batch in batches:
                        yield batch
                        last = batch[-1]
                        position = last.position
            except PullLost as error:
                log.info("event source: %s; going on from position %d", error, position + 1)
                await asyncio.sleep(AGAIN_SECONDS)
            except (Unavailable, NotFoundError) as error:
                log.warning("event source: %s; trying again", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _batches(self, position: int) -> AsyncGenerator[list[Delivered], None]:
        """What one consumer gives, as long as it lasts; each position follows the one before."""
        decode = self._decoder.decode
        first = True
        async with (
            passing(self._nc, self._js, EVENTS, position + 1) as made,
            RawPuller(self._nc, EVENTS, made.consumer) as puller,
        ):
            while True:
                messages = await puller.take_all()
                await self._precedence.give_way()
                size = sum(len(one.data) for one in messages)
                batch = Batch(map(decode, messages), len(messages) + size // EVENT_BYTES)
                good = contiguous(position, [one.position for one in batch])
                if good:
                    yield batch if good == len(batch) else batch[:good]
                    position += good
                elif first:
                    # The consumer began here.
                    raise await missing_or_lost(self._nc, EVENTS, position + 1, batch[0].position)
                first = False
                if good < len(batch):
                    raise PullLost(f"position {position + 1} was lost on its way")

    async def _before(self, position: int) -> Delivered | None:
        try:
            return await self.at(position)
        except StreamGap:
            return None

    async def _check_there(self, last: Delivered) -> None:
        """The last event that was read must be where it was: else this is another history."""
        now = await self._before(last.position)
        # What is recorded anew has the same id, and another time.
        if now is None or (now.event_id, now.stored_at) != (last.event_id, last.stored_at):
            raise put_back(EVENTS, last.position)


class RawPuller(Puller):
    """A `Puller` whose messages come through the connection's tap.

    `batch` is so large that the server has work while a batch is decoded, folded and written: with
    1,000 it was waited for a seventh of the time.
    """

    def __init__(self, nc: Client, stream: str, consumer: str, *, batch: int = 4_000) -> None:
        super().__init__(nc, stream, consumer, batch=batch)
        self._tap = Tap.of(nc)
        self._raw: deque[TappedMessage] = deque()
        self._raw_bytes = 0

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if self._tap is None or self._subscription is None:
            raise RuntimeError("connect with adapters.jetstream.connection to read events")
        self._tap.open(self._subscription._id, self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._tap is not None and self._subscription is not None:
            self._tap.close(self._subscription._id)
        await super().__aexit__(kind, error, trace)

    def take(self, message: TappedMessage) -> None:
        """See `Taker.take`."""
        self._raw.append(message)
        self._raw_bytes += len(message.data)
        self._owed -= 1

    def taken(self) -> None:
        """See `Taker.taken`."""
        self._came.set()

    async def take_all(self) -> list[TappedMessage]:
        """The messages that are here, at least one and at most `TAKEN`, or fewer large ones; waits
        for the first.

        Raises `PullLost` when neither messages nor heartbeats come.
        """
        while not self._raw:
            await self._wait_for_more()
        count = min(len(self._raw), TAKEN)
        messages: list[TappedMessage] = []
        size = 0
        while len(messages) < count and size <= TAKEN_BYTES:
            message = self._raw.popleft()
            messages.append(message)
            size += len(message.data)
        self._raw_bytes -= size
        if len(self._raw) <= self._batch and self._raw_bytes <= self._max_bytes // 2:
            await self._request()
        return messages
