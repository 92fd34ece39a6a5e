"""What read models leave out."""

from __future__ import annotations

from domain.events.fact import Fact


class EventSkipped(Fact, frozen=True, kw_only=True, tag="EventSkipped"):
    """Somebody decided that a read model goes on without an event that it can't take in.

    `position` and `skipped_event_id` name that event, which stays in the log as it is.
    """

    projection: str
    position: int
    skipped_event_id: str
    reason: str | None = None
