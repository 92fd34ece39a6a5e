"""Builds new tables of a projection beside its live ones, and switches readers over to them.

Any number of programs may look for rebuilds that nobody works on; one of them works, and when it
dies another goes on from where the new tables stand.

A deployment that changes several projections changes the places of all of them or of none: until
the last one is ready the program of before serves, and afterwards this one does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import asyncpg

from domain.envelope import StreamIdentity
from domain.errors import NewerProjection, PoisonEvent, StreamMismatch
from projections import checkpoints, rebuilds
from projections.belonging import strays
from projections.holding import holders, named, readers
from projections.lease import Lease, held_while_marked
from projections.patience import Patience
from projections.prefetch import Prefetch
from projections.projection import Projection
from projections.rebuilds import Rebuild
from projections.rows import Pool
from projections.schema import BUILD, LIVE
from projections.source import EventSource
from projections.waiting import MOST_EVENTS, NEAR, behind
from projections.writer import LOCK_SECONDS, ProjectionWriter, Rewound, lease_name

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
IDLE_SECONDS = 0.5
# When the tables change places, what is missing is written while the live ones are held, which
# takes some milliseconds.
HELD_SECONDS = 5.0
# So long a batch may take to be written meanwhile.
SWITCH_SECONDS = 60.0

_TABLES_GONE = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)


class ProjectionBuilder:
    """The rebuilds of one projection; `beside` are all of the program, whose new versions take
    their places together."""

    def __init__(
        self,
        pool: Pool,
        source: EventSource,
        projection: Projection[Any],
        beside: Sequence[Projection[Any]] = (),
    ) -> None:
        self._pool = pool
        self._source = source
        self._projection = projection
        self._beside = beside
        self._told = ""
        self._lease = Lease(pool, lease_name(projection, BUILD))
        self._patience = Patience(f"rebuild of {projection.name}", pool)

    @property
    def name(self) -> str:
        """The projection's name."""
        return self._projection.name

    async def run(self) -> None:
        """Work on rebuilds that nobody works on, until cancelled; begin one when the live tables
        are of an older version. One that stopped for an event is tried once again at start."""
        retry = True
        while True:
            try:
                if await self._is_wanted(retry=retry):
                    await self.build()
                retry = False
            except (PoisonEvent, NewerProjection, StreamMismatch) as error:
                log.error("rebuild of %s: %s", self.name, error)
                retry = False
            except _TABLES_GONE:
                log.warning("rebuild of %s: its tables are gone", self.name)
            except Exception as error:
                if not self._patience.bears(error):
                    raise
                await self._patience.wait_out(error)
            await asyncio.sleep(LOOK_SECONDS)

    async def build(self) -> None:
        """Work on the rebuild, if there is one and nobody else does, until it has ended.

        Raises `PoisonEvent` when an event can't be taken in: the rebuild then stays as it is, with
        that error, until it is begun again or cancelled. `RowsHeld` when others lock the ledgers.
        """
        try:
            await self._lease.lead(self._build)
        except asyncpg.LockNotAvailableError as error:
            raise await named(self._pool, self._projection, BUILD, LOCK_SECONDS, error) from error

    async def _is_wanted(self, *, retry: bool) -> bool:
        mine = self._projection.version
        try:
            found = await rebuilds.find(self._pool, self._projection)
            live = await checkpoints.load(self._pool, self._projection, LIVE)
        except _TABLES_GONE:
            return False
        if found is not None and found.version >= mine:
            if found.version > mine or found.error is None or not retry:
                return found.version == mine and found.error is None
        elif live is None or live.version >= mine:
            return False
        await rebuilds.begin(self._pool, self._projection, await self._source.identity())
        return True

    async def _build(self) -> None:
        found = await rebuilds.find(self._pool, self._projection)
        if found is None or found.error is not None or found.version != self._projection.version:
            return
        identity = await self._source.identity()
        log.info(
            "rebuild %d of projection %s: from position %d", found.build, self.name, found.position
        )
        try:
            await self._fill(found, identity)
        except Rewound:
            log.warning("rebuild %d of projection %s: cancelled", found.build, self.name)
        except PoisonEvent as error:
            await rebuilds.fail(self._pool, self._projection, error.position, str(error))
            raise
        except (NewerProjection, StreamMismatch):
            await rebuilds.cancel(self._pool, self._projection, found.build)
            raise

    async def _fill(self, found: Rebuild, identity: StreamIdentity) -> None:
        writer = ProjectionWriter(self._pool, self._projection, self._source, BUILD)
        try:
            await writer.prepare(identity)
        except Rewound:
            await rebuilds.cancel(self._pool, self._projection, found.build)
            raise
        self._patience.over(writer.position)
        goal: int | None = None
        async with (
            aclosing(self._source.follow(writer.position)) as feed,
            Prefetch(feed, most=MOST_EVENTS, prepare=writer.prefold) as batches,
        ):
            while True:
                batch = await batches.next(IDLE_SECONDS)
                if batch is not None:
                    await writer.apply(batch)
                if batch is None or len(batch) < MOST_EVENTS // 2:
                    await writer.refresh()
                    head = await self._source.head()
                    if head - writer.position > NEAR:
                        continue
                    # What others stop for up to here holds this one, noted already or not yet.
                    goal = head if goal is None else goal
                    if await self._waits(goal, head):
                        continue
                    if await self._switch(writer, batches, found):
                        return

    async def _waits(self, goal: int, head: int) -> bool:
        """Whether other new versions of the same deployment are not as far yet."""
        others = await behind(self._pool, self._projection, self._beside, goal, head)
        if others:
            self._tell(", ".join(others))
        return bool(others)

    def _tell(self, waits_for: str) -> None:
        """Into the log, once, and not at all for what is over in a moment."""
        if waits_for and waits_for != self._told:
            log.info("rebuild of projection %s: ready, and waits for %s", self.name, waits_for)
        self._told = waits_for

    async def _switch(self, writer: ProjectionWriter, batches: Prefetch, begun: Rebuild) -> bool:
        """Give the new tables the place of the live ones; False when they have to wait.

        Where live ones of another stream, or of another past of it, stand means nothing here, and
        nobody writes them: then it is the end of this stream that must be reached.
        """
        stray = self.name in await strays(self._pool, self._source)
        end = await self._source.head()
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(
                    held_while_marked(lease_name(self._projection, BUILD), SWITCH_SECONDS)
                )
                # Holds the live projection's writer, so the new tables get as far as it is.
                live = await checkpoints.load(connection, self._projection, LIVE, lock=True)
                goal = end if stray or live is None else live.position
                while writer.position < goal:
                    batch = await batches.next(HELD_SECONDS)
                    if batch is None:
                        return False
                    await writer.apply(batch)
                found = await checkpoints.load(connection, self._projection, BUILD, lock=True)
                if found is None or found.build != begun.build:
                    raise Rewound(self.name)
                if live is not None and live.version > self._projection.version:
                    raise NewerProjection(self.name, live.version, self._projection.version)
                await rebuilds.take_place(connection, self._projection, live)
        except asyncpg.LockNotAvailableError:
            by = await readers(self._pool, self._projection)
            by = by or await holders(self._pool, self._projection, BUILD)
            self._tell("" if by is None else f"others: {by}")
            return False
        log.info("rebuild %d of projection %s: took the live one's place", begun.build, self.name)
        return True
