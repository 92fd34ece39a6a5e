"""Leases over a KV bucket: one holder at a time for a name, across processes and machines.

A lease is a message with a time to live, taken and renewed by compare-and-set on its subject, so
the server alone decides who holds it and when it ends: no clock is compared with another. The
holder counts its own time from before each renewal was sent, so it stops before the server lets
the next one in.

A server that is killed may bring a lease back that had ended, and forgets that it has a time to
live (nats-server 2.15). So one that is twice as old counts as ended; by the server's clock again,
since its times are the server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import re
import socket
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct
from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, RawStreamMsg
from nats.js.errors import APIError, NotFoundError

from adapters.jetstream.clock import server_time
from adapters.jetstream.codes import KV_OPERATION, WRONG_LAST_SEQUENCE
from adapters.jetstream.connection import outage_as_unavailable
from adapters.jetstream.publisher import Publisher
from adapters.jetstream.streams import replicate
from domain.errors import LeaseHeld, LeaseLost, Unavailable

BUCKET = "CONFIGTRAIL_LEASES"
_NAME = re.compile(r"[A-Za-z0-9=_-]+(?:\.[A-Za-z0-9=_-]+)*\Z")
_MARKER = "Nats-Marker-Reason"
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_TTL = "Nats-TTL"
_REQUEST_SECONDS = 5.0
_NOT_RENEWED = "it could not be renewed in time"

log = logging.getLogger(__name__)


class Holder(Struct, frozen=True, omit_defaults=True):
    """What a lease's message says. `token` is new for every hold, `began` by the holder's clock,
    `task` what it is held for, where the holder says so."""

    name: str
    token: str
    began: datetime | None = None
    task: str | None = None


class _Entry(Struct, frozen=True):
    """The newest message of a lease's subject. `holder` is None when it marks a release."""

    revision: int
    holder: Holder | None


class Leases:
    """Leases for all roles. `holder` names this process in refusals; not a secret: its `name`."""

    def __init__(
        self, js: JetStreamContext, *, holder: str | None = None, bucket: str = BUCKET
    ) -> None:
        self._js = js
        self._bucket = bucket
        self._publisher = Publisher(js._nc)
        self.name = holder or f"{socket.gethostname()}:{os.getpid()}"

    def within(self, bucket: str) -> Leases:
        """This process's leases in another bucket, which are lost along with what is there."""
        return Leases(self._js, holder=self.name, bucket=bucket)

    async def ensure(self, replicas: int = 1) -> None:
        """Make the bucket, unless it is there."""
        with outage_as_unavailable("looking at the bucket of leases"):
            try:
                live = (await self._js.stream_info(f"KV_{self._bucket}")).config
            except NotFoundError:
                await self._js.create_key_value(
                    KeyValueConfig(bucket=self._bucket, replicas=replicas)
                )
            else:
                await replicate(self._js, live, replicas)

    async def holder(self, name: str) -> str | None:
        """Who holds the lease now, None when it is free. Raises `Unavailable`."""
        held = await self.held(name)
        return held.name if held else None

    async def held(self, name: str) -> Holder | None:
        """What the lease's holder says, None when it is free. Raises `Unavailable`."""
        return (await _read(self._js, self._bucket, name)).holder

    @contextlib.asynccontextmanager
    async def hold(self, name: str, ttl: float, *, task: str | None = None) -> AsyncIterator[Hold]:
        """Hold the lease while the block runs; it is renewed until the block ends.

        `ttl` is in seconds (whole ones, at least 1): how long after this process's death the
        lease stays taken. Raises `LeaseHeld` when somebody holds it and `Unavailable` when it
        can't be asked for. When the lease is lost, the block is cancelled and `LeaseLost` raised.
        """
        seconds = max(1, math.ceil(ttl))
        loop = asyncio.get_running_loop()
        started = loop.time()
        holder = Holder(self.name, uuid.uuid4().hex, datetime.now(UTC), task)
        held = _Held(self._js, self._publisher, self._bucket, name, seconds, holder)
        renewal: asyncio.Task[None] | None = None
        limit: asyncio.Timeout | None = None
        try:
            await self._take(held)
            async with asyncio.timeout_at(started + seconds) as limit:
                renewal = loop.create_task(self._renew(held, limit), name=f"lease {name}")
                yield Hold(held)
            if limit.expired():
                held.lost = held.lost or _NOT_RENEWED
                raise LeaseLost(name, held.lost)
        except TimeoutError as error:
            if limit is None or not limit.expired():
                raise
            held.lost = held.lost or _NOT_RENEWED
            raise LeaseLost(name, held.lost) from error
        finally:
            if renewal is not None:
                renewal.cancel()
                await asyncio.wait([renewal])
            if held.lost is None:
                await self._release(held)
            if renewal is not None and not renewal.cancelled():
                renewal.result()

    async def _take(self, held: _Held) -> None:
        # Of most names nothing is left: neither a holder nor the mark of a release.
        if await held.write(0):
            return
        entry = await held.read()
        if entry.holder is None and await held.write(entry.revision):
            return
        entry = await held.read()
        if entry.holder == held.holder:
            held.revision = entry.revision
            return
        if entry.holder is None:
            raise LeaseHeld(held.name, "somebody else")
        raise LeaseHeld(held.name, entry.holder.name, entry.holder.began)

    async def _renew(self, held: _Held, limit: asyncio.Timeout) -> None:
        """Renew on a beat; the block's time-out moves on with every success."""
        loop = asyncio.get_running_loop()
        beat = held.seconds / 3
        while True:
            await asyncio.sleep(beat)
            try:
                async with held.writing:
                    started = loop.time()
                    renewed = await held.write(held.revision)
                    if not renewed:
                        entry = await held.read()
                        if held.is_ours(entry):
                            held.revision = entry.revision
                        else:
                            held.lost = "it ran out, or somebody else took it"
            except Unavailable as error:
                log.warning("lease %s not renewed, trying again: %s", held.name, error)
                beat = held.seconds / 10
                continue
            if limit.expired():
                return
            if held.lost:
                limit.reschedule(loop.time())
                return
            if renewed:
                beat = held.seconds / 3
                limit.reschedule(started + held.seconds)
            else:
                beat = held.seconds / 10

    async def _release(self, held: _Held) -> None:
        """End the lease if it is ours. When NATS is away it ends by itself."""
        try:
            if held.revision and await held.clear(held.revision):
                return
            # The revision that we know is an older one when an acknowledgement was lost.
            entry = await held.read()
            if entry.holder == held.holder:
                await held.clear(entry.revision)
        except Unavailable as error:
            log.warning("lease %s not released, it runs out by itself: %s", held.name, error)


