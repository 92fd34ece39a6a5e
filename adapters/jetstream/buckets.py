"""Small values by name in a KV bucket: what programs share that is no fact."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager

from msgspec import Struct
from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import (
    APIError,
    BadRequestError,
    KeyDeletedError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
    NoStreamResponseError,
    NotFoundError,
)
from nats.js.kv import KeyValue

from adapters.jetstream.codes import KV_OPERATION, NAME_IN_USE, NO_MESSAGE, WRONG_LAST_SEQUENCE
from adapters.jetstream.connection import (
    REQUEST_TIMEOUT_SECONDS,
    missing_as_unavailable,
    outage_as_unavailable,
)
from adapters.jetstream.latest import latest_messages
from adapters.jetstream.publisher import Ack, Publisher
from adapters.jetstream.pull import PullLost
from domain.errors import StreamMissing, Unavailable


class Entry(Struct, frozen=True):
    """A value, and the revision that whoever replaces it must know. Of none it is empty, and 0."""

    value: bytes = b""
    revision: int = 0


class Bucket:
    """One bucket. A name is a list of subject tokens. `kept_seconds`: values are forgotten then."""

    def __init__(
        self, js: JetStreamContext, bucket: str, *, kept_seconds: float | None = None
    ) -> None:
        self._js = js
        self._bucket = bucket
        self._kept_seconds = kept_seconds
        self._prefix = f"$KV.{bucket}."
        self._open: KeyValue | None = None
        self._opening = asyncio.Lock()
        self._nc = js._nc
        self._publisher = Publisher(js._nc)

    async def ensure(self, replicas: int = 1, *, create: bool = True) -> None:
        """Make the bucket, unless it is there. Without `create` an absent one raises
        `StreamMissing`."""
        stream = f"KV_{self._bucket}"
        with outage_as_unavailable(f"looking at the bucket {self._bucket}"):
            try:
                await self._js.stream_info(stream)
            except NotFoundError as error:
                if not create:
                    raise StreamMissing(stream) from error
                await self._create(replicas)

    async def _create(self, replicas: int) -> None:
        try:
            await self._js.create_key_value(
                KeyValueConfig(
                    bucket=self._bucket,
                    history=1,
                    storage=StorageType.FILE,
                    replicas=replicas,
                    ttl=self._kept_seconds,
                )
            )
        except BadRequestError as error:
            if error.err_code != NAME_IN_USE:  # another program made it meanwhile
                raise

    async def get(self, *name: str) -> bytes | None:
        """The value, None when there is none."""
        with self._asked("reading from"):
            try:
                entry = await (await self._kv()).get(".".join(name))
            except (KeyNotFoundError, KeyDeletedError):
                return None
        return entry.value or b""

    async def put(self, value: bytes, *name: str) -> None:
        """Keep a value in place of the one before. Returns when it is durable."""
        with self._asked("writing to"):
            await (await self._kv()).put(".".join(name), value)

    async def entry(self, *name: str) -> Entry:
        """The value as the stream's leader has it, and its revision."""
        with self._asked("reading from"):
            try:
                found = await self._js.get_last_msg(f"KV_{self._bucket}", self._subject(name))
            except NotFoundError as error:
                if error.err_code != NO_MESSAGE:
                    raise
                return Entry()
        gone = KV_OPERATION in (found.headers or {})
        return Entry(b"" if gone else found.data or b"", found.seq or 0)

    async def put_after(self, value: bytes, *name: str, after: int) -> int | None:
        """Keep a value in place of the revision `after`; its own, or None, and nothing done, when
        another one is there. Returns when it is durable."""
        try:
            with self._asked("writing to"):
                ack = await self._publish(value, name, after)
        except APIError as error:
            if error.err_code not in WRONG_LAST_SEQUENCE:
                raise
            return None
        return ack.seq

    async def _publish(self, value: bytes, name: Sequence[str], after: int) -> Ack:
        stream = f"KV_{self._bucket}"
        try:
            return await self._publisher.publish(
                self._subject(name),
                value,
                {"Nats-Expected-Last-Subject-Sequence": str(after)},
                timeout=REQUEST_TIMEOUT_SECONDS,
                stream=stream,
            )
        except NoStreamResponseError:
            await self._js.stream_info(stream)  # raises when it is not there
            raise  # else it has no leader now

    async def entries(self, *pattern: str) -> dict[tuple[str, ...], Entry]:
        """All values whose names are those of a pattern; `*` stands for any."""
        stream, subjects = f"KV_{self._bucket}", [self._subject(pattern)]
        found: dict[tuple[str, ...], Entry] = {}
        try:
            async with aclosing(latest_messages(self._nc, self._js, stream, subjects)) as batches:
                async for messages, complete in batches:
                    for one in messages:
                        gone = KV_OPERATION in one.headers
                        name = tuple(one.subject.removeprefix(self._prefix).split("."))
                        found[name] = Entry(b"" if gone else one.body, one.position)
                    if complete:
                        break
        except NotFoundError as error:
            raise StreamMissing(stream) from error
        except PullLost as error:
            raise Unavailable("NATS", f"reading {self._bucket} broke off") from error
        return found

    async def create(self, value: bytes, *name: str) -> bool:
        """Keep the first value under a name. False, and nothing done, when there is one."""
        with self._asked("writing to"):
            try:
                await (await self._kv()).create(".".join(name), value)
            except KeyWrongLastSequenceError:
                return False
        return True

    async def replace(self, value: bytes, was: bytes, *name: str) -> bool:
        """Keep a value in place of the one that `was` there; False, and nothing done, when another
        one is, or none. Returns when it is durable."""
        there = await self.entry(*name)
        if there.value != was:
            return False
        return await self.put_after(value, *name, after=there.revision) is not None

    async def remove(self, *name: str) -> None:
        """Remove a value for good."""
        with self._asked("removing from"):
            await (await self._kv()).purge(".".join(name))

    async def drop(self, *name: str) -> None:
        """Remove a value, and leave nothing in its place that says so."""
        with self._asked("removing from"):
            await self._js.purge_stream(f"KV_{self._bucket}", subject=self._subject(name))

    async def names(self, first: str) -> list[str]:
        """The second tokens of all names that begin with a token."""
        return [name for _, name in await self.matching(first, "*")]

    async def matching(self, *pattern: str) -> list[tuple[str, ...]]:
        """All names, in order, whose tokens are those of a pattern; `*` stands for any."""
        subjects = self._subject(pattern)
        found = []
        with self._asked("listing"):
            info = await self._js.stream_info(f"KV_{self._bucket}", subjects_filter=subjects)
        for subject in sorted(info.state.subjects or {}):
            name = tuple(subject.removeprefix(self._prefix).split("."))
            if await self.get(*name) is not None:
                found.append(name)
        return found

    @contextmanager
    def _asked(self, doing: str) -> Iterator[None]:
        with (
            missing_as_unavailable(f"KV_{self._bucket}"),
            outage_as_unavailable(f"{doing} {self._bucket}"),
        ):
            yield

    def _subject(self, name: Sequence[str]) -> str:
        return f"{self._prefix}{'.'.join(name)}"

    async def _kv(self) -> KeyValue:
        async with self._opening:
            if self._open is None:
                self._open = await self._js.key_value(self._bucket)
            return self._open
