"""What the rules need from the outside, as protocols. Adapters implement them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from domain.envelope import Head, Mark, NewEvent, Selection, StoredEvent, StreamIdentity
from domain.errors import ConfigtrailError
from domain.events import ContentKind, ContentRef

__all__ = ["ALL", "MAX_TOGETHER", "REFERRED_WITHIN", "ContentKind", "ContentStore", "EventStore"]

ALL = Selection()
# How many events one append can hold.
MAX_TOGETHER = 1_000
# Whoever stores a text appends the event that refers to it within this time, or stores it anew.
REFERRED_WITHIN = timedelta(hours=1)


class EventStore(Protocol):
    """The log of events: one optimistic branch a device, one total order over all.

    The generators hold resources of the server: close them (`contextlib.aclosing`).
    """

    async def append(self, event: NewEvent, after: Head) -> StoredEvent:
        """Append to the device's branch, if it still ends at `after`.

        Returns when the event is durable. Appending again what landed already (a lost
        acknowledgement) returns the stored event. Raises `AppendConflict` with the newer events
        when somebody else appended first, and `Unavailable` when the outcome can't be learnt now.
        """
        ...

    async def append_together(
        self, events: Sequence[NewEvent], after: Head
    ) -> tuple[StoredEvent, ...]:
        """As `append`, for facts of one device that must stand or fall together: all are appended,
        one after the other without any between them, or none.

        Raises `BatchTooLarge` for more than 1,000, besides what `append` raises.
        """
        ...

    def read_branch(
        self, tenant_id: str, device_id: str, after: Head | None = None
    ) -> AsyncGenerator[StoredEvent, None]:
        """The device's events after `after`, in order, up to its end; versions are contiguous."""
        ...

    def read(
        self,
        after: int = 0,
        until: int | None = None,
        where: Selection = ALL,
        *,
        unread: Callable[[ConfigtrailError], None] | None = None,
    ) -> AsyncGenerator[list[StoredEvent], None]:
        """All (selected) events after a position, in batches, up to `until` (default: the end as
        of now). Raises `StreamGap` when a position is missing.

        An event that can't be read is raised, or, with `unread`, told to that and passed over.
        """
        ...

    def follow(
        self, after: int = 0, where: Selection = ALL
    ) -> AsyncGenerator[list[StoredEvent], None]:
        """As `read`, and then on for ever as events come. Batches are never empty."""
        ...

    async def position_at(self, moment: datetime) -> int:
        """The position after which events are that were stored at or after `moment`."""
        ...

    async def mark_at(self, position: int) -> Mark | None:
        """Which event is at a position, None when there is none. It need not be readable."""
        ...

    async def head(self) -> int:
        """The position of the last event in the stream, 0 when it is empty."""
        ...

    async def identity(self) -> StreamIdentity:
        """Name and creation time of the stream."""
        ...


class ContentStore(Protocol):
    """Encrypted texts: what events refer to and never hold."""

    async def put(
        self, tenant_id: str, device_id: str, kind: ContentKind, text: bytes, era: int = 0
    ) -> ContentRef:
        """Encrypt and keep a text (up to 64 MiB). Returns when it is durable.

        `era`: how often the device's texts were erased before, which is what its key goes by.
        Raises `KeyDestroyed` when they were erased once more meanwhile.
        """
        ...

    async def get(
        self, tenant_id: str, device_id: str, kind: ContentKind, ref: ContentRef
    ) -> bytes:
        """The text, verified. Raises `ContentGone` when an event says that it is not kept any more,
        `ContentMissing`, `ContentCorrupt` or `KeyUnavailable`."""
        ...

    async def remove(self, sequence: int) -> None:
        """Remove a content for good. What is not there is removed already."""
        ...
