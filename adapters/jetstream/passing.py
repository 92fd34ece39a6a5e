"""Consumers for one pass over a stream: without acknowledgements, gone when nobody reads on."""

from __future__ import annotations

from collections.abc import Sequence

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy

from adapters.jetstream.connection import outage_as_unavailable

UNREAD_SECONDS = 30.0


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
