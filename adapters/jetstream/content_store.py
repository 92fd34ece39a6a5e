"""Encrypted texts on the stream CONFIGTRAIL_CONTENT: one subject a device, found by sequence.

Subject `configtrail-content.<tenant>.<device>`. One subject a device, not one a text, keeps the
server's memory flat. Nothing in a message but its subject tells of whom or what the text is.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from adapters.crypto import blob
from adapters.crypto.blob import BlobContext
from adapters.crypto.keys import KeyRing
from adapters.jetstream.connection import REQUEST_TIMEOUT_SECONDS, outage_as_unavailable
from adapters.jetstream.parted import PART_BYTES, PartedStream
from domain.errors import (
    ContentCorrupt,
    ContentGone,
    ContentMissing,
    InvalidInput,
    KeyDestroyed,
)
from domain.events import ContentRef
from domain.ids import to_token
from domain.ports import ContentKind

CONTENT = "CONFIGTRAIL_CONTENT"
CONTENT_SUBJECT = "configtrail-content.>"
# Sealing this much takes about a millisecond, less than handing it to a thread is worth.
INLINE_BYTES: Final = 256 * 1024
MAX_TEXT: Final = 64 * 1024 * 1024
_FETCH: Final = 500


def content_stream_config() -> StreamConfig:
    """Texts stay until retention removes them one by one; a full stream refuses."""
    return StreamConfig(
        name=CONTENT,
        subjects=[CONTENT_SUBJECT],
        storage=StorageType.FILE,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.NEW,
        deny_delete=False,
        allow_direct=True,
        # No message here has an id to find duplicates by: remembering would cost for nothing.
        duplicate_window=1,
    )


class Explains(Protocol):
    """Tells why a content is not there."""

    async def __call__(self, tenant_id: str, device_id: str, sequence: int) -> ContentGone | None:
        """What the log says of a content that can't be had; None when it says nothing."""
        ...


class JetStreamContentStore:
    """`domain.ports.ContentStore`. `part_bytes`: what is longer than this is stored in parts.
    Without `explains` nothing is known of texts that were removed on purpose."""

    def __init__(
        self,
        js: JetStreamContext,
        keyring: KeyRing,
        *,
        part_bytes: int = PART_BYTES,
        explains: Explains | None = None,
    ) -> None:
        self._js = js
        self._keyring = keyring
        self._explains = explains
        self._stream = PartedStream(js, CONTENT, limit=blob.MAX_BLOB, part_bytes=part_bytes)

    async def put(
        self, tenant_id: str, device_id: str, kind: ContentKind, text: bytes, era: int = 0
    ) -> ContentRef:
        """See `domain.ports.ContentStore.put`.

        Raises `InvalidInput` beyond 64 MiB, `KeyUnavailable`, and `Unavailable`: then a copy that
        nothing refers to may stay behind.
        """
        if len(text) > MAX_TEXT:
            raise InvalidInput("text", f"must be at most {MAX_TEXT} bytes, is {len(text)}")
        keys = await self._keyring.device(tenant_id, device_id, era)
        context = BlobContext(tenant_id, device_id, kind)
        if len(text) > INLINE_BYTES:
            sealed, commitment = await asyncio.to_thread(blob.seal, keys, context, text)
        else:
            sealed, commitment = blob.seal(keys, context, text)
        ack, _ = await self._stream.write(_subject(tenant_id, device_id), sealed)
        return ContentRef(sequence=ack.seq, commitment=commitment)

    async def get(
        self, tenant_id: str, device_id: str, kind: ContentKind, ref: ContentRef
    ) -> bytes:
        """See `domain.ports.ContentStore.get`. Raises `Unavailable` during an outage as well."""
        return (await self.opening(tenant_id, device_id, kind, ref))[1]

    async def opening(
        self, tenant_id: str, device_id: str, kind: ContentKind, ref: ContentRef
    ) -> tuple[bytes, bytes]:
        """The salt and the text that the commitment was made of. Raises as `get`."""
        try:
            return await self._opened(tenant_id, device_id, kind, ref)
        except (ContentMissing, KeyDestroyed):
            if self._explains is None:
                raise
            gone = await self._explains(tenant_id, device_id, ref.sequence)
            if gone is None:
                raise
            raise gone from None

    async def remove(self, sequence: int) -> None:
        """Remove a content for good, its parts first: whoever was broken off does it again. What
        is not there is removed already. Raises `Unavailable`."""
        await self._stream.remove(sequence)

    async def remove_all(self, tenant_id: str, device_id: str, until: int) -> None:
        """Remove whatever lies there of a device, up to a sequence. Raises `Unavailable`.

        One by one: a purge would leave the bytes on the servers' disks.
        """
        for sequence in await self._sequences(_subject(tenant_id, device_id), until):
            await self._stream.delete(sequence)

    async def _sequences(self, subject: str, until: int) -> list[int]:
        found: list[int] = []
        with outage_as_unavailable("listing contents"):
            made = await self._js.add_consumer(
                CONTENT,
                ConsumerConfig(
                    filter_subject=subject,
                    ack_policy=AckPolicy.NONE,
                    headers_only=True,
                    mem_storage=True,
                    num_replicas=1,
                    inactive_threshold=30.0,
                ),
            )
            waiting = made.num_pending or 0
            subscription = await self._js.pull_subscribe_bind(made.name, stream=CONTENT)
            try:
                while waiting:
                    for msg in await subscription.fetch(
                        min(_FETCH, waiting), timeout=REQUEST_TIMEOUT_SECONDS
                    ):
                        waiting = msg.metadata.num_pending
                        found.append(msg.metadata.sequence.stream)
            finally:
                await subscription.unsubscribe()
                await self._js.delete_consumer(CONTENT, made.name)
        return [one for one in found if one <= until]

    async def last(self) -> int:
        """The last sequence that was ever used. Raises `Unavailable`."""
        with outage_as_unavailable("looking at the contents"):
            return (await self._js.stream_info(CONTENT)).state.last_seq

    async def _opened(
        self, tenant_id: str, device_id: str, kind: ContentKind, ref: ContentRef
    ) -> tuple[bytes, bytes]:
        stored = await self._stream.read(ref.sequence)
        if stored.subject != _subject(tenant_id, device_id):
            raise ContentCorrupt(ref.sequence, "it lies on another device's subject")
        keys = await self._keyring.opener(tenant_id, device_id, blob.key_id_of(stored.body))
        context = BlobContext(tenant_id, device_id, kind)
        if len(stored.body) > INLINE_BYTES:
            packed = await asyncio.to_thread(
                blob.decrypt, keys, context, stored.body, ref.commitment, sequence=ref.sequence
            )
        else:
            packed = blob.decrypt(keys, context, stored.body, ref.commitment, sequence=ref.sequence)
        # A short blob may be a long text.
        if packed.size > INLINE_BYTES:
            return packed.salt, await asyncio.to_thread(packed.text)
        return packed.salt, packed.text()


def _subject(tenant_id: str, device_id: str) -> str:
    return f"configtrail-content.{to_token(tenant_id)}.{to_token(device_id)}"
