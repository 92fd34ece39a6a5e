"""What lies on a stream, as a rule without what is in it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Final

from msgspec import Struct
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from adapters.jetstream.connection import REQUEST_TIMEOUT_SECONDS, outage_as_unavailable

_FETCH: Final = 500


class Listed(Struct, frozen=True):
    """A message: its place, when the stream stored it, and what is in it, if that was wanted."""

    sequence: int
    subject: str
    stored_at: datetime
    body: bytes = b""


async def listed(
    js: JetStreamContext, stream: str, subject: str, after: int = 0, *, bodies: bool = False
) -> AsyncGenerator[list[Listed], None]:
    """The messages under a subject after a sequence, in order, up to the end as of now. Raises
    `Unavailable`."""
    with outage_as_unavailable(f"listing {stream}"):
        made = await js.add_consumer(
            stream,
            ConsumerConfig(
                filter_subject=subject,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=after + 1,
                ack_policy=AckPolicy.NONE,
                headers_only=not bodies,
                mem_storage=True,
                num_replicas=1,
                inactive_threshold=30.0,
            ),
        )
        waiting = made.num_pending or 0
        subscription = await js.pull_subscribe_bind(made.name, stream=stream)
        try:
            while waiting:
                found: list[Listed] = []
                for msg in await subscription.fetch(
                    min(_FETCH, waiting), timeout=REQUEST_TIMEOUT_SECONDS
                ):
                    told = msg.metadata
                    waiting = told.num_pending
                    body = msg.data if bodies else b""
                    found.append(Listed(told.sequence.stream, msg.subject, told.timestamp, body))
                yield found
        finally:
            await subscription.unsubscribe()
            await js.delete_consumer(stream, made.name)
