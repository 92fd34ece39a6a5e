"""Where projections get events from, and what they get for one that can't be read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol, TypeAlias

from msgspec import Struct

from domain.envelope import StoredEvent, StreamIdentity


class Unreadable(Struct, frozen=True, kw_only=True):
    """An event that this program can't decode. `reason` says why, without quoting it."""

    position: int
    stored_at: datetime
    tenant_id: str
    device_id: str
    event_id: str
    type_name: str
    reason: str


Delivered: TypeAlias = StoredEvent | Unreadable

# What is bounded is memory: an event that is larger than this counts as several.
EVENT_BYTES = 2048


class Batch(list[Delivered]):
    """Events that were read together, with what they weigh: their number, and more where some are
    large."""

    weight: int

    def __init__(self, events: Iterable[Delivered], weight: int) -> None:
        super().__init__(events)
        self.weight = weight


def weight_of(batch: Sequence[Delivered]) -> int:
    """What a batch weighs, as far as its source tells."""
    return batch.weight if isinstance(batch, Batch) else len(batch)


class EventSource(Protocol):
    """The stream of events, as projections read it."""

    def follow(self, after: int = 0) -> AsyncGenerator[Sequence[Delivered], None]:
        """All events after a position, in batches, and then on for ever as they come.

        Raises `StreamGap` when one is missing. Close it (`contextlib.aclosing`).
        """
        ...

    async def at(self, position: int) -> Delivered:
        """The event at a position."""
        ...

    async def skipped(self, projection: str, event: Delivered) -> bool:
        """Whether the stream says that the projection goes on without this event."""
        ...

    async def skipped_before(self, projection: str, event: Delivered, event_id: str) -> bool:
        """Whether it goes on without an earlier event of the same device, which has that id."""
        ...

    async def head(self) -> int:
        """The position of the last event in the stream, 0 when it is empty."""
        ...

    async def identity(self) -> StreamIdentity:
        """Name and creation time of the stream."""
        ...

    def ahead(self) -> AbstractContextManager[Callable[[], None]]:
        """While a batch is begun or ended, nothing is decoded: see `projections.precedence`."""
        ...
