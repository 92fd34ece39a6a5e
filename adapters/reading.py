"""Configuration texts and differences, for whoever shows them: read models and content together.

Invariant: what this gives out is configuration text. It goes to who asked and nowhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from adapters.comparing import Job, compared
from adapters.crypto.keys import KeyRing
from adapters.policies import Policies
from adapters.redacting import shown
from adapters.turns import Turns
from domain.errors import NotFound
from domain.events import Attribution, ContentRef, SectionChange
from domain.ports import ContentStore
from domain.redaction import Redactor
from domain.semantic.told import ToldDiff, decode
from projections.backups import Snapshot, get_device, get_snapshot, snapshot_at
from projections.diffs import Diff as RecordedDiff
from projections.diffs import HistoryDiff, get_diff, predecessor_of
from projections.rows import Reader
from projections.words import diff_id

# Redacting and comparing, by all tenants: they take turns.
AT_ONCE: Final = 2


class ConfigText(Struct, frozen=True):
    """A configuration as it was collected, and the SHA-256 of it (hex)."""

    snapshot: Snapshot
    text: bytes
    sha256_hash: str


class DiffText(Struct, frozen=True):
    """A unified diff. `recorded_at` is when it became a fact, None when it was worked out just now.

    `told` are the changes in words, redacted; None for platforms that have none, and in differences
    that were recorded before there were any.
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
    told: ToldDiff | None = None

    @property
    def changed_by(self) -> Attribution | None:
        """Who made the change, where the device was asked; None when there is more in between."""
        neighbours = self.to_snapshot.predecessor_id == self.from_snapshot.snapshot_id
        return self.to_snapshot.changed_by if neighbours else None


