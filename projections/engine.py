"""Runs a projection: follows the stream from its checkpoint, over outages and restarts."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import Any

import asyncpg

from domain.errors import NewerProjection, ProjectionStopped, RowsHeld
from projections import checkpoints, retrying, stops
from projections.holding import named
from projections.lease import Lease
from projections.outages import is_outage
from projections.patience import Patience
from projections.poison import told
from projections.prefetch import Prefetch
from projections.projection import Projection
from projections.rows import Pool
from projections.schema import LIVE
from projections.source import EventSource
from projections.writer import LOCK_SECONDS, ProjectionWriter, Rewound, lease_name

log = logging.getLogger(__name__)

MOST_EVENTS = 16_000
# Without events the checkpoint is looked at this often: another worker may have moved it, or
# somebody may have dropped the tables, which are then built again.
IDLE_SECONDS = 2.0
STAND_BY_SECONDS = 0.5
# In a steady flow of events a transaction for each costs far more than their rows. So after a small
# batch the next events are gathered for as long as three such transactions take, within a bound
# that nobody who waits for rows notices.
SMALL_EVENTS = 256
GATHER_SHARE = 3.0
MOST_GATHER_SECONDS = 0.05
# A stopped one tries again this often; meanwhile another program may have what it lacks.
STOPPED_SECONDS = 5.0

_TABLES_GONE = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)


class ProjectionWorker:
    """One projection's worker. Of several one is active, and the others stand by."""

    def __init__(self, pool: Pool, source: EventSource, projection: Projection[Any]) -> None:
        self.projection = projection
        self._pool = pool
        self._source = source
        self._writer = ProjectionWriter(pool, projection, source)
        self._lease = Lease(pool, lease_name(projection))
        self._patience = Patience(f"projection {projection.name}", pool)
        self._told: str | None = None
        self._is_well = False
        self._was_stopped = False

    @property
    def name(self) -> str:
        """The projection's name."""
        return self.projection.name

    @property
    def position(self) -> int:
        """All events up to this position are in the rows."""
        return self._writer.position

    async def wait(self, position: int) -> None:
        """Return when all events up to `position` are in the rows."""
        await self._writer.wait(position)

    async def run(self) -> None:
        """Follow the stream, or stand by, until cancelled.

        Outages of Postgres and NATS are waited out, with a line in the log every few seconds; so is
        a time in which the live tables are of another version, or are missing. A projection that
        can take in next to nothing is stopped and tried again from time to time. Everything else is
        raised: `StreamMismatch`, `StreamGap`, and errors that show a fault in the program or the
        history. `projections.stops` has the reason in both cases.
        """
        while True:
            try:
                if await self._is_other_version():
                    await asyncio.sleep(STAND_BY_SECONDS)
                elif not await self._lease.lead(self._follow):
                    await self._stand_by()
            except Rewound:
                await self._patience.pause("its checkpoint went back; following it")
            except _TABLES_GONE:
                await self._patience.pause("its tables are gone; building them again")
            except ProjectionStopped as error:
                self._tell(str(error))
                self._was_stopped = True
                await self._stopped(error)
                await asyncio.sleep(STOPPED_SECONDS)
            except NewerProjection:
                await asyncio.sleep(STAND_BY_SECONDS)
            except Exception as error:
                met = await self._named(error)
                borne = self._patience.bears(met)
                if not borne or isinstance(met, RowsHeld):
                    await self._stopped(met)
                if not borne:
                    raise
                await self._patience.wait_out(met)

    async def _named(self, error: Exception) -> Exception:
        """The error, or who locks what it waited for; an outage if it can't be asked for that."""
        try:
            return await named(self._pool, self.projection, LIVE, LOCK_SECONDS, error)
        except Exception as hindrance:
            if not is_outage(hindrance):
                raise
            return hindrance

    async def _stopped(self, error: Exception) -> None:
        """Say for all programs why nothing comes in."""
        self._is_well = False
        try:
            await stops.tell(self._pool, self.projection, self.position, told(error))
        except Exception as hindrance:
            if not is_outage(hindrance) and not isinstance(hindrance, _TABLES_GONE):
                raise
            log.info("projection %s: the reason could not be stored", self.name)

    async def _is_other_version(self) -> bool:
        """Whether the live tables are of another version than this program's."""
        try:
            found = await checkpoints.load(self._pool, self.projection, LIVE)
        except _TABLES_GONE:
            return False
        if found is None or found.version == self.projection.version:
            return False
        self._tell(
            f"projection {self.name}: its tables are of version {found.version}, and this program "
            f"has version {self.projection.version}; "
            + (
                "they serve until the new ones are built"
                if found.version < self.projection.version
                else "it stands by, and should be replaced"
            )
        )
        return True

    async def _stand_by(self) -> None:
        """Wait a moment, and take notice of where the active one is."""
        await asyncio.sleep(STAND_BY_SECONDS)
        found = await checkpoints.load(self._pool, self.projection, LIVE)
        if found is not None:
            await self._writer.observe(found)

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        identity = await self._source.identity()
        found = await self._writer.prepare(identity)
        if found.version != self.projection.version:
            return
        if not self._was_stopped:  # else the event that stopped it is tried first
            await self._retry_parked()
        async with (
            aclosing(self._source.follow(self.position)) as feed,
            Prefetch(feed, most=MOST_EVENTS, prepare=self._writer.prefold) as batches,
        ):
            while True:
                batch = await batches.next(IDLE_SECONDS)
                if batch is None:
                    await self._writer.refresh()
                    if not self._is_well:
                        await stops.over(self._pool, self.projection)
                        self._is_well = True
                    await self._goes_on()
                else:
                    began = loop.time()
                    await self._writer.apply(batch)
                    await self._goes_on()
                    if len(batch) < SMALL_EVENTS:
                        taken = loop.time() - began
                        await asyncio.sleep(min(GATHER_SHARE * taken, MOST_GATHER_SECONDS))

    async def _goes_on(self) -> None:
        """What hindered it, if anything did, is over; the parked events may have lacked it too."""
        self._patience.over(self.position)
        self._told = None
        if self._was_stopped:
            self._was_stopped = False
            await self._retry_parked()

    async def _retry_parked(self) -> None:
        await retrying.retry_all(self._pool, self._source, self.projection)

    def _tell(self, what: str) -> None:
        """Into the log, once."""
        if self._told != what:
            log.warning("%s", what)
            self._told = what
