"""One message of a stream as its leader has it, to the byte.

nats-py parses the headers as those of a mail: what others wrote comes out as something else than
what a consumer delivers, or not as text at all.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime

from nats.aio.client import Client
from nats.js.errors import APIError

from adapters.jetstream.codes import NO_MESSAGE
from adapters.jetstream.connection import REQUEST_TIMEOUT_SECONDS, outage_as_unavailable
from domain.tlog.leaf import RawEvent


async def stored_at(nc: Client, stream: str, position: int) -> RawEvent | None:
    """The message at a position, None when there is none. Raises as `_asked`."""
    return await _asked(nc, stream, {"seq": position})


async def next_stored(nc: Client, stream: str, subjects: str, start: int) -> RawEvent | None:
    """The first message under `subjects` from a position on. Raises as `_asked`."""
    return await _asked(nc, stream, {"seq": start, "next_by_subj": subjects})


async def last_stored(nc: Client, stream: str, subjects: str) -> RawEvent | None:
    """The last message under `subjects`. Raises as `_asked`."""
    return await _asked(nc, stream, {"last_by_subj": subjects})


async def _asked(nc: Client, stream: str, what: dict[str, int | str]) -> RawEvent | None:
    """Raises `Unavailable`, and `NotFoundError` when the stream itself is not there."""
    with outage_as_unavailable("reading from the stream"):
        reply = await nc.request(
            f"$JS.API.STREAM.MSG.GET.{stream}",
            json.dumps(what).encode(),
            timeout=REQUEST_TIMEOUT_SECONDS,
        )
        answer = json.loads(reply.data)
        if "error" in answer:
            if answer["error"].get("err_code") == NO_MESSAGE:
                return None
            APIError.from_error(answer["error"])
    message = answer["message"]
    return RawEvent(
        message["seq"],
        _nanoseconds(message["time"]),
        message["subject"],
        base64.b64decode(message.get("hdrs", "")),
        base64.b64decode(message.get("data", "")),
    )


def _nanoseconds(told: str) -> int:
    """A time of the server (RFC 3339, UTC) as nanoseconds since 1970."""
    seconds, _, fraction = told.removesuffix("Z").partition(".")
    since: int = int(datetime.fromisoformat(f"{seconds}+00:00").timestamp())
    return since * 1_000_000_000 + int(fraction.ljust(9, "0"))
