"""What events mean for the read model `diffs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

import msgspec
from msgspec import Struct, field

from domain.envelope import StoredEvent
from domain.events import (
    AccessKeyCreated,
    AccessKeyRevoked,
    AccessRefused,
    CollectionFailed,
    CollectionRecovered,
    ContentExpired,
    ContentRevealed,
    ContentShredded,
    CredentialRemoved,
    CredentialSet,
    DeviceConfigured,
    DeviceRetired,
    DiffGenerated,
    DuplicateSkipped,
    EventSkipped,
    GroupConfigured,
    GroupRemoved,
    HostKeyChanged,
    HostKeyPinned,
    HostKeyReleased,
    LegalHoldPlaced,
    LegalHoldReleased,
    ManualBackupFinished,
    ManualBackupTriggered,
    RetentionPolicySet,
    SnapshotCreated,
    SnapshotRecanonicalised,
)
from projections.copying import copy_rows
from projections.diffs.tables import DDL, TABLES
from projections.rows import Connection
from projections.words import with_storable_names

_DIFF_COLUMNS = (
    "tenant_id",
    "device_id",
    "from_snapshot_id",
    "to_snapshot_id",
    "lines_added",
    "lines_removed",
    "coarse",
    "content_sequence",
    "commitment",
    "sections",
    "summaries",
    "summaries_more",
    "changes_sequence",
    "changes_commitment",
    "position",
    "occurred_at",
)


class DiffOps(Struct):
    """Rows to add, in the order of the columns above."""

    diffs: list[tuple[Any, ...]] = field(default_factory=list)


def fold(batch: Sequence[StoredEvent]) -> DiffOps:
    """What the batch adds to the tables. Pure."""
    ops = DiffOps()
    for stored in batch:
        match stored.event:
            case DiffGenerated() as event:
                ops.diffs.append(_row(stored, event))
            case (
                SnapshotCreated()
                | DuplicateSkipped()
                | ManualBackupTriggered()
                | ManualBackupFinished()
                | CollectionFailed()
                | SnapshotRecanonicalised()
                | CollectionRecovered()
                | DeviceConfigured()
                | DeviceRetired()
                | GroupConfigured()
                | GroupRemoved()
                | CredentialSet()
                | CredentialRemoved()
                | HostKeyPinned()
                | HostKeyChanged()
                | HostKeyReleased()
                | EventSkipped()
                | ContentRevealed()
                | AccessKeyCreated()
                | AccessKeyRevoked()
                | AccessRefused()
                | RetentionPolicySet()
                | LegalHoldPlaced()
                | LegalHoldReleased()
                | ContentExpired()
                | ContentShredded()
            ):
                pass
            case _:
                assert_never(stored.event)
    return ops


def _row(stored: StoredEvent, event: DiffGenerated) -> tuple[Any, ...]:
    event = with_storable_names(event)
    return (
        stored.tenant_id,
        stored.device_id,
        event.from_snapshot_id,
        event.to_snapshot_id,
        event.lines_added,
        event.lines_removed,
        event.coarse,
        event.content.sequence,
        event.content.commitment,
        msgspec.to_builtins(event.sections),
        msgspec.to_builtins(event.changes),
        event.changes_more,
        event.changes_content.sequence if event.changes_content else None,
        event.changes_content.commitment if event.changes_content else None,
        stored.position,
        stored.occurred_at,
    )


class Diffs:
    """The projection `diffs`."""

    name = "diffs"
    version = 5
    tables = TABLES
    ddl = DDL

    def fold(self, batch: Sequence[StoredEvent]) -> DiffOps:
        """What the batch adds to the tables."""
        return fold(batch)

    async def write(self, connection: Connection, ops: DiffOps) -> None:
        """Add that to the tables."""
        await copy_rows(connection, "diffs", _DIFF_COLUMNS, ops.diffs)
