"""Whole histories into a stream, fast: in atomic batches, without asking for their order."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence

from nats.aio.client import Client

from adapters.jetstream import wire
from domain.envelope import Head, NewEvent, StoredEvent

# The most that the server takes in one atomic batch is 1,000.
BATCH = 500


async def publish(nc: Client, events: Iterable[StoredEvent], stream: str) -> int:
    """Put the events at the end of a stream, in this order; how many."""
    sent = 0
    batch: list[StoredEvent] = []
    for stored in events:
        batch.append(stored)
        if len(batch) == BATCH:
            sent += await _publish_batch(nc, batch, stream)
            batch = []
    if batch:
        sent += await _publish_batch(nc, batch, stream)
    return sent


async def _publish_batch(nc: Client, batch: Sequence[StoredEvent], stream: str) -> int:
    name = secrets.token_hex(16)
    for index, stored in enumerate(batch, 1):
        subject, headers, body = wire.encode(_new(stored), Head(stored.version - 1))
        # The order is our own here; several events of one device are in one batch.
        del headers["Nats-Expected-Last-Subject-Sequence"]
        del headers["Nats-Expected-Last-Subject-Sequence-Subject"]
        headers |= {"Nats-Batch-Id": name, "Nats-Batch-Sequence": str(index)}
        if index == len(batch):
            headers["Nats-Batch-Commit"] = "1"
        if index in (1, len(batch)):
            reply = await nc.request(subject, body, timeout=30, headers=headers)
        else:
            await nc.publish(subject, body, headers=headers)
    acknowledged = json.loads(reply.data)
    if acknowledged.get("count") != len(batch):
        raise RuntimeError(f"the stream {stream} refused a batch: {acknowledged}")
    return len(batch)


def _new(stored: StoredEvent) -> NewEvent:
    return NewEvent(
        event_id=stored.event_id,
        tenant_id=stored.tenant_id,
        device_id=stored.device_id,
        occurred_at=stored.occurred_at,
        event=stored.event,
        correlation_id=stored.correlation_id,
        causation_id=stored.causation_id,
    )
