"""Reading one device's branch: in one request from any replica, or one by one from the leader."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from datetime import datetime

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from adapters.jetstream import wire
from adapters.jetstream.connection import REQUEST_TIMEOUT_SECONDS, outage_as_unavailable
from adapters.jetstream.streams import EVENTS
from domain.envelope import Head, StoredEvent
from domain.errors import StreamGap, Unavailable

_BATCH = 500


class BranchReader:
    """Reads of one device's events. Versions are asserted to be contiguous."""

    def __init__(self, nc: Client, js: JetStreamContext) -> None:
        self._nc = nc
        self._js = js

    async def read(
        self, tenant_id: str, device_id: str, after: Head
    ) -> AsyncGenerator[StoredEvent, None]:
        """The events after `after`, by batched direct get (server ADR-31).

        A replica may lag behind: whoever appends on what it told gets a conflict with the rest.
        """
        branch = wire.branch_filter(tenant_id, device_id)
        head = after
        while True:
            messages = await self._direct_get(branch, head.position + 1)
            for msg in messages:
                stored = _decoded(msg)
                head = _next(branch, head, stored)
                yield stored
            if len(messages) < _BATCH:
                return

    async def read_from_leader(
        self, tenant_id: str, device_id: str, after: Head
    ) -> list[StoredEvent]:
        """The events after `after` as the stream's leader has them: reads what was written."""
        branch = wire.branch_filter(tenant_id, device_id)
        events: list[StoredEvent] = []
        head = after
        while True:
            with outage_as_unavailable("reading a device's events"):
                try:
                    raw = await self._js.get_msg(
                        EVENTS, seq=head.position + 1, subject=branch, next=True
                    )
                except NotFoundError:
                    return events
            assert raw.subject is not None
            assert raw.seq is not None
            assert raw.time is not None
            stored = wire.decode(raw.subject, raw.headers or {}, raw.data or b"", raw.seq, raw.time)
            head = _next(branch, head, stored)
            events.append(stored)

    async def _direct_get(self, branch: str, start: int) -> list[Msg]:
        request = json.dumps({"seq": start, "batch": _BATCH, "next_by_subj": branch}).encode()
        with outage_as_unavailable("reading a device's events"):
            inbox = self._nc.new_inbox()
            subscription = await self._nc.subscribe(inbox)
            try:
                await self._nc.publish(f"$JS.API.DIRECT.GET.{EVENTS}", request, reply=inbox)
                messages: list[Msg] = []
                async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                    while True:
                        msg = await subscription.next_msg(timeout=REQUEST_TIMEOUT_SECONDS)
                        status = (msg.headers or {}).get("Status")
                        if status in ("204", "404"):  # the end of the batch, or nothing at all
                            return messages
                        if status is not None:
                            raise Unavailable("NATS JetStream", f"direct get answers {status}")
                        messages.append(msg)
            except TimeoutError as error:
                raise Unavailable("NATS", "reading a device's events takes too long") from error
            finally:
                await subscription.unsubscribe()


def _decoded(msg: Msg) -> StoredEvent:
    headers = msg.headers or {}
    return wire.decode(
        headers["Nats-Subject"],
        headers,
        msg.data,
        int(headers["Nats-Sequence"]),
        datetime.fromisoformat(headers["Nats-Time-Stamp"]),
    )


def _next(branch: str, head: Head, stored: StoredEvent) -> Head:
    if stored.version != head.version + 1:
        raise StreamGap(f"versions of {branch}", head.version + 1, stored.version)
    return Head(stored.version, stored.position)
