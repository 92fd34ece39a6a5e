"""What verification looks at, on the running system: streams, notes, tiles, rows and content."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from adapters.jetstream.checkpoints import StoredNote, read_notes
from adapters.jetstream.content_store import JetStreamContentStore
from adapters.jetstream.verbatim import RawFeed
from adapters.postgres.tiles import TileStore
from adapters.tlog.row_pages import AuditRows, AuditTable
from domain.envelope import StreamIdentity
from domain.events import ContentRef
from domain.ports import ContentKind, ContentStore
from domain.tlog.leaf import RawEvent
from domain.tlog.names import STREAM_LOG
from projections.rows import Pool

if TYPE_CHECKING:
    from adapters.composition import System


class Evidence(Protocol):
    """A history, as it is stored, and everything that was made of it."""

    async def identity(self) -> StreamIdentity:
        """Name and creation time of the stream."""
        ...

    async def ends(self) -> tuple[int, int]:
        """The first and the last position, as the stream tells them."""
        ...

    def read(self, after: int = 0) -> AsyncGenerator[list[RawEvent], None]:
        """The events after a position, up to the end as of now."""
        ...

    async def notes(self) -> tuple[list[StoredNote], int]:
        """All notes, and the last sequence that their stream tells."""
        ...

    async def signed_leaves(self, count: int) -> list[bytes]:
        """The leaf hashes that the tiles hold for the stream's first positions."""
        ...

    def rows(self) -> AuditRows:
        """The rows of the audit read model, as they are when they are opened."""
        ...

    async def content(
        self, tenant_id: str, device_id: str, kind: ContentKind, ref: ContentRef
    ) -> bytes:
        """A text, verified. Raises as `domain.ports.ContentStore.get`."""
        ...


class SystemEvidence:
    """`Evidence` of a connected system."""

    def __init__(
        self, events: RawFeed, notes: RawFeed, tiles: TileStore, pool: Pool, content: ContentStore
    ) -> None:
        self._events = events
        self._notes = notes
        self._tiles = tiles
        self._pool = pool
        self._content = content

    @classmethod
    def of(cls, system: System) -> SystemEvidence:
        """The evidence of a system."""
        log = system.log
        # What is gone is judged by the events that are verified, not by asking the log again.
        content = JetStreamContentStore(system.js, system.keyring)
        return cls(log.events, log.notes, log.tiles, system.pool, content)

    async def identity(self) -> StreamIdentity:
        """See `Evidence.identity`."""
        return await self._events.identity()

    async def ends(self) -> tuple[int, int]:
        """See `Evidence.ends`."""
        return await self._events.ends()

    def read(self, after: int = 0) -> AsyncGenerator[list[RawEvent], None]:
        """See `Evidence.read`."""
        return self._events.read(after)

    async def notes(self) -> tuple[list[StoredNote], int]:
        """See `Evidence.notes`."""
        _, last = await self._notes.ends()
        async with aclosing(read_notes(self._notes)) as batches:
            return [note async for batch in batches for note in batch], last

    async def signed_leaves(self, count: int) -> list[bytes]:
        """See `Evidence.signed_leaves`."""
        return await self._tiles.leaves(STREAM_LOG, 0, count)

    def rows(self) -> AuditRows:
        """See `Evidence.rows`."""
        return AuditTable(self._pool)

    async def content(
        self, tenant_id: str, device_id: str, kind: ContentKind, ref: ContentRef
    ) -> bytes:
        """See `Evidence.content`."""
        return await self._content.get(tenant_id, device_id, kind, ref)
