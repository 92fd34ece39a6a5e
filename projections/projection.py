"""What a read model is, to the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from domain.envelope import StoredEvent
from projections.rows import Connection

Ops = TypeVar("Ops")


class Projection(Protocol[Ops]):
    """A read model: its tables, and how events become rows.

    Changing what the rows hold means a higher `version`: new tables are then built beside the old.
    Invariants: rows depend on the events and their order alone, never on how they are cut into
    batches, nor on a clock. Only the order of events of the same device matters: those of a device
    with a parked event come later than the others.
    """

    @property
    def name(self) -> str:
        """Names its checkpoint."""
        ...

    @property
    def version(self) -> int:
        """1, 2, …"""
        ...

    @property
    def tables(self) -> tuple[str, ...]:
        """Its tables, which nobody else writes to. Each has a primary key."""
        ...

    @property
    def ddl(self) -> str:
        """Makes the tables and their indexes, named without a schema."""
        ...

    def fold(self, batch: Sequence[StoredEvent]) -> Ops:
        """What a batch means for the rows. Pure."""
        ...

    async def write(self, connection: Connection, ops: Ops) -> None:
        """Bring that into the tables, named without a schema, inside the caller's transaction."""
        ...
