"""Following the stream of events from a position, over outages, without ever skipping one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from adapters.jetstream import wire
from adapters.jetstream.connection import RETRY_SECONDS, outage_as_unavailable
from adapters.jetstream.pull import Puller, PullLost
from adapters.jetstream.streams import EVENTS
from domain.envelope import StoredEvent, StreamIdentity
from domain.errors import StreamGap, StreamMismatch, Unavailable

log = logging.getLogger(__name__)


class EventFeed:
    """All events after a position, in order, through short-lived pull consumers."""

    def __init__(self, nc: Client, js: JetStreamContext) -> None:
        self._nc = nc
        self._js = js

    async def identity(self) -> StreamIdentity:
        """Name and creation time of the stream."""
        with outage_as_unavailable("asking for the stream's identity"):
            info = await self._js.stream_info(EVENTS)
        assert info.created is not None
        return StreamIdentity(EVENTS, info.created)

    async def follow(self, after: int) -> AsyncGenerator[list[StoredEvent], None]:
        """Batches of events from `after + 1` on, for ever.

        Outages are waited out. Raises `StreamGap` when a position is missing in the stream, and
        `StreamMismatch` when the stream was recreated meanwhile.
        """
        identity: StreamIdentity | None = None
        position = after
        while True:
            try:
                now = await self.identity()
                if identity is not None and now != identity:
                    raise StreamMismatch(EVENTS, "the stream was recreated while it was followed")
                identity = now
                consumer = await self._consumer(position + 1)
                first = True
                async with Puller(self._nc, EVENTS, consumer) as puller:
                    while True:
                        messages = await puller.next()
                        batch = [decode_delivery(msg) for msg in messages]
                        found = _first_gap(position, batch)
                        if found is not None and first and found == batch[0].position:
                            raise StreamGap(EVENTS, position + 1, found)
                        if found is not None:
                            raise PullLost(f"position {position + 1} was lost on its way")
                        first = False
                        yield batch
                        position = batch[-1].position
            except PullLost as error:
                log.info("event feed: %s; going on from position %d", error, position + 1)
            except (Unavailable, NotFoundError) as error:
                log.warning("event feed: %s; trying again", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _consumer(self, start: int) -> str:
        with outage_as_unavailable("making a consumer"):
            info = await self._js.add_consumer(
                EVENTS,
                ConsumerConfig(
                    name=self._nc.new_inbox().rpartition(".")[2],
                    deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                    opt_start_seq=start,
                    ack_policy=AckPolicy.NONE,
                    mem_storage=True,
                    num_replicas=1,
                    inactive_threshold=30.0,
                ),
            )
        assert info.name is not None
        return info.name


def decode_delivery(msg: Msg) -> StoredEvent:
    """The event in a message that a consumer delivered."""
    # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<ns>.<pending>, or the
    # longer form with domain and account hash in front (server ADR-15): count from the end.
    tokens = msg.reply.split(".")
    tail = tokens[-5:] if len(tokens) == 9 else tokens[-6:-1]
    _, position, _, nanoseconds, _ = tail
    return wire.decode(
        msg.subject,
        msg.headers or {},
        msg.data,
        int(position),
        wire.moment_of(int(nanoseconds)),
    )


def _first_gap(position: int, batch: list[StoredEvent]) -> int | None:
    """The first position in the batch that does not follow the one before it."""
    for stored in batch:
        if stored.position != position + 1:
            return stored.position
        position = stored.position
    return None