class Hold:
    """A lease as its holder has it."""

    def __init__(self, held: _Held) -> None:
        self._held = held

    async def confirm(self) -> None:
        """Prove, to the server, that the lease is still ours: to be asked right before an effect
        that no two holders may have. A program that was stopped for a while and goes on finds out
        here. Raises `LeaseLost`, and `Unavailable` when it can't be proven now."""
        held = self._held
        async with held.writing:
            if not await held.write(held.revision):
                entry = await held.read()
                if not held.is_ours(entry):
                    held.lost = "somebody else took it"
                    raise LeaseLost(held.name, held.lost)
                held.revision = entry.revision


class _Held:
    """One hold: its subject, its revision (changed by every renewal) and why it was lost."""

    def __init__(
        self,
        js: JetStreamContext,
        publisher: Publisher,
        bucket: str,
        name: str,
        seconds: int,
        holder: Holder,
    ) -> None:
        self._js = js
        self._publisher = publisher
        self.name = name
        self.subject = _subject(bucket, name)
        self._bucket = bucket
        self.seconds = seconds
        self.holder = holder
        self.revision = 0
        # One write at a time: of two after the same revision the second fails, and a lease that is
        # proven again and again would not be renewed.
        self.writing = asyncio.Lock()
        self.lost: str | None = None

    async def write(self, after: int) -> bool:
        """Write the lease after a revision; False when another one is there (ours, perhaps)."""
        try:
            with outage_as_unavailable("writing a lease"):
                ack = await self._publisher.publish(
                    self.subject,
                    msgspec.json.encode(self.holder),
                    {_EXPECTED: str(after), _TTL: str(self.seconds)},
                    timeout=min(_REQUEST_SECONDS, self.seconds / 3),
                )
        except APIError as error:
            if error.err_code in WRONG_LAST_SEQUENCE:
                return False
            raise
        self.revision = ack.seq
        return True

    async def read(self) -> _Entry:
        """The lease as the server has it."""
        return await _read(self._js, self._bucket, self.name)

    def is_ours(self, entry: _Entry) -> bool:
        """Whether an entry is what this hold wrote last. An older one was put back, and with it
        whatever stood beside it then."""
        return entry.holder == self.holder and entry.revision >= self.revision

    async def clear(self, after: int) -> bool:
        """Mark the lease as free, if that is its revision. The mark vanishes soon, so that names
        cost no memory."""
        try:
            with outage_as_unavailable("releasing a lease"):
                await self._publisher.publish(
                    self.subject,
                    b"",
                    {
                        KV_OPERATION: "PURGE",
                        "Nats-Rollup": "sub",
                        _EXPECTED: str(after),
                        _TTL: "1",
                    },
                    timeout=_REQUEST_SECONDS,
                )
        except APIError as error:
            if error.err_code not in WRONG_LAST_SEQUENCE:
                raise
            return False
        return True


async def _read(js: JetStreamContext, bucket: str, name: str) -> _Entry:
    subject, stream = _subject(bucket, name), f"KV_{bucket}"
    with outage_as_unavailable("reading a lease"):
        try:
            message = await js.get_last_msg(stream, subject)
        except NotFoundError:
            return _Entry(0, None)
        headers = message.headers or {}
        revision = message.seq or 0
        if (
            KV_OPERATION in headers
            or _MARKER in headers
            or await _is_left_over(js, stream, message)
        ):
            return _Entry(revision, None)
    return _Entry(revision, msgspec.json.decode(message.data or b"", type=Holder))


async def _is_left_over(js: JetStreamContext, stream: str, message: RawStreamMsg) -> bool:
    """Whether the server should have ended a lease long ago, which a holder renews in a third of
    the time that it has."""
    made, ttl = message.time, (message.headers or {}).get(_TTL)
    if made is None or ttl is None:
        return False
    old = timedelta(seconds=2 * int(ttl))
    # Ours may be wrong, and is asked only whether it is worth to ask the other one.
    if datetime.now(UTC) - made <= old:
        return False
    now = await server_time(js._nc, stream)
    return now is not None and now - made > old


def _subject(bucket: str, name: str) -> str:
    if not _NAME.match(name):
        raise ValueError(f"{name!r} is not a lease's name: subject tokens joined by dots")
    return f"$KV.{bucket}.{name}"
