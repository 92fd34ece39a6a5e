"""Why a content is not there: the device's own history says so, or nothing does."""

from __future__ import annotations

from contextlib import aclosing

from domain.envelope import Selection, StoredEvent
from domain.errors import ContentGone
from domain.events import ContentExpired, ContentShredded
from domain.ports import EventStore

_TYPES = (ContentExpired.__name__, ContentShredded.__name__)


class Explanations:
    """`adapters.jetstream.content_store.Explains`, from the log."""

    def __init__(self, events: EventStore) -> None:
        self._events = events

    async def __call__(self, tenant_id: str, device_id: str, sequence: int) -> ContentGone | None:
        """See `Explains`. Raises `Unavailable`."""
        where = Selection(tenant_id=tenant_id, device_id=device_id, types=_TYPES)
        async with aclosing(self._events.read(where=where)) as batches:
            async for batch in batches:
                for stored in batch:
                    gone = explained(stored, sequence)
                    if gone is not None:
                        return gone
        return None


def explained(stored: StoredEvent, sequence: int) -> ContentGone | None:
    """What an event of the same device says of a content that is not there, if anything."""
    match stored.event:
        case ContentExpired() as event:
            if all(one.content.sequence != sequence for one in event.contents):
                return None
            how = "expired"
        case ContentShredded() as event:
            if sequence > event.content_until:
                return None
            how = "shredded"
        case _:
            return None
    return ContentGone(sequence, how, stored.occurred_at, stored.position, event.reason)
