"""Shared work on a durable consumer: in order for each key, many keys at once, nothing lost, and no
party waits behind all that another one brought.

A message is acknowledged after its work is done. While its work lasts (an outage, say), the server
is told so, and a redelivery of it is ignored. Work that fails for another reason than an outage, or
for want of a master key for long, is tried a bounded number of times and then handed to `give_up`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from collections.abc import Awaitable, Callable, Hashable
from pathlib import Path

from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig
from nats.js.errors import NotFoundError

from adapters.jetstream.connection import RETRY_SECONDS, outage_as_unavailable
from adapters.jetstream.progress import acknowledged
from adapters.jetstream.pull import Puller, PullLost
from adapters.jetstream.shares import Shares
from adapters.observability.logging import log_context
from domain.errors import ConfigtrailError, MasterKeyUnknown, Unavailable

log = logging.getLogger(__name__)

MAX_TRIES = 5
# Far more than outages and restarts bring about: work that ends the program itself comes again so
# often. It is given up unseen, so that it can't end every program that takes it up.
MAX_DELIVERIES = 50
DRAIN_SECONDS = 5.0
_ROOT = Path(__file__).parent.parent.parent
_OURS = tuple(f"{_ROOT / layer}{os.sep}" for layer in ("adapters", "domain", "projections"))
# Longer than it takes until a program that lacks the master key ends, or keys are moved; then it is
# lost, and whatever waits for it would take up the room of all others in the end.
MASTER_KEY_SECONDS = 600.0
_OUTAGE_WAITS = (0.1, 0.2, 0.5, 1.0, 2.0)


def describe(error: BaseException) -> str:
    """An unexpected error's type, and where in our code it came from. Not its words: they may quote
    what was worked on."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [one for one in frames if one.filename.startswith(_OURS)]
    for one in (ours or frames)[-1:]:
        return f"{type(error).__name__} at {Path(one.filename).name}:{one.lineno}"
    return type(error).__name__


class DeliveredTooOften(ConfigtrailError):
    """A message comes again and again, and its work never ended: maybe it ends the program."""

    def __init__(self, times: int) -> None:
        super().__init__(f"it was delivered {times} times, and its work never ended")
        self.times = times


class Job(Struct, frozen=True):
    """What to do for a message. Jobs with the same `key` run one after the other, in order; they
    have the same `party`. Parties share the room there is.

    `event_id` and `trigger_id` go on every log line of the work.
    """

    key: Hashable
    work: Callable[[], Awaitable[None]]
    weight: int = 1
    party: Hashable = None
    event_id: str | None = None
    trigger_id: str | None = None


