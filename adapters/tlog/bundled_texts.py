"""The texts in a bundle: as they are, with the salts that open what their events commit to.

Invariant: that a text is shown is recorded before it is in the file.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

from adapters.jetstream.verbatim import Reader
from adapters.tlog.archive import Archive
from adapters.tlog.cutting import Cut
from adapters.tlog.stretch import positions
from domain.contents import contents_of
from domain.errors import (
    ContentCorrupt,
    ContentMissing,
    KeyDestroyed,
    KeyUnavailable,
    MasterKeyUnknown,
)
from domain.events import DiffGenerated, DomainEvent, SnapshotCreated
from projections.source import Unreadable

if TYPE_CHECKING:
    from adapters.composition import System

logger = logging.getLogger(__name__)

# Records that a text is about to be shown: of a device, of a snapshot, and of a difference the
# snapshot before it.
Shown = Callable[[str, str, str | None], Awaitable[None]]


async def add_texts(
    system: System, archive: Archive, tenant_id: str, cut: Cut, shown: Shown
) -> tuple[int, int, int]:
    """Add the texts of the stretch: how many there are, are gone, and are not what was recorded.
    Raises what `shown` raises: then the text is not added."""
    found = missing = altered = 0
    reader = Reader()
    feed = system.log.events
    async with aclosing(positions(feed, cut.first, cut.last)) as events:
        async for raw in events:
            one = reader.read(raw)
            if isinstance(one, Unreadable) or one.tenant_id != tenant_id:
                continue
            for kind, ref in contents_of(one):
                if kind == "changes":
                    continue  # words for people, worked out from the two texts
                try:
                    opened = await system.content.opening(tenant_id, one.device_id, kind, ref)
                except (ContentMissing, KeyDestroyed):
                    missing += 1
                    continue
                except MasterKeyUnknown:
                    raise
                except (ContentCorrupt, KeyUnavailable) as error:
                    logger.error("the text of event %d is left out: %s", one.position, error)
                    altered += 1
                    continue
                salt, text = opened
                await shown(one.device_id, *_whose(one.event))
                archive.add(f"content/{one.position}.txt", text)
                archive.add(f"content/{one.position}.salt", salt.hex().encode() + b"\n")
                found += 1
    return found, missing, altered


def _whose(event: DomainEvent) -> tuple[str, str | None]:
    match event:
        case SnapshotCreated():
            return event.snapshot_id, None
        case DiffGenerated():
            return event.to_snapshot_id, event.from_snapshot_id
        case _:
            raise TypeError(f"{type(event).__name__} has no text")
