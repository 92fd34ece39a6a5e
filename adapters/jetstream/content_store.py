"""Encrypted texts on the stream CONFIGTRAIL_CONTENT: one subject a device, found by sequence.

Subject `configtrail-content.<tenant>.<device>`. One subject a device, not one a text, keeps the
server's memory flat. Nothing in a message but its subject tells of whom or what the text is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, Protocol

from nats.js import JetStreamContext
from nats.js.api import (
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import NotFoundError

from adapters.crypto import blob
from adapters.crypto.blob import BlobContext
from adapters.crypto.keys import KeyRing
from adapters.jetstream.connection import outage_as_unavailable
from adapters.jetstream.listing import Listed, listed
from adapters.jetstream.parted import PART_BYTES, PartedStream
from domain.errors import (
    ContentCorrupt,
    ContentGone,
    ContentMissing,
    InvalidInput,
    KeyDestroyed,
)
from domain.events import ContentRef
from domain.ids import from_token, to_token
from domain.ports import ContentKind

CONTENT = "CONFIGTRAIL_CONTENT"
CONTENT_SUBJECT = "configtrail-content.>"
# Sealing this much takes about a millisecond, less than handing it to a thread is worth.
INLINE_BYTES: Final = 256 * 1024
MAX_TEXT: Final = 64 * 1024 * 1024


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
        found: list[int] = []
        async with aclosing(self._listed(_subject(tenant_id, device_id))) as batches:
            async for batch in batches:
                found += [one.sequence for one in batch if one.sequence <= until]
        for sequence in found:
            await self.delete(sequence)

    async def delete(self, sequence: int) -> bool:
        """Remove one message, a list without its parts; False when it was not there. Raises
        `Unavailable`."""
        return await self._stream.delete(sequence)

    def listed(self, after: int) -> AsyncGenerator[list[Listed], None]:
        """All messages after a sequence, parts of long texts as well. Raises `Unavailable`."""
        return self._listed(CONTENT_SUBJECT, after)

    def _listed(self, subject: str, after: int = 0) -> AsyncGenerator[list[Listed], None]:
        return listed(self._js, CONTENT, subject, after)

    async def look(self, sequence: int) -> Listed | None:
        """A message's place, None when there is none. Raises `Unavailable`."""
        return await self._stream.look(sequence)

    async def parts(self, sequence: int) -> tuple[int, ...]:
        """The parts that a text was stored in, if any. Raises `Unavailable`, `ContentCorrupt`."""
        return await self._stream.parts(sequence)

    @staticmethod
    def whose(subject: str) -> tuple[str, str]:
        """The tenant and the device whose texts lie under a subject."""
        _, tenant, device = subject.split(".")
        return from_token(tenant), from_token(device)

    async def created(self) -> str:
        """When the stream of contents was made. Raises `Unavailable`."""
        with outage_as_unavailable("looking at the contents"):
            made = (await self._js.stream_info(CONTENT)).created
        assert made is not None
        return made.isoformat()

    async def last(self) -> int:
        """The last sequence that was ever used. Raises `Unavailable`."""
        with outage_as_unavailable("looking at the contents"):
            return (await self._js.stream_info(CONTENT)).state.last_seq

    async def needs_device_keys(self) -> bool:
        """Whether the newest text is kept under a key of its device, as all are since devices have
        keys; so may be one that does not tell. Raises `Unavailable`."""
        with outage_as_unavailable("looking at the contents"):
            try:
                last = await self._js.get_last_msg(CONTENT, CONTENT_SUBJECT)
            except NotFoundError:
                return False
        assert last.seq is not None
        try:
            stored = await self._stream.read(last.seq)
            tenant = await self._keyring.tenant(self.whose(stored.subject)[0])
        except (ContentMissing, ContentCorrupt, KeyDestroyed, InvalidInput, ValueError):
            return True
        key_id = blob.key_id_of(stored.body)
        return tenant.opening(key_id).key_id != key_id

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
