"""The projection `audit`: adds a row for every event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from domain.envelope import StoredEvent
from projections.audit import encoding, write
from projections.audit.tables import DDL, TABLES
from projections.copying import copy_encoded, copy_rows, is_copied
from projections.rows import Connection


class Encoded(Struct, frozen=True):
    """Rows as they are copied, in the order of `encoding.COLUMNS`."""

    rows: list[bytes]


Rows: TypeAlias = "list[tuple[Any, ...]] | Encoded"


class Audit:
    """The projection `audit`."""

    name = "audit"
    version = 5
    tables = TABLES
    ddl = DDL

    def fold(self, batch: Sequence[StoredEvent]) -> Rows:
        """A row for each event, in the form in which so many of them are added."""
        if is_copied(len(batch)):
            return Encoded([encoding.record(stored) for stored in batch])
        return write.fold(batch)

    async def write(self, connection: Connection, ops: Rows) -> None:
        """Add the rows."""
        if isinstance(ops, Encoded):
            await copy_encoded(connection, "audit", encoding.COLUMNS, ops.rows)
        else:
            await copy_rows(connection, "audit", write.COLUMNS, ops)