class Budget:
    """At most `limit` units of work at once; one that is heavier than that runs alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._freed = asyncio.Event()

    async def take(self, units: int) -> None:
        """Wait until there is room, and take it."""
        while self._used and self._used + units > self._limit:
            await self._next_freed()
        self._used += units

    def give_back(self, units: int) -> None:
        """Free what was taken."""
        self._used -= units
        self._freed.set()

    async def _next_freed(self) -> None:
        self._freed.clear()
        await self._freed.wait()


class WorkConsumer:
    """One durable pull consumer, worked off by this program and any number of others.

    `ordered`: messages of one key are worked off in the order of the stream even when a program
    died over some of them.
    """

    def __init__(
        self,
        nc: Client,
        js: JetStreamContext,
        stream: str,
        config: ConsumerConfig,
        *,
        plan: Callable[[Msg], Job],
        give_up: Callable[[Msg, Exception], Awaitable[None]],
        batch: int = 128,
        weight_limit: int,
        ordered: bool = True,
        master_key_wait: float = MASTER_KEY_SECONDS,
    ) -> None:
        assert config.durable_name is not None
        assert config.ack_wait is not None
        self._nc = nc
        self._js = js
        self._stream = stream
        self._config = config
        self._name = config.durable_name
        self._ack_wait = config.ack_wait
        self._plan = plan
        self._give_up = give_up
        self._batch = batch
        self._ordered = ordered
        self._shares: Shares[tuple[Msg, Job]] = Shares(weight_limit)
        self._in_flight: dict[int, Msg] = {}
        # Of each key, what ends with its last job.
        self._tails: dict[Hashable, asyncio.Future[None]] = {}
        self._master_key_wait = master_key_wait
        # Since when nothing of a key can be worked off for want of a master key.
        self._lacking: dict[Hashable, float] = {}

    async def run(self) -> None:
        """Work until cancelled; then what is under way is finished first, within bounds."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_in_flight())
            try:
                while True:
                    await self._pull(group)
                    # What was on its way when the flow broke off is handed out again. Newer
                    # messages must not overtake it: finish, then begin as after a crash.
                    await self._shares.idle()
            except asyncio.CancelledError:
                self._drop_waiting()
                try:
                    async with asyncio.timeout(DRAIN_SECONDS):
                        await self._shares.idle()
                except TimeoutError:
                    log.warning("%s: stopped with work under way; it is redelivered", self._name)
                raise
            finally:
                self._drop_waiting()

    def _drop_waiting(self) -> None:
        """Begin nothing more of what waits: it is redelivered, to whoever is there."""
        for msg, _ in self._shares.drop_waiting():
            del self._in_flight[msg.metadata.sequence.stream]

    async def _pull(self, group: asyncio.TaskGroup) -> None:
        try:
            older, still_open = await self._handed_out()
            async with Puller(
                self._nc, self._stream, self._name, batch=self._batch, max_bytes=16 << 20
            ) as puller:
                if self._ordered and still_open:
                    await self._older_first(puller, older, still_open, group)
                while True:
                    for msg in await puller.next():
                        await self._admit(msg, group)
        except PullLost as error:
            log.info("%s: %s; going on", self._name, error)
        except (Unavailable, NotFoundError) as error:
            log.warning("%s: %s; trying again", self._name, error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _handed_out(self) -> tuple[int, int]:
        """Up to which sequence messages were handed out before, and how many of them are open.

        Makes the consumer where it is missing.
        """
        with outage_as_unavailable("making the consumer"):
            info = await self._js.add_consumer(self._stream, self._config)
        older = info.delivered.stream_seq if info.delivered else None
        return older or 0, info.num_ack_pending or 0

    async def _older_first(
        self, puller: Puller, older: int, still_open: int, group: asyncio.TaskGroup
    ) -> None:
        """Gather what was handed out before, up to `older`, and admit it in the stream's order.

        What a dead program held becomes due one by one, in any order, and newer messages come in
        between: all are kept, in flight, until the open ones are here, or acknowledged by others
        that have them, or none has come for longer than they can take to become due.
        """
        patience = self._ack_wait * 1.5 + 1.0
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        held: dict[int, Msg] = {}
        try:
            while loop.time() < until:
                if sum(sequence <= older for sequence in held) >= still_open:
                    break
                if await acknowledged(self._js, self._stream, self._name) >= older:
                    break
                try:
                    async with asyncio.timeout(self._ack_wait / 10):
                        messages = await puller.next()
                except TimeoutError:
                    continue
                for msg in messages:
                    sequence = msg.metadata.sequence.stream
                    if sequence not in self._in_flight:
                        self._in_flight[sequence] = held[sequence] = msg
                        if sequence <= older:
                            until = loop.time() + patience
        finally:
            for sequence in held:
                del self._in_flight[sequence]
        for sequence in sorted(held):
            await self._admit(held[sequence], group)

    async def _admit(self, msg: Msg, group: asyncio.TaskGroup) -> None:
        sequence = msg.metadata.sequence.stream
        if sequence in self._in_flight:
            return  # a redelivery of what is under way here
        # Held from now on: waiting for room must not make it due for somebody else.
        self._in_flight[sequence] = msg
        try:
            job = self._plan(msg)
            await self._shares.room_to_wait()
        except BaseException:
            del self._in_flight[sequence]
            raise
        self._shares.put(job.party, (msg, job), job.weight, len(msg.data))
        self._begin(group)

    def _begin(self, group: asyncio.TaskGroup) -> None:
        """Begin what there is room for."""
        while (piece := self._shares.next()) is not None:
            msg, job = piece
            before = self._tails.get(job.key)
            ended = self._tails[job.key] = asyncio.get_running_loop().create_future()
            group.create_task(self._work(msg, job, before, ended, group))

    async def _work(
        self,
        msg: Msg,
        job: Job,
        before: asyncio.Future[None] | None,
        ended: asyncio.Future[None],
        group: asyncio.TaskGroup,
    ) -> None:
        try:
            if before is not None:
                await before
            with log_context(event_id=job.event_id, trigger_id=job.trigger_id):
                await self._until_done(msg, job)
                await self._acknowledge(msg)
        finally:
            self._in_flight.pop(msg.metadata.sequence.stream, None)
            if self._tails.get(job.key) is ended:
                del self._tails[job.key]
            if not ended.cancelled():  # by whoever waited for it, and was cancelled
                ended.set_result(None)
            self._shares.give_back(job.party, job.weight)
            self._begin(group)

    async def _until_done(self, msg: Msg, job: Job) -> None:
        name = f"{self._name}: message {msg.metadata.sequence.stream}"
        tries = 0
        outages = 0
        failure: Exception | None = None
        if msg.metadata.num_delivered > MAX_DELIVERIES:
            tries, failure = MAX_TRIES, DeliveredTooOften(msg.metadata.num_delivered)
        while True:
            try:
                if failure is not None and tries >= MAX_TRIES:
                    await self._give_up(msg, failure)
                else:
                    await job.work()
                    self._lacking.pop(job.key, None)
            except Exception as error:  # noqa: BLE001
                if self._ends_by_itself(error, job.key):
                    wait = _OUTAGE_WAITS[min(outages, len(_OUTAGE_WAITS) - 1)]
                    outages += 1
                    log.warning("%s: %s; trying again in %s s", name, error, wait)
                    await asyncio.sleep(wait)
                    continue
                # Whatever it is, it must neither stop the other devices nor be lost: it is logged,
                # tried again, and in the end becomes a dead letter.
                what = ": giving it up" if failure is not None and tries >= MAX_TRIES else ""
                failure = error
                tries += 1
                log.error("%s%s failed, try %d: %s", name, what, tries, describe(error))
                await asyncio.sleep(min(2 ** (tries - 4), RETRY_SECONDS))
            else:
                return

    def _ends_by_itself(self, error: Exception, key: Hashable) -> bool:
        """Whether it is to be waited out: an outage; and, for a while, that this program lacks a
        master key, since others may have it."""
        if isinstance(error, MasterKeyUnknown):
            now = asyncio.get_running_loop().time()
            return now < self._lacking.setdefault(key, now) + self._master_key_wait
        return isinstance(error, Unavailable)

    async def _acknowledge(self, msg: Msg) -> None:
        try:
            await self._nc.publish(msg.reply, b"+ACK")
        except NatsError as error:
            # Its effect is durable, so the redelivery that follows finds nothing left to do.
            log.info("%s: an acknowledgement was not sent (%s)", self._name, error)

    async def _keep_in_flight(self) -> None:
        while True:
            await asyncio.sleep(self._ack_wait / 4)
            for msg in list(self._in_flight.values()):
                try:
                    await self._nc.publish(msg.reply, b"+WPI")
                except NatsError as error:
                    log.info("%s: can't ask for more time (%s)", self._name, error)
                    break
