"""Which stored texts events refer to."""

from __future__ import annotations

from collections.abc import Iterator

from domain.envelope import StoredEvent
from domain.events import ContentKind, ContentRef, DiffGenerated, SnapshotCreated


def contents_of(stored: StoredEvent) -> Iterator[tuple[ContentKind, ContentRef]]:
    """The contents that an event refers to as its own."""
    match stored.event:
        case SnapshotCreated() as event:
            yield "snapshot", event.content
        case DiffGenerated() as event:
            yield "diff", event.content
            if event.changes_content is not None:
                yield "changes", event.changes_content
        case _:
            return
