"""Reading the messages under some subjects: in one request from any replica, or one by one from
the stream's leader."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from adapters.jetstream.connection import REQUEST_TIMEOUT_SECONDS, outage_as_unavailable
from adapters.jetstream.raw import RawMessage, from_direct, from_leader
from domain.errors import Unavailable

PAGE = 500


class BranchReader:
    """Reads of a part of one stream, in order of position."""

    def __init__(self, nc: Client, js: JetStreamContext, stream: str) -> None:
        self._nc = nc
        self._js = js
        self._stream = stream

    async def read(
        self, subjects: str, start: int = 1, *, page: int = PAGE
    ) -> AsyncGenerator[RawMessage, None]:
        """The messages from position `start` on, by batched direct gets (server ADR-31) of `page`.

        A replica may lag behind: whoever appends on what it told gets a conflict with the rest.
        """
        while True:
            messages, more = await self._direct_get(subjects, start, page)
            for msg in messages:
                raw = from_direct(msg)
                yield raw
                start = raw.position + 1
            if not more:
                return

    async def read_from_leader(
        self, subjects: str, start: int = 1
    ) -> AsyncGenerator[RawMessage, None]:
        """The messages from position `start` on as the stream's leader has them: reads what was
        written."""
        while True:
            with outage_as_unavailable("reading from the stream"):
                try:
                    found = await self._js.get_msg(
                        self._stream, seq=start, subject=subjects, next=True
                    )
                except NotFoundError:
                    return
            raw = from_leader(found)
            yield raw
            start = raw.position + 1

    async def last(self, subjects: str) -> RawMessage | None:
        """The last message, as the stream's leader has it."""
        with outage_as_unavailable("reading from the stream"):
            try:
                return from_leader(await self._js.get_last_msg(self._stream, subjects))
            except NotFoundError:
                return None

    async def _direct_get(self, subjects: str, start: int, limit: int) -> tuple[list[Msg], bool]:
        """Messages, and whether there are more: a batch may end early."""
        request = json.dumps({"seq": start, "batch": limit, "next_by_subj": subjects}).encode()
        with outage_as_unavailable("reading from the stream"):
            inbox = self._nc.new_inbox()
            subscription = await self._nc.subscribe(inbox)
            try:
                await self._nc.publish(f"$JS.API.DIRECT.GET.{self._stream}", request, reply=inbox)
                messages: list[Msg] = []
                async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                    while True:
                        msg = await subscription.next_msg(timeout=REQUEST_TIMEOUT_SECONDS)
                        headers = msg.headers or {}
                        status = headers.get("Status")
                        if status == "404":  # nothing at all
                            return [], False
                        if status == "204":  # the end of the batch
                            return messages, int(headers.get("Nats-Num-Pending", "0")) > 0
                        if status is not None:
                            raise Unavailable("NATS JetStream", f"direct get answers {status}")
                        messages.append(msg)
            except TimeoutError as error:
                raise Unavailable("NATS", "reading from the stream takes too long") from error
            finally:
                await subscription.unsubscribe()
