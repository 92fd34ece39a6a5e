"""Wrapped keys: tenants' in a KV bucket, devices' in a stream; each made once, by compare-and-set.

A KV bucket never lets its messages be deleted, only replaced, and the bytes of what was replaced
stay on the disk for a while. Devices' keys are there to be destroyed, so they lie in a stream that
does: the server overwrites a message that is deleted from it, and only such a one. So nothing else
ever takes a message from there: what takes its place (keys wrapped anew, the mark of destroyed
ones) is added after it, and then it is deleted. The last message of a subject counts. Subjects are
`configtrail-keys.<tenant>.<key id>.<device>`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from nats.js import JetStreamContext
from nats.js.api import (
    DiscardPolicy,
    KeyValueConfig,
    RawStreamMsg,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError, BadRequestError, NotFoundError

from adapters.crypto.keys import Wrapped
from adapters.jetstream.codes import KV_OPERATION, NAME_IN_USE, NO_MESSAGE, WRONG_LAST_SEQUENCE
from adapters.jetstream.connection import (
    REQUEST_TIMEOUT_SECONDS,
    missing_as_unavailable,
    outage_as_unavailable,
)
from adapters.jetstream.listing import listed
from adapters.jetstream.streams import ensure_stream, is_there, replicate
from domain.errors import KeyDestroyed, StreamMisconfigured, StreamMissing
from domain.ids import from_token, to_token

BUCKET = "CONFIGTRAIL_KEYS"
KEYS = f"KV_{BUCKET}"
DEVICE_KEYS = "CONFIGTRAIL_DEVICE_KEYS"
_PREFIX = f"$KV.{BUCKET}."
_DEVICE_PREFIX = "configtrail-keys."
_LIMIT_BEFORE = 1


class JetStreamKeyStore:
    """`adapters.crypto.keys.WrappedKeyStore`. Reads ask the leader: they see what was written."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js
        self._unlimited = False

    async def is_made(self) -> bool:
        """Whether the bucket is there."""
        return await is_there(self._js, KEYS)

    async def ensure(self, replicas: int = 1) -> None:
        """Make what is absent. Raises `StreamMisconfigured` for what forgets keys."""
        await self.ensure_devices(replicas)
        await self.ensure_tenants(replicas)

    async def ensure_devices(self, replicas: int, *, create: bool = True) -> None:
        """As `ensure`, for the stream of devices' keys. Without `create` an absent one raises
        `StreamMissing`, and one of before has its limit left until it matters: programs of before
        that run beside a command refuse a stream without it."""
        wanted = device_keys_config(replicas)
        if create:
            await self._lift_limit()
        elif await self._limited() is not None:
            wanted = wanted.evolve(max_msgs_per_subject=_LIMIT_BEFORE)
        with missing_as_unavailable(DEVICE_KEYS):
            await ensure_stream(self._js, wanted, create=create)

    async def _lift_limit(self) -> None:
        """Until keys could be wrapped anew the stream kept one message a key. What a limit drops is
        not overwritten on the disk."""
        if self._unlimited:
            return
        limited = await self._limited()
        if limited is not None:
            with outage_as_unavailable("making room for keys of devices"):
                await self._js.update_stream(limited.evolve(max_msgs_per_subject=-1))
        self._unlimited = True

    async def _limited(self) -> StreamConfig | None:
        """The stream's settings, if it keeps one message a key."""
        with outage_as_unavailable("looking at the keys of devices"):
            try:
                live = (await self._js.stream_info(DEVICE_KEYS)).config
            except NotFoundError:
                return None
        return live if live.max_msgs_per_subject == _LIMIT_BEFORE else None

    async def ensure_tenants(self, replicas: int) -> None:
        """As `ensure`, for the bucket of tenants' keys."""
        with outage_as_unavailable("looking at the bucket of keys"):
            try:
                live = (await self._js.stream_info(KEYS)).config
            except NotFoundError:
                await self._create(replicas)
                live = (await self._js.stream_info(KEYS)).config
        if live.storage != StorageType.FILE:
            raise StreamMisconfigured(KEYS, "storage", StorageType.FILE, live.storage)
        if live.max_age:
            raise StreamMisconfigured(KEYS, "max_age", 0, live.max_age)
        # A key that is on one server alone is lost with it, and with it all texts of its tenant.
        await replicate(self._js, live, replicas)

    async def _create(self, replicas: int) -> None:
        try:
            await self._js.create_key_value(
                KeyValueConfig(
                    bucket=BUCKET, history=1, storage=StorageType.FILE, replicas=replicas
                )
            )
        except BadRequestError as error:
            if error.err_code != NAME_IN_USE:  # another program made it meanwhile
                raise

    async def get(self, name: str) -> bytes | None:
        """See `WrappedKeyStore.get`."""
        message = await self._last(name)
        if message is None:
            return None
        if _is_mark(message):
            raise KeyDestroyed(f"the keys of {name}")
        return message.data or b""

    async def _last(self, name: str) -> RawStreamMsg | None:
        with outage_as_unavailable("reading a wrapped key"):
            try:
                return await self._js.get_last_msg(*_place(name))
            except NotFoundError as error:
                if error.err_code != NO_MESSAGE:
                    raise StreamMissing(_place(name)[0]) from error
                return None

    async def create(self, name: str, wrapped: bytes) -> bool:
        """See `WrappedKeyStore.create`."""
        return await self._add(name, wrapped, after=0) is not None

    async def replace(self, name: str, wrapped: bytes, by: bytes) -> bool:
        """See `WrappedKeyStore.replace`."""
        last = await self._last(name)
        if last is None or _is_mark(last) or last.data != wrapped:
            return False
        await self._lift_limit()
        added = await self._add(name, by, after=last.seq or 0)
        if added is None:
            return False
        await self._delete_before(name, added)
        return True

    async def destroy_replaced(self, name: str) -> None:
        """See `WrappedKeyStore.destroy_replaced`."""
        last = await self._last(name)
        if last is not None:
            await self._delete_before(name, last.seq or 0)

    async def destroy(self, name: str) -> None:
        """See `WrappedKeyStore.destroy`. A mark is left, so that the name is never used again."""
        mark = {KV_OPERATION: "PURGE"}
        if _place(name)[0] == KEYS:
            mark["Nats-Rollup"] = "sub"
        await self._lift_limit()
        while True:
            last = await self._last(name)
            end = 0 if last is None else last.seq or 0
            if last is None or not _is_mark(last):
                added = await self._add(name, b"", after=end, headers=mark)
                if added is None:
                    continue  # another one was faster: what it did is looked at anew
                end = added
            return await self._delete_before(name, end)

    async def _add(
        self, name: str, body: bytes, *, after: int, headers: dict[str, str] | None = None
    ) -> int | None:
        """Add a message under a name where `after` is its last one; its sequence, or None where
        another one is."""
        stream, subject = _place(name)
        expected = {"Nats-Expected-Last-Subject-Sequence": str(after)}
        try:
            with outage_as_unavailable("keeping a wrapped key"):
                ack = await self._js.publish(
                    subject,
                    body,
                    headers=expected | (headers or {}),
                    stream=stream,
                    timeout=REQUEST_TIMEOUT_SECONDS,
                )
        except APIError as error:
            if error.err_code not in WRONG_LAST_SEQUENCE:
                raise
            return None
        return ack.seq

    async def _delete_before(self, name: str, end: int) -> None:
        """Delete all messages of a device's name before a sequence: the server overwrites the bytes
        on its disk, and tells its replicas to."""
        stream, subject = _place(name)
        if stream == KEYS:
            return
        after = 0
        while (found := await self._next(stream, subject, after + 1)) is not None:
            after = found.seq or 0
            if after >= end:
                return
            with outage_as_unavailable("destroying a wrapped key"):
                try:
                    await self._js.delete_msg(stream, after)
                except APIError:
                    # Another one may have been faster: the server does not know it then.
                    still = await self._next(stream, subject, after)
                    if still is not None and still.seq == after:
                        raise

    async def _next(self, stream: str, subject: str, start: int) -> RawStreamMsg | None:
        with outage_as_unavailable("reading a wrapped key"):
            try:
                return await self._js.get_msg(stream, seq=start, subject=subject, next=True)
            except NotFoundError as error:
                if error.err_code != NO_MESSAGE:
                    raise StreamMissing(stream) from error
                return None

    async def names(self) -> list[str]:
        """See `WrappedKeyStore.names`."""
        with outage_as_unavailable("listing the wrapped keys"):
            info = await self._js.stream_info(KEYS, subjects_filter=f"{_PREFIX}*")
        return [from_token(subject.removeprefix(_PREFIX)) for subject in info.state.subjects or {}]

    async def devices(self) -> AsyncGenerator[list[Wrapped], None]:
        """See `WrappedKeyStore.devices`."""
        found = listed(self._js, DEVICE_KEYS, f"{_DEVICE_PREFIX}>", bodies=True)
        with missing_as_unavailable(DEVICE_KEYS):
            async with aclosing(found) as batches:
                async for batch in batches:
                    # Marks are empty.
                    yield [Wrapped(_name(one.subject), one.body) for one in batch if one.body]

    async def of_device(self, tenant_id: str, device_id: str) -> list[str]:
        """See `WrappedKeyStore.of_device`."""
        subjects = f"{_DEVICE_PREFIX}{to_token(tenant_id)}.*.{to_token(device_id)}"
        with (
            missing_as_unavailable(DEVICE_KEYS),
            outage_as_unavailable("listing the wrapped keys"),
        ):
            info = await self._js.stream_info(DEVICE_KEYS, subjects_filter=subjects)
        return [_name(subject) for subject in sorted(info.state.subjects or {})]


def device_keys_config(replicas: int) -> StreamConfig:
    """A full stream refuses, and messages leave it by being deleted and in no other way."""
    return StreamConfig(
        name=DEVICE_KEYS,
        subjects=[f"{_DEVICE_PREFIX}>"],
        num_replicas=replicas,
        storage=StorageType.FILE,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.NEW,
        deny_delete=False,
        allow_direct=True,
        duplicate_window=1,
    )


def _place(name: str) -> tuple[str, str]:
    """The stream and the subject of a name: only a device's has slashes."""
    if "/" not in name:
        return KEYS, _PREFIX + to_token(name)
    return DEVICE_KEYS, _DEVICE_PREFIX + ".".join(to_token(one) for one in name.split("/", 2))


def _name(subject: str) -> str:
    """The name that a device's key of that subject is kept under."""
    parts = subject.removeprefix(_DEVICE_PREFIX).split(".")
    return "/".join(from_token(one) for one in parts)


def _is_mark(message: RawStreamMsg) -> bool:
    """Whether it says that the keys were destroyed."""
    return KV_OPERATION in (message.headers or {})
