"""Runs a projection: follows the stream from its checkpoint, over outages and restarts."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import Any

import asyncpg

from domain.errors import Unavailable
from domain.ports import EventStore
from projections.outages import is_outage, reason_of
from projections.prefetch import Prefetch
from projections.rows import Pool
from projections.writer import Projection, ProjectionWriter, Rewound

log = logging.getLogger(__name__)

MOST_EVENTS = 4_000
RETRY_SECONDS = 0.5
SAY_EVERY_SECONDS = 5.0
# Without events the checkpoint is looked at this often: another worker may have moved it, or
# somebody may have dropped the tables, which are then built again.
IDLE_SECONDS = 2.0

_TABLES_GONE = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)


class ProjectionWorker:
    """One projection's worker. Several may run at once: they take turns, batch by batch."""

    def __init__(self, pool: Pool, events: EventStore, projection: Projection[Any]) -> None:
        self._pool = pool
        self._events = events
        self._writer = ProjectionWriter(pool, projection)
        self._silent_until = 0.0
        self._in_outage = False

    @property
    def name(self) -> str:
        """The projection's name."""
        return self._writer.projection.name

    @property
    def position(self) -> int:
        """All events up to this position are in the rows."""
        return self._writer.position

    async def wait(self, position: int) -> None:
        """Return when all events up to `position` are in the rows."""
        await self._writer.wait(position)

    async def run(self) -> None:
        """Follow the stream until cancelled.

        Outages of Postgres and NATS are waited out, with a line in the log every few seconds.
        Everything else is raised: `StreamMismatch`, `StreamGap`, `NewerProjection`, and errors that
        show a fault in the program or the history.
        """
        while True:
            try:
                await self._follow()
            except Rewound:
                log.warning("projection %s: its checkpoint went back; following it", self.name)
            except _TABLES_GONE:
                log.warning("projection %s: its tables are gone; building them again", self.name)
            except Exception as error:
                if not is_outage(error) or self._pool.is_closing():
                    raise
                await self._wait_out(error)

    async def _follow(self) -> None:
        position = await self._writer.prepare(await self._events.identity(), self._events.head)
        self._back()
        async with (
            aclosing(self._events.follow(position)) as feed,
            Prefetch(feed, most=MOST_EVENTS) as batches,
        ):
            while True:
                batch = await batches.next(IDLE_SECONDS)
                if batch is None:
                    await self._writer.refresh()
                else:
                    await self._writer.apply(batch)

    async def _wait_out(self, error: Exception) -> None:
        service = "NATS" if isinstance(error, Unavailable) else "Postgres"
        now = asyncio.get_running_loop().time()
        if now >= self._silent_until:
            log.warning("projection %s: waiting for %s: %s", self.name, service, reason_of(error))
            self._silent_until = now + SAY_EVERY_SECONDS
        self._in_outage = True
        await asyncio.sleep(RETRY_SECONDS)

    def _back(self) -> None:
        if self._in_outage:
            log.info("projection %s: going on from position %d", self.name, self.position)
        self._in_outage = False
        self._silent_until = 0.0
