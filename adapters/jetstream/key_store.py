"""Wrapped keys in a KV bucket: an entry a tenant, and one for each key of a device, each made once,
by compare-and-set.

Subjects below the bucket's: `<tenant>`, and `<tenant>.<key id>.<device>`.
"""

from __future__ import annotations

from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, RawStreamMsg, StorageType
from nats.js.errors import APIError, BadRequestError, NotFoundError

from adapters.jetstream.connection import REQUEST_TIMEOUT_SECONDS, outage_as_unavailable
from adapters.jetstream.streams import replicate
from domain.errors import KeyDestroyed, StreamMisconfigured
from domain.ids import from_token, to_token

BUCKET = "CONFIGTRAIL_KEYS"
_STREAM = f"KV_{BUCKET}"
_PREFIX = f"$KV.{BUCKET}."
_OPERATION = "KV-Operation"
_NO_MESSAGE = 10037
_NAME_IN_USE = 10058
_WRONG_LAST_SEQUENCE = (10071, 10164)


class JetStreamKeyStore:
    """`adapters.crypto.keys.WrappedKeyStore`. Reads ask the leader: they see what was written."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js

    async def ensure(self, replicas: int = 1) -> None:
        """Make the bucket, unless it is there. Raises `StreamMisconfigured` if it forgets keys."""
        with outage_as_unavailable("looking at the bucket of keys"):
            try:
                live = (await self._js.stream_info(_STREAM)).config
            except NotFoundError:
                await self._create(replicas)
                live = (await self._js.stream_info(_STREAM)).config
        if live.storage != StorageType.FILE:
            raise StreamMisconfigured(_STREAM, "storage", StorageType.FILE, live.storage)
        if live.max_age:
            raise StreamMisconfigured(_STREAM, "max_age", 0, live.max_age)
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
                return await self._js.get_last_msg(_STREAM, _subject(name))
            except NotFoundError as error:
                if error.err_code != _NO_MESSAGE:
                    raise
                return None

    async def create(self, name: str, wrapped: bytes) -> bool:
        """See `WrappedKeyStore.create`."""
        try:
            with outage_as_unavailable("keeping a wrapped key"):
                await self._js.publish(
                    _subject(name),
                    wrapped,
                    headers={"Nats-Expected-Last-Subject-Sequence": "0"},
                    stream=_STREAM,
                    timeout=REQUEST_TIMEOUT_SECONDS,
                )
        except APIError as error:
            if error.err_code not in _WRONG_LAST_SEQUENCE:
                raise
            return False
        return True

    async def destroy(self, name: str) -> None:
        """See `WrappedKeyStore.destroy`. The bytes are overwritten on the servers' disks first; the
        mark that is left keeps the name from being used again."""
        message = await self._last(name)
        if message is not None and _OPERATION in (message.headers or {}):
            return
        with outage_as_unavailable("destroying a wrapped key"):
            if message is not None:
                try:
                    await self._js.delete_msg(_STREAM, message.seq or 0)
                except APIError:
                    # Another one destroys it too: the mark below settles it for both.
                    if await self._last(name) == message:
                        raise
            await self._js.publish(
                _subject(name),
                headers={_OPERATION: "PURGE", "Nats-Rollup": "sub"},
                stream=_STREAM,
                timeout=REQUEST_TIMEOUT_SECONDS,
            )

    async def names(self) -> list[str]:
        """See `WrappedKeyStore.names`."""
        with outage_as_unavailable("listing the wrapped keys"):
            info = await self._js.stream_info(_STREAM, subjects_filter=f"{_PREFIX}*")
        return [from_token(subject.removeprefix(_PREFIX)) for subject in info.state.subjects or {}]


def _subject(name: str) -> str:
    return _PREFIX + ".".join(to_token(part) for part in name.split("/", 2))
