"""The time by the server's clock, which made the times of all messages."""

from __future__ import annotations

import json
import re
from datetime import datetime

from nats.aio.client import Client

_SECONDS = 5.0


async def server_time(nc: Client, stream: str) -> datetime | None:
    """What the clock of the stream's leader says; None of a server that does not tell. Raises
    errors of NATS."""
    asked = await nc.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=_SECONDS)
    told = json.loads(asked.data).get("ts")
    # Nanoseconds are more than Python reads.
    return None if told is None else datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", told))
