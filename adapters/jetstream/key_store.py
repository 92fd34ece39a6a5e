"""Wrapped keys: tenants' in a KV bucket, devices' in a stream; each made once, by compare-and-set.

A KV bucket never lets its messages be deleted, only replaced, and the bytes of what was replaced
stay on the disk for a while. Devices' keys are there to be destroyed, so they lie in a stream that
does: the server overwrites a message that is deleted from it. Their subjects are
`configtrail-keys.<tenant>.<key id>.<device>`.
"""

from __future__ import annotations

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

from adapters.jetstream.connection import (
    REQUEST_TIMEOUT_SECONDS,
    missing_as_unavailable,
    outage_as_unavailable,
)
from adapters.jetstream.streams import ensure_stream, is_there, replicate
from domain.errors import KeyDestroyed, StreamMisconfigured, StreamMissing
from domain.ids import from_token, to_token

BUCKET = "CONFIGTRAIL_KEYS"
KEYS = f"KV_{BUCKET}"
DEVICE_KEYS = "CONFIGTRAIL_DEVICE_KEYS"
_PREFIX = f"$KV.{BUCKET}."
_DEVICE_PREFIX = "configtrail-keys."
_OPERATION = "KV-Operation"
_NO_MESSAGE = 10037
_NAME_IN_USE = 10058
_WRONG_LAST_SEQUENCE = (10071, 10164)


class JetStreamKeyStore:
    """`adapters.crypto.keys.WrappedKeyStore`. Reads ask the leader: they see what was written."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js

    async def is_made(self) -> bool:
        """Whether the bucket is there."""
        return await is_there(self._js, KEYS)

    async def ensure(self, replicas: int = 1) -> None:
        """Make what is absent. Raises `StreamMisconfigured` for what forgets keys."""
        await self.ensure_devices(replicas)
        await self.ensure_tenants(replicas)

    async def ensure_devices(self, replicas: int, *, create: bool = True) -> None:
        """As `ensure`, for the stream of devices' keys. Without `create` an absent one raises
        `StreamMissing`."""
        with missing_as_unavailable(DEVICE_KEYS):
            await ensure_stream(self._js, device_keys_config(replicas), create=create)

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
            if error.err_code != _NAME_IN_USE:  # another program made it meanwhile
                raise

    async def get(self, name: str) -> bytes | None:
        """See `WrappedKeyStore.get`."""
        message = await self._last(name)
        if message is None:
            return None
        if _OPERATION in (message.headers or {}):
            raise KeyDestroyed(f"the keys of {name}")
        return message.data or b""

    async def _last(self, name: str) -> RawStreamMsg | None:
        with outage_as_unavailable("reading a wrapped key"):
            try:
                return await self._js.get_last_msg(*_place(name))
            except NotFoundError as error:
                if error.err_code != _NO_MESSAGE:
                    raise StreamMissing(_place(name)[0]) from error
                return None

    async def create(self, name: str, wrapped: bytes) -> bool:
        """See `WrappedKeyStore.create`."""
        try:
            with outage_as_unavailable("keeping a wrapped key"):
                stream, subject = _place(name)
                await self._js.publish(
                    subject,
                    wrapped,
                    headers={"Nats-Expected-Last-Subject-Sequence": "0"},
                    stream=stream,
                    timeout=REQUEST_TIMEOUT_SECONDS,
                )
        except APIError as error:
            if error.err_code not in _WRONG_LAST_SEQUENCE:
                raise
            return False
        return True

    async def destroy(self, name: str) -> None:
        """See `WrappedKeyStore.destroy`. A mark is left, so that the name is never used again."""
        stream, subject = _place(name)
        message = await self._last(name)
        if message is not None and _OPERATION in (message.headers or {}):
            return
        with outage_as_unavailable("destroying a wrapped key"):
            if message is not None and stream == DEVICE_KEYS:
                try:
                    # The server overwrites the bytes on its disk, and tells its replicas to.
                    await self._js.delete_msg(stream, message.seq or 0)
                except APIError:
                    # Another one destroys it too: the mark below settles it for both.
                    if await self._last(name) == message:
                        raise
            headers = {_OPERATION: "PURGE"}
            if stream == KEYS:
                headers["Nats-Rollup"] = "sub"
            await self._js.publish(
                subject, headers=headers, stream=stream, timeout=REQUEST_TIMEOUT_SECONDS
            )

    async def names(self) -> list[str]:
        """See `WrappedKeyStore.names`."""
        with outage_as_unavailable("listing the wrapped keys"):
            info = await self._js.stream_info(KEYS, subjects_filter=f"{_PREFIX}*")
        return [from_token(subject.removeprefix(_PREFIX)) for subject in info.state.subjects or {}]


def device_keys_config(replicas: int) -> StreamConfig:
    """One message a key, the newest; a full stream refuses, and messages can be deleted."""
    return StreamConfig(
        name=DEVICE_KEYS,
        subjects=[f"{_DEVICE_PREFIX}>"],
        num_replicas=replicas,
        storage=StorageType.FILE,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.NEW,
        max_msgs_per_subject=1,
        deny_delete=False,
        allow_direct=True,
        duplicate_window=1,
    )


def _place(name: str) -> tuple[str, str]:
    """The stream and the subject of a name: only a device's has slashes."""
    if "/" not in name:
        return KEYS, _PREFIX + to_token(name)
    return DEVICE_KEYS, _DEVICE_PREFIX + ".".join(to_token(one) for one in name.split("/", 2))
