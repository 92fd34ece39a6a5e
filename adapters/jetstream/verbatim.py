"""Events as they are stored, to the byte: subject, header block, body, sequence, time in ns.

nats-py gives parsed headers, which lose duplicates and spaces, and times cut to microseconds. What
is signed is what is stored, so this takes the bytes off the connection before they are parsed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.jetstream.connection import outage_as_unavailable
from adapters.jetstream.delivery import DeliveryDecoder
from adapters.jetstream.feed import AGAIN_SECONDS
from adapters.jetstream.passing import passing
from adapters.jetstream.pull import PullLost
from adapters.jetstream.source import RawPuller
from adapters.jetstream.stored import next_stored
from adapters.jetstream.streams import EVENTS
from adapters.jetstream.tap import TappedMessage, told_by
from domain.envelope import StreamIdentity
from domain.errors import NotFound
from domain.tlog.leaf import RawEvent, duplicate_header, subject_of
from projections.source import Delivered

log = logging.getLogger(__name__)


class RawFeed:
    """A stream's messages in order. What is missing in the stream is missing here: callers check
    positions. What was only lost on its way is fetched again."""

    def __init__(self, nc: Client, js: JetStreamContext, stream: str = EVENTS) -> None:
        self._nc = nc
        self._js = js
        self.stream = stream

    async def identity(self) -> StreamIdentity:
        """Name and creation time of the stream. Raises `Unavailable`."""
        with outage_as_unavailable("asking for the stream's identity"):
            info = await self._js.stream_info(self.stream)
        assert info.created is not None
        return StreamIdentity(self.stream, info.created)

    async def ends(self) -> tuple[int, int]:
        """The first and the last sequence, as the stream tells them; (1, 0) when it is empty."""
        with outage_as_unavailable("asking for the ends of the stream"):
            state = (await self._js.stream_info(self.stream)).state
        return (state.first_seq, state.last_seq) if state.last_seq else (1, 0)

    async def read(self, after: int = 0) -> AsyncGenerator[list[RawEvent], None]:
        """The messages after a position, up to the end as of now. Raises `Unavailable`."""
        _, end = await self.ends()
        position = after
        while position < end:
            async with passing(self._nc, self._js, self.stream, position + 1) as made:
                if not made.pending:  # what the stream says to hold up to its end is not there
                    return
                async with aclosing(self._pulled(made.consumer, position)) as batches:
                    async for batch, pending in batches:
                        inside = batch
                        if batch[-1].position > end:
                            inside = [one for one in batch if one.position <= end]
                        if inside:
                            yield inside
                            position = inside[-1].position
                        if not pending or position >= end or len(inside) < len(batch):
                            return

    async def get(self, position: int) -> RawEvent:
        """The message at a position. Raises `NotFound`, `Unavailable`."""
        async with aclosing(self.read(position - 1)) as batches:
            async for batch in batches:
                if batch[0].position == position:
                    return batch[0]
                break
        raise NotFound("event at position", str(position))

    async def follow(self, after: int = 0) -> AsyncGenerator[list[RawEvent], None]:
        """As `read`, and then on as events come, until the flow breaks off: whoever goes on then
        makes sure first that the stream is still the one it was. Raises `Unavailable`."""
        async with (
            passing(self._nc, self._js, self.stream, after + 1) as made,
            aclosing(self._pulled(made.consumer, after)) as batches,
        ):
            async for batch, _ in batches:
                yield batch

    async def _pulled(
        self, consumer: str, after: int
    ) -> AsyncGenerator[tuple[list[RawEvent], int], None]:
        """Batches, each with how many messages are to follow it. Ends when the flow broke off, and
        before a message that does not follow the one before it: that one may be lost on its way.
        When it is the first again, the stream is asked whether what should come before is missing.
        Raises `Unavailable`."""
        position, first = after, True
        try:
            async with RawPuller(self._nc, self.stream, consumer) as puller:
                while True:
                    batch: list[RawEvent] = []
                    pending, whole = 0, True
                    for message in await puller.take_all():
                        event, left = decode(message)
                        if event.position != position + 1:
                            if not first:
                                whole = False
                                break
                            held = await next_stored(self._nc, self.stream, ">", position + 1)
                            if held is not None and held.position < event.position:
                                raise PullLost(f"position {held.position} was lost on its way")
                        batch.append(event)
                        pending = left
                        position, first = event.position, False
                    if batch:
                        yield batch, pending
                    if not whole:
                        return
        except PullLost as error:
            log.info("raw feed: %s; going on from position %d", error, position + 1)
            await asyncio.sleep(AGAIN_SECONDS)


def decode(message: TappedMessage) -> tuple[RawEvent, int]:
    """The event in a delivered message, and how many are to follow it."""
    told = told_by(message.reply)
    event = RawEvent(
        int(told[1]), int(told[3]), subject_of(message.subject), message.headers, message.data
    )
    return event, int(told[4])


class Reader:
    """Decodes events as the projections do, from the same bytes."""

    def __init__(self) -> None:
        self._decoder = DeliveryDecoder()

    def read(self, event: RawEvent) -> Delivered:
        """What an event says, or what can be said of one that can't be read."""
        return self.read_closely(event)[0]

    def read_closely(self, event: RawEvent) -> tuple[Delivered, bool]:
        """The same, and whether other readers may read something else: a header is there twice."""
        told = self._decoder.event(
            event.subject, event.block, event.body, event.position, event.stored_ns
        )
        if told[1]:
            return told[0], False
        return told[0], duplicate_header(event.block) is not None
