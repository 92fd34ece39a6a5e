"""Wrapped keys in a KV bucket: one entry a tenant, made once by compare-and-set."""

from __future__ import annotations

from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import APIError, BadRequestError, NotFoundError

from adapters.jetstream.connection import REQUEST_TIMEOUT_SECONDS, outage_as_unavailable
from adapters.jetstream.streams import replicate
from domain.errors import KeyUnavailable, StreamMisconfigured
from domain.ids import from_token, to_token

BUCKET = "CONFIGTRAIL_KEYS"
_STREAM = f"KV_{BUCKET}"
_PREFIX = f"$KV.{BUCKET}."
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

    async def get(self, tenant: str) -> bytes | None:
        """See `WrappedKeyStore.get`."""
        with outage_as_unavailable("reading a wrapped key"):
            try:
                message = await self._js.get_last_msg(_STREAM, _subject(tenant))
            except NotFoundError as error:
                if error.err_code != _NO_MESSAGE:
                    raise
                return None
        if "KV-Operation" in (message.headers or {}):
            raise KeyUnavailable(f"the keys of {tenant}", "they were destroyed")
        return message.data or b""

    async def create(self, tenant: str, wrapped: bytes) -> bool:
        """See `WrappedKeyStore.create`."""
        try:
            with outage_as_unavailable("keeping a wrapped key"):
                await self._js.publish(
                    _subject(tenant),
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

    async def names(self) -> list[str]:
        """See `WrappedKeyStore.names`."""
        with outage_as_unavailable("listing the wrapped keys"):
            info = await self._js.stream_info(_STREAM, subjects_filter=f"{_PREFIX}>")
        return [from_token(subject.removeprefix(_PREFIX)) for subject in info.state.subjects or {}]


def _subject(tenant: str) -> str:
    return _PREFIX + to_token(tenant)
