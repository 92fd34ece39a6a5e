"""A subscription of the library: one pull loop in the background, read from any one thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING

from eventsourcing.persistence import InterfaceError, Notification, Subscription

from adapters.eventsourcing.errors import library_errors
from adapters.eventsourcing.wire import notification_of
from adapters.jetstream.raw import RawMessage
from domain.errors import Unavailable

if TYPE_CHECKING:
    from adapters.eventsourcing.recorders import JetStreamApplicationRecorder

# How often a subscription that waits looks whether the server is still there.
LOOK_SECONDS = 1.0


class JetStreamSubscription(Subscription["JetStreamApplicationRecorder"]):
    """Notifications in the order of positions, without gaps, until it is stopped.

    Another thread may stop it while one waits for the next notification. While nothing happens it
    waits; an outage that lasts longer than the factory's time is an `OperationalError`.
    """

    def __init__(
        self,
        recorder: JetStreamApplicationRecorder,
        gt: int | None = None,
        topics: Sequence[str] = (),
    ) -> None:
        super().__init__(recorder, gt=gt, topics=topics)
        self._messages = recorder.log.follow(gt or 0, topics)
        self._stepping = asyncio.Lock()
        self._batch: list[RawMessage] = []
        self._taken = 0
        # Guards the two below: after `stop` nothing is asked for any more.
        self._stopping = threading.Lock()
        self._asked: Future[list[RawMessage]] | None = None

    def __next__(self) -> Notification:
        if self._taken == len(self._batch):
            self._batch, self._taken = self._next_batch(), 0
        if self._has_been_stopped:
            raise StopIteration
        raw = self._batch[self._taken]
        self._taken += 1
        with library_errors():
            return notification_of(raw)

    def stop(self) -> None:
        """Stop the iteration; a second time does nothing."""
        with self._stopping:
            if self._has_been_stopped:
                return
            super().stop()
        if self._asked is not None:
            self._asked.cancel()
        try:
            with library_errors():
                self._recorder.background.call(self._close())
        except InterfaceError:  # the factory was closed first, and all that ran for it was ended
            return

    def _next_batch(self) -> list[RawMessage]:
        with self._stopping:
            if self._has_been_stopped:
                raise StopIteration
            if self._recorder.background.closed:
                raise StopIteration
            self._asked = asked = self._recorder.background.start(self._step())
        try:
            with library_errors():
                return self._awaited(asked)
        except CancelledError:
            raise StopIteration from None

    def _awaited(self, asked: Future[list[RawMessage]]) -> list[RawMessage]:
        background = self._recorder.background
        away_since: float | None = None
        while True:
            try:
                return asked.result(LOOK_SECONDS)
            except TimeoutError as error:
                if asked.done():
                    raise  # the work's own
                if background.nc.is_connected:
                    away_since = None
                    continue
                now = time.monotonic()
                away_since = now if away_since is None else away_since
                if now - away_since > background.timeout:
                    asked.cancel()
                    raise Unavailable(
                        "NATS", f"no connection for {background.timeout:g} s"
                    ) from error

    async def _step(self) -> list[RawMessage]:
        async with self._stepping:
            return await anext(self._messages)

    async def _close(self) -> None:
        # A step that was cancelled ends first: a generator can't be closed while it runs.
        async with self._stepping:
            await self._messages.aclose()
