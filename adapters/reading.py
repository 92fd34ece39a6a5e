"""Configuration texts and differences, for whoever shows them: read models and content together.

Invariant: what this gives out is configuration text. It goes to who asked and nowhere else.
"""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import Executor
from datetime import datetime

from msgspec import Struct

from domain.diffing import text_diff
from domain.errors import NotFound
from domain.events import ContentRef, SectionChange
from domain.ports import ContentStore
from projections.backups import Snapshot, get_device, get_snapshot, snapshot_at
from projections.diffs import get_diff, predecessor_of
from projections.rows import Pool

# Comparing up to this takes a few milliseconds; more is done elsewhere, since the comparison holds
# the interpreter's lock.
INLINE_BYTES = 128 * 1024


class ConfigText(Struct, frozen=True):
    """A configuration as it was collected, and the SHA-256 of it (hex)."""

    snapshot: Snapshot
    text: bytes
    sha256_hash: str


class DiffText(Struct, frozen=True):
    """A unified diff. `recorded_at` is when it became a fact, None when it was worked out just now.

    `sections` are only known of recorded ones.
    """

    diff_id: str
    from_snapshot: Snapshot
    to_snapshot: Snapshot
    patch: bytes
    lines_added: int
    lines_removed: int
    coarse: bool
    recorded_at: datetime | None
    sections: tuple[SectionChange, ...] = ()


def diff_id(from_snapshot_id: str, to_snapshot_id: str) -> str:
    """The id of a difference: the one of the event that tells it."""
    return f"diff.{from_snapshot_id}.{to_snapshot_id}"


class ConfigReader:
    """Reads texts. All of it raises `NotFound`, and what the content store raises."""

    def __init__(
        self, pool: Pool, content: ContentStore, *, workers: Executor | None = None
    ) -> None:
        self._pool = pool
        self._content = content
        self._workers = workers

    async def config_text(self, tenant_id: str, device_id: str, snapshot_id: str) -> ConfigText:
        """The text of a snapshot."""
        return await self._read(await self._snapshot(tenant_id, device_id, snapshot_id))

    async def config_at(self, tenant_id: str, device_id: str, time: datetime) -> ConfigText:
        """The text of the snapshot that held at a time."""
        snapshot = await snapshot_at(self._pool, tenant_id, device_id, time)
        if snapshot is None:
            if await get_device(self._pool, tenant_id, device_id) is None:
                raise NotFound("device", device_id)
            raise NotFound("configuration at", time.isoformat())
        return await self._read(snapshot)

    async def diff(self, tenant_id: str, device_id: str, snapshot_id: str) -> DiffText:
        """The difference that led to a snapshot, from the one that truly held before it."""
        await self._snapshot(tenant_id, device_id, snapshot_id)
        before = await predecessor_of(self._pool, tenant_id, device_id, snapshot_id)
        if before is None:
            raise NotFound("configuration before snapshot", snapshot_id)
        return await self.compare(tenant_id, device_id, before, snapshot_id)

    async def compare(self, tenant_id: str, device_id: str, from_id: str, to_id: str) -> DiffText:
        """The difference between any two snapshots of a device: the recorded one if there is
        one, else worked out now."""
        before = await self._snapshot(tenant_id, device_id, from_id)
        after = await self._snapshot(tenant_id, device_id, to_id)
        recorded = await get_diff(self._pool, tenant_id, device_id, from_id, to_id)
        if recorded is not None:
            ref = ContentRef(sequence=recorded.content_sequence, commitment=recorded.commitment)
            return DiffText(
                diff_id(from_id, to_id),
                before,
                after,
                await self._content.get(tenant_id, device_id, "diff", ref),
                recorded.lines_added,
                recorded.lines_removed,
                recorded.coarse,
                recorded.occurred_at,
                recorded.sections,
            )
        texts = [await self._text(one) for one in (before, after)]
        found = await self._compared(texts[0], texts[1])
        patch, added, removed, coarse = found
        return DiffText(diff_id(from_id, to_id), before, after, patch, added, removed, coarse, None)

    async def _compared(self, before: bytes, after: bytes) -> tuple[bytes, int, int, bool]:
        if len(before) + len(after) <= INLINE_BYTES:
            return _compare(before, after)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, _compare, before, after)

    async def _snapshot(self, tenant_id: str, device_id: str, snapshot_id: str) -> Snapshot:
        found = await get_snapshot(self._pool, tenant_id, device_id, snapshot_id)
        if found is None:
            if await get_device(self._pool, tenant_id, device_id) is None:
                raise NotFound("device", device_id)
            raise NotFound("snapshot", snapshot_id)
        return found

    async def _read(self, snapshot: Snapshot) -> ConfigText:
        text = await self._text(snapshot)
        return ConfigText(snapshot, text, hashlib.sha256(text).hexdigest())

    async def _text(self, snapshot: Snapshot) -> bytes:
        ref = ContentRef(sequence=snapshot.content_sequence, commitment=snapshot.commitment)
        return await self._content.get(snapshot.tenant_id, snapshot.device_id, "snapshot", ref)


def _compare(before: bytes, after: bytes) -> tuple[bytes, int, int, bool]:
    found = text_diff(before, after, before_label="before", after_label="after")
    return found.patch, found.lines_added, found.lines_removed, found.coarse
