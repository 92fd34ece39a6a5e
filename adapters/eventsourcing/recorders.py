"""The library's recorders on JetStream: a synchronous face of `Log`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    Notification,
    StoredEvent,
    Subscription,
)

from adapters.eventsourcing.background import Background
from adapters.eventsourcing.errors import library_errors
from adapters.eventsourcing.log import Log
from adapters.eventsourcing.subscription import JetStreamSubscription
from adapters.eventsourcing.wire import notification_of


class JetStreamAggregateRecorder(AggregateRecorder):
    """Events of aggregates, or their snapshots, in a stream of their own."""

    def __init__(self, background: Background, log: Log) -> None:
        self.background = background
        self.log = log

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Append all or none. At most 1,000 at once."""
        self._insert(stored_events)
        return None

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """An originator's events in the order of versions."""
        with library_errors():
            return self.background.call(
                self.log.select(originator_id, gt=gt, lte=lte, desc=desc, limit=limit)
            )

    def _insert(self, stored_events: Sequence[StoredEvent]) -> list[int]:
        if not stored_events:
            return []
        with library_errors():
            return self.background.call(self.log.insert(stored_events))


class JetStreamApplicationRecorder(JetStreamAggregateRecorder, ApplicationRecorder):
    """Events of an application: notification ids are positions in the stream, without gaps."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Append all or none, and return their notification ids. At most 1,000 at once."""
        return self._insert(stored_events)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Notifications from `start` (or after it) to `stop`."""
        first = 1 if start is None else max(1, start + (not inclusive_of_start))
        with library_errors():
            found = self.background.call(self.log.page(first, limit, stop, topics))
            return [notification_of(raw) for raw in found]

    def max_notification_id(self) -> int | None:
        """The position of the last event, None when there is none."""
        with library_errors():
            return self.background.call(self.log.head()) or None

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        """Notifications after `gt`, and then on as events come, over outages."""
        with library_errors():
            self.background.check_open()
        return JetStreamSubscription(self, gt=gt, topics=topics)
