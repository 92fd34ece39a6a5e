"""Following a stream from a position, over outages, without ever skipping a message.

For any stream, with or without a filter, and with headers as the client gives them: applications of
the `eventsourcing` library have their own. `source` is the reader of projections, which know their
one stream and read it three times as fast, off the connection as bytes. Both make the same
consumers, assert the same contiguity and notice the same streams that were put back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from adapters.jetstream.codes import NO_MESSAGE
from adapters.jetstream.connection import (
    RETRY_SECONDS,
    missing_as_unavailable,
    outage_as_unavailable,
)
from adapters.jetstream.passing import passing
from adapters.jetstream.pull import Puller, PullLost
from adapters.jetstream.raw import RawMessage, from_delivery, from_leader
from adapters.jetstream.stored import stored_at
from domain.envelope import StreamIdentity
from domain.errors import StreamGap, StreamMismatch, Unavailable

log = logging.getLogger(__name__)


# A flow that breaks off leaves a consumer behind for a while: not too many of them.
AGAIN_SECONDS = 0.2


def recreated(stream: str) -> StreamMismatch:
    """The error for a stream that is another one than the one that was read."""
    return StreamMismatch(
        stream,
        "it was deleted and made anew while this program ran, so what it held is not in it. Put "
        "the stream back from a copy and start again; what to do if the new one counts is in "
        "docs/operator.md, When something is gone",
    )


def put_back(stream: str, position: int) -> StreamMismatch:
    """The error for a stream that no longer has what was read from it."""
    return StreamMismatch(
        stream,
        f"position {position} is not what was read there: the stream was put back to an older copy "
        "while it was followed; build anew what was made of it",
    )


async def message_at(js: JetStreamContext, stream: str, position: int) -> RawStreamMsg | None:
    """The message at a position, from the stream's leader; None when there is none.

    Raises `NotFoundError` when the stream itself is not there, and `Unavailable`.
    """
    with outage_as_unavailable("looking at a message that was read"):
        try:
            return await js.get_msg(stream, seq=position)
        except NotFoundError as error:
            if error.err_code != NO_MESSAGE:
                raise
            return None


async def missing_or_lost(nc: Client, stream: str, expected: int, got: int) -> Exception:
    """The error for a new consumer's first message, which is not the one it was to begin with: a
    `StreamGap`, or `PullLost` when the stream has that one. The server counts as delivered what it
    sent on a connection that broke off meanwhile. Raises `Unavailable`."""
    if await stored_at(nc, stream, expected) is None:
        return StreamGap(stream, expected, got)
    return PullLost(f"position {expected} was lost on its way")


class Feed:
    """Messages of one stream after a position, in order, through short-lived pull consumers."""

    def __init__(self, nc: Client, js: JetStreamContext, stream: str) -> None:
        self._nc = nc
        self._js = js
        self._stream = stream

    async def identity(self) -> StreamIdentity:
        """Name and creation time of the stream."""
        name = self._stream
        with missing_as_unavailable(name), outage_as_unavailable("asking for the identity"):
            info = await self._js.stream_info(self._stream)
        assert info.created is not None
        return StreamIdentity(self._stream, info.created)

    async def pending(self, after: int, subjects: Sequence[str]) -> int:
        """How many messages under `subjects` there are after a position."""
        async with passing(self._nc, self._js, self._stream, after + 1, subjects) as found:
            return found.pending

    async def follow(
        self, after: int, subjects: Sequence[str] = ()
    ) -> AsyncGenerator[list[RawMessage], None]:
        """Batches of messages from `after + 1` on, for ever; with `subjects` only those under them.

        Outages are waited out. Raises `StreamGap` when a position is missing in the stream, after
        all that comes before it, and `StreamMismatch` when the stream was recreated meanwhile, or
        put back to an older copy. Under `subjects` positions have
        gaps of their own: there the consumer's own count is contiguous, so that nothing is lost on
        its way, and the stream's count of messages shows whether any was removed from it.
        """
        identity: StreamIdentity | None = None
        position = after
        last: RawMessage | None = None
        while True:
            try:
                now = await self.identity()
                if identity is not None and now != identity:
                    raise recreated(self._stream)
                identity = now
                if last is not None:
                    await self._check_there(last)
                elif position:
                    # What was read before this flow counts as well.
                    there = await message_at(self._js, self._stream, position)
                    last = None if there is None else from_leader(there)
                if subjects:
                    await self._check_whole()
                counted = 0
                async with (
                    passing(self._nc, self._js, self._stream, position + 1, subjects) as made,
                    Puller(self._nc, self._stream, made.consumer) as puller,
                ):
                    while True:
                        batch = [from_delivery(msg) for msg in await puller.next()]
                        numbers = [raw.delivered if subjects else raw.position for raw in batch]
                        good = contiguous(counted if subjects else position, numbers)
                        if good:
                            yield batch[:good]
                            last = batch[good - 1]
                            position, counted = last.position, last.delivered
                        elif not subjects and not counted:
                            # The consumer began here.
                            raise await missing_or_lost(
                                self._nc, self._stream, position + 1, numbers[0]
                            )
                        if good < len(batch):
                            raise PullLost(f"what follows position {position} was lost on its way")
            except PullLost as error:
                log.info("feed of %s: %s; going on from %d", self._stream, error, position + 1)
                await asyncio.sleep(AGAIN_SECONDS)
            except (Unavailable, NotFoundError) as error:
                log.warning("feed of %s: %s; trying again", self._stream, error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _check_there(self, last: RawMessage) -> None:
        """The last message that was read must be where it was: else this is another history."""
        there = await message_at(self._js, self._stream, last.position)
        now = None if there is None else from_leader(there)
        # What is stored anew says the same, at another time.
        if now is None or (
            (now.subject, now.stored_at, now.body) != (last.subject, last.stored_at, last.body)
        ):
            raise put_back(self._stream, last.position)

    async def _check_whole(self) -> None:
        with outage_as_unavailable("looking at the stream"):
            state = (await self._js.stream_info(self._stream)).state
        if state.messages != state.last_seq:
            raise StreamGap(f"{self._stream}, counted", state.last_seq, state.messages)


def contiguous(last: int, numbers: Sequence[int]) -> int:
    """How many of the numbers follow on one another from `last` on."""
    for count, number in enumerate(numbers):
        if number != last + 1 + count:
            return count
    return len(numbers)
