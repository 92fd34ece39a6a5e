"""Consumers for one pass over a stream: without acknowledgements, gone when nobody reads on."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from msgspec import Struct
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy

from adapters.jetstream.connection import outage_as_unavailable

log = logging.getLogger(__name__)

UNREAD_SECONDS = 30.0


class Pass(Struct, frozen=True):
    """A consumer by its name, and how many messages it had to give when it was made."""

    consumer: str
    pending: int


@asynccontextmanager
async def passing(
    nc: Client, js: JetStreamContext, stream: str, start: int, subjects: Sequence[str] = ()
) -> AsyncIterator[Pass]:
    """As `passing_consumer`, until the block ends: who comes again and again uses up none of the
    server's room."""
    info = await passing_consumer(nc, js, stream, start, subjects)
    assert info.name is not None
    try:
        yield Pass(info.name, info.num_pending or 0)
    finally:
        await _let_go(nc, stream, info.name)


async def passing_consumer(
    nc: Client, js: JetStreamContext, stream: str, start: int, subjects: Sequence[str] = ()
) -> ConsumerInfo:
    """A consumer of all messages from a position on; with `subjects` only of those under them.

    Raises `Unavailable`.
    """
    with outage_as_unavailable("making a consumer"):
        return await js.add_consumer(
            stream,
            ConsumerConfig(
                name=nc.new_inbox().rpartition(".")[2],
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=start,
                filter_subjects=list(subjects) or None,
                ack_policy=AckPolicy.NONE,
                mem_storage=True,
                num_replicas=1,
                inactive_threshold=UNREAD_SECONDS,
            ),
        )


async def _let_go(nc: Client, stream: str, consumer: str) -> None:
    """Have the server end a consumer. Nobody waits for its answer: what it does not hear, or can't
    do now, it does by itself once nobody has read for `UNREAD_SECONDS`."""
    try:
        await nc.publish(f"$JS.API.CONSUMER.DELETE.{stream}.{consumer}", reply=nc.new_inbox())
    except NatsError as error:
        log.info(
            "consumer %s of %s is left to end by itself: %s", consumer, stream, type(error).__name__
        )
