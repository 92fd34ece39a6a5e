"""Reading the messages under some subjects: in one request from any replica, or one by one from
the stream's leader."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from adapters.jetstream.connection import (
    REQUEST_TIMEOUT_SECONDS,
    give_answer_up,
    outage_as_unavailable,
    tell_of_losses,
)
from adapters.jetstream.raw import RawMessage, from_direct, from_leader
from domain.errors import Unavailable

PAGE = 500


class BranchReader:
    """Reads of a part of one stream, in order of position."""

    def __init__(self, nc: Client, js: JetStreamContext, stream: str) -> None:
        self._nc = nc
        self._js = js
        self._stream = stream
        # One inbox for all requests: waiting for messages one by one, each on a subscription of its
        # own, takes a turn of the event loop for every message, seconds where the loop is busy.
        self._inbox: str | None = None
        self._beginning = asyncio.Lock()
        self._numbers = itertools.count()
        self._open: dict[str, _Found] = {}
        tell_of_losses(nc, self)

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
            inbox = self._inbox or await self._begin()
            number = str(next(self._numbers))
            self._open[number] = found = _Found()
            try:
                async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                    await self._nc.publish(
                        f"$JS.API.DIRECT.GET.{self._stream}", request, reply=f"{inbox}.{number}"
                    )
                    end = await found.end
            except TimeoutError as error:
                raise Unavailable("NATS", "reading from the stream takes too long") from error
            finally:
                del self._open[number]
        headers = end.headers or {}
        match headers["Status"]:
            case "404":  # nothing at all
                return [], False
            case "204":  # the end of the batch
                return found.messages, int(headers.get("Nats-Num-Pending", "0")) > 0
            case status:
                raise Unavailable("NATS JetStream", f"direct get answers {status}")

    def give_up(self) -> None:
        """The connection is lost, and with it the answers that were on their way."""
        for found in self._open.values():
            if not found.end.done():
                give_answer_up(found.end)

    async def _begin(self) -> str:
        async with self._beginning:
            if self._inbox is None:
                inbox = self._nc.new_inbox()
                await self._nc.subscribe(f"{inbox}.*", cb=self._on_answer)
                self._inbox = inbox
            return self._inbox

    async def _on_answer(self, msg: Msg) -> None:
        found = self._open.get(msg.subject.rpartition(".")[2])
        if found is None or found.end.done():
            return
        if "Status" in (msg.headers or {}):
            found.end.set_result(msg)
        else:
            found.messages.append(msg)


class _Found:
    """The answers to one request: messages, and at the end one that says that it was all."""

    def __init__(self) -> None:
        self.messages: list[Msg] = []
        self.end: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
