"""Publishing with acknowledgements over one inbox: many at once, each with its own bound in time.

nats-py's `publish` makes a task for every message; its `publish_async` takes a cancellation for
congestion. This does neither, and tells a lost acknowledgement by the same errors.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping

import nats.errors
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import APIError, NoStreamResponseError

from adapters.jetstream.connection import cancellable, give_answer_up, tell_of_losses


class Ack(Struct, frozen=True):
    """The stream has the message, at this position; `duplicate`: it had it already."""

    seq: int
    duplicate: bool = False


class Publisher:
    """For one event loop's use. Its inbox lives as long as the connection."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._starting = asyncio.Lock()
        self._inbox: str | None = None
        self._numbers = itertools.count()
        self._waiting: dict[str, asyncio.Future[Msg]] = {}
        tell_of_losses(nc, self)

    async def publish(
        self,
        subject: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        timeout: float,
        stream: str | None = None,
    ) -> Ack:
        """Publish, and wait for the stream's acknowledgement; `stream`: of that one and no other.

        Raises `APIError` when the stream refuses, and errors of nats-py when the outcome is not
        known.
        """
        expected = {} if stream is None else {"Nats-Expected-Stream": stream}
        inbox = self._inbox or await self._start()
        number = str(next(self._numbers))
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(timeout):
                # The client forgets a cancellation while it makes room; the time would not end.
                with cancellable():
                    await self._nc.publish(
                        subject, body, reply=f"{inbox}.{number}", headers={**headers, **expected}
                    )
                msg = await answer
        except TimeoutError as error:
            raise nats.errors.TimeoutError from error
        finally:
            del self._waiting[number]
        if msg.headers and msg.headers.get("Status") == "503":
            raise NoStreamResponseError
        told = json.loads(msg.data)
        if "error" in told:
            # nats-py knows the error by the server's code.
            APIError.from_error(told["error"])
        return Ack(told["seq"], told.get("duplicate", False))

    def give_up(self) -> None:
        """The connection is lost: whoever waits for an answer looks what became of it instead."""
        for answer in self._waiting.values():
            if not answer.done():
                give_answer_up(answer)

    async def _start(self) -> str:
        async with self._starting:
            if self._inbox is None:
                inbox = self._nc.new_inbox()
                await self._nc.subscribe(f"{inbox}.*", cb=self._on_answer)
                self._inbox = inbox
            return self._inbox

    async def _on_answer(self, msg: Msg) -> None:
        answer = self._waiting.get(msg.subject.rpartition(".")[2])
        if answer is not None and not answer.done():
            answer.set_result(msg)
