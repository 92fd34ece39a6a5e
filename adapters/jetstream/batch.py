"""Messages that stand or fall together: atomic batches (server ADR-50), which nats-py has not.

Invariant: `publish_batch` returns only after the commit was acknowledged; a batch of which any
message is refused or lost leaves nothing in the stream.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence

from msgspec import Struct
from nats.aio.client import Client
from nats.js.errors import APIError

from adapters.jetstream.connection import REQUEST_TIMEOUT_SECONDS, outage_as_unavailable
from domain.errors import BatchTooLarge, Unavailable
from domain.ports import MAX_TOGETHER

# A batch that a restart of the server cut off, and one of too many at once: nothing has landed.
_PASSING = (10176, 10210)


class Outgoing(Struct, frozen=True):
    """A message to be published."""

    subject: str
    headers: Mapping[str, str]
    body: bytes


def in_batch(headers: Mapping[str, str], batch: str, number: int, *, last: bool) -> dict[str, str]:
    """The headers of a message as one of a batch. Source: nats-server's ADR-50."""
    commit = {"Nats-Batch-Commit": "1"} if last else {}
    return {**headers, "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number), **commit}


async def publish_batch(nc: Client, messages: Sequence[Outgoing]) -> int:
    """Publish all of them or none; returns the position of the first, the others follow it.

    Raises `BatchTooLarge`, `Unavailable` when the outcome is not known, and `APIError`.
    """
    if len(messages) > MAX_TOGETHER:
        raise BatchTooLarge(len(messages), MAX_TOGETHER)
    batch = uuid.uuid4().hex
    with outage_as_unavailable("appending a batch"):
        for number, message in enumerate(messages, 1):
            last = number == len(messages)
            headers = in_batch(message.headers, batch, number, last=last)
            if not last and number > 1:
                await nc.publish(message.subject, message.body, headers=headers)
                continue
            # The first one's answer says whether the stream takes batches at all; it is empty.
            reply = await nc.request(
                message.subject, message.body, headers=headers, timeout=REQUEST_TIMEOUT_SECONDS
            )
            answer = json.loads(reply.data) if reply.data else {}
            if "error" in answer:
                if answer["error"]["err_code"] in _PASSING:
                    reason = answer["error"]["description"]
                    raise Unavailable("NATS JetStream", f"appending a batch: {reason}")
                # The server sends codes of its own; nats-py knows the error by them.
                APIError.from_error(answer["error"])
            if last:
                return int(answer["seq"]) - len(messages) + 1
    raise ValueError("a batch needs at least one message")