class ConfigReader:
    """Reads texts; `rows_of` gives a tenant's rows. All of it raises `NotFound`, and what the
    content store raises."""

    def __init__(
        self,
        rows_of: Callable[[str], Reader],
        content: ContentStore,
        keyring: KeyRing,
        *,
        workers: Executor | None = None,
        redacting: Executor | None = None,
        policies: Policies | None = None,
    ) -> None:
        self._rows_of = rows_of
        self._content = content
        self._keyring = keyring
        self._workers = workers
        self._redacting = redacting
        self._policies = policies or Policies()
        self._turns = Turns("the reader of texts", AT_ONCE)

    async def config_text(self, tenant_id: str, device_id: str, snapshot_id: str) -> ConfigText:
        """The text of a snapshot."""
        return await self._read(await self._snapshot(tenant_id, device_id, snapshot_id))

    async def config_at(self, tenant_id: str, device_id: str, time: datetime) -> ConfigText:
        """The text of the snapshot that held at a time."""
        snapshot = await snapshot_at(self._rows_of(tenant_id), tenant_id, device_id, time)
        if snapshot is None:
            if await get_device(self._rows_of(tenant_id), tenant_id, device_id) is None:
                raise NotFound("device", device_id)
            raise NotFound("configuration at", time.isoformat())
        return await self._read(snapshot)

    async def diff(self, tenant_id: str, device_id: str, snapshot_id: str) -> DiffText:
        """The difference that led to a snapshot, from the one that truly held before it."""
        await self._snapshot(tenant_id, device_id, snapshot_id)
        before = await predecessor_of(self._rows_of(tenant_id), tenant_id, device_id, snapshot_id)
        if before is None:
            raise NotFound("configuration before snapshot", snapshot_id)
        return await self.compare(tenant_id, device_id, before, snapshot_id)

    async def compare(self, tenant_id: str, device_id: str, from_id: str, to_id: str) -> DiffText:
        """The difference between any two snapshots of a device: the recorded one if there is
        one, else worked out now."""
        before = await self._snapshot(tenant_id, device_id, from_id)
        after = await self._snapshot(tenant_id, device_id, to_id)
        recorded = await get_diff(self._rows_of(tenant_id), tenant_id, device_id, from_id, to_id)
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
                await self.told(tenant_id, device_id, recorded),
            )
        texts = [await self._text(one) for one in (before, after)]
        return await self._worked_out(before, after, texts[0], texts[1])

    async def compare_across(
        self, tenant_id: str, from_device: str, from_id: str, to_device: str, to_id: str
    ) -> DiffText:
        """The difference between snapshots of any two devices of a tenant."""
        if from_device == to_device:
            return await self.compare(tenant_id, to_device, from_id, to_id)
        before = await self._snapshot(tenant_id, from_device, from_id)
        after = await self._snapshot(tenant_id, to_device, to_id)
        texts = [await self._text(one) for one in (before, after)]
        return await self._worked_out(before, after, texts[0], texts[1])

    async def told(
        self, tenant_id: str, device_id: str, recorded: RecordedDiff | HistoryDiff
    ) -> ToldDiff | None:
        """The changes of a recorded difference, in words; None when it has none."""
        if recorded.changes_sequence is None or recorded.changes_commitment is None:
            return None
        ref = ContentRef(sequence=recorded.changes_sequence, commitment=recorded.changes_commitment)
        return decode(await self._content.get(tenant_id, device_id, "changes", ref))

    async def redacted_text(self, config: ConfigText) -> ConfigText:
        """The text with its secrets as keyed hashes; `sha256_hash` is that of what is shown.

        Raises `NotRedactable`.
        """
        text = await self._redacted(config.snapshot, config.text)
        return ConfigText(config.snapshot, text, hashlib.sha256(text).hexdigest())

    async def redacted_diff(self, diff: DiffText) -> DiffText:
        """The difference of the texts without their secrets. Raises `NotRedactable`."""
        before, after = diff.from_snapshot, diff.to_snapshot
        texts = [await self._redacted(one, await self._text(one)) for one in (before, after)]
        made = await self._worked_out(before, after, texts[0], texts[1])
        if before.device_id != after.device_id:
            # Hashes of secrets differ between devices: nothing here may tell that two are the same.
            return made
        told = diff.told or made.told
        return replace(made, recorded_at=diff.recorded_at, sections=diff.sections, told=told)

    async def _redacted(self, snapshot: Snapshot, text: bytes) -> bytes:
        tenant = await self._keyring.tenant(snapshot.tenant_id)
        redactor = Redactor(tenant.fingerprint_key, snapshot.device_id)
        async with self._turns.turn(snapshot.tenant_id):
            return await shown(text, snapshot.platform, redactor, self._redacting)

    async def _worked_out(
        self, before: Snapshot, after: Snapshot, old: bytes, new: bytes
    ) -> DiffText:
        tenant = await self._keyring.tenant(after.tenant_id)
        job = Job(
            old,
            new,
            after.platform,
            tenant.fingerprint_key,
            after.device_id,
            self._policies.of(after.tenant_id),
        )
        async with self._turns.turn(after.tenant_id):
            found = await compared(job, self._workers)
        return DiffText(
            diff_id(before.snapshot_id, after.snapshot_id),
            before,
            after,
            found.patch,
            found.lines_added,
            found.lines_removed,
            found.coarse,
            None,
            found.sections,
            found.told,
        )

    async def _snapshot(self, tenant_id: str, device_id: str, snapshot_id: str) -> Snapshot:
        found = await get_snapshot(self._rows_of(tenant_id), tenant_id, device_id, snapshot_id)
        if found is None:
            if await get_device(self._rows_of(tenant_id), tenant_id, device_id) is None:
                raise NotFound("device", device_id)
            raise NotFound("snapshot", snapshot_id)
        return found

    async def _read(self, snapshot: Snapshot) -> ConfigText:
        text = await self._text(snapshot)
        return ConfigText(snapshot, text, hashlib.sha256(text).hexdigest())

    async def _text(self, snapshot: Snapshot) -> bytes:
        ref = ContentRef(sequence=snapshot.content_sequence, commitment=snapshot.commitment)
        return await self._content.get(snapshot.tenant_id, snapshot.device_id, "snapshot", ref)
