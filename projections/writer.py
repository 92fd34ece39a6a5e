"""Applies batches of events to a projection: rows and checkpoint in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg

from domain.envelope import StoredEvent, StreamIdentity
from domain.errors import ProjectionStopped, RowsHeld, StreamGap
from projections import checkpoints, parking
from projections.belonging import check_belongs
from projections.checkpoints import Checkpoint, Moved
from projections.holding import holders
from projections.lease import marked
from projections.poison import Careful, is_poison
from projections.projection import Projection
from projections.rows import Connection, Pool
from projections.schema import LIVE, Place
from projections.source import Delivered, EventSource
from projections.transactions import begun

# Losing the last transactions in a crash of the server is no loss: the checkpoint goes with the
# rows, and the events come again. A writer that sleeps in mid-transaction must not hold up others.
# Nor must one who locks the tables hold up, unnamed, a worker that has the lease.
LOCK_SECONDS = 10.0
_SESSION = """
    SET LOCAL synchronous_commit = off;
    SET LOCAL statement_timeout = '120s';
    SET LOCAL lock_timeout = '{lock_seconds}s';
    SET LOCAL idle_in_transaction_session_timeout = '20s';
"""


def lease_name(projection: Projection[Any], place: Place = LIVE) -> str:
    """The name of the lease that is held by who writes the projection's rows at that place."""
    return f"{'projection' if place == LIVE else 'rebuild'} {projection.name}"


class Rewound(Exception):
    """The projection's checkpoint went back, or its tables are gone: begin again from it."""


class _NeedsCare(Exception):
    """The batch can't be brought in as one."""


class ProjectionWriter:
    """Writes one projection, batch by batch, from where its checkpoint stands.

    Any number of writers may try: each batch is applied once, by one of them. `place`: the live
    tables or those of a rebuild.
    """

    def __init__(
        self,
        pool: Pool,
        projection: Projection[Any],
        source: EventSource,
        place: Place = LIVE,
    ) -> None:
        self.projection = projection
        self._pool = pool
        self._source = source
        self._place = place
        self._careful = Careful(projection, source, place)
        self._identity: StreamIdentity | None = None
        self._position = 0
        self._prefolded: tuple[Sequence[Delivered], Any] | None = None
        self._moved = asyncio.Condition()

    @property
    def position(self) -> int:
        """All events up to this position are in the rows."""
        return self._position

    async def wait(self, position: int) -> None:
        """Return when all events up to `position` are in the rows, as far as this writer knows."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._position >= position)

    async def prepare(self, identity: StreamIdentity) -> Checkpoint:
        """Make the live tables where they are missing; the checkpoint to go on from, which is one
        of an older version when a rebuild has to come first.

        Raises `StreamMismatch` when it does not belong to the stream, `NewerProjection` when a
        newer program wrote it, and `Rewound` when there is no rebuild.
        """
        if self._place == LIVE:
            found = await checkpoints.ensure(self._pool, self.projection, identity)
        else:
            there = await checkpoints.current(self._pool, self.projection, identity, self._place)
            if there is None:
                raise Rewound(self.projection.name)
            found = there
        await check_belongs(self._pool, self._source, found, identity, self._place)
        if found.version == self.projection.version:
            self._identity = identity
            await self._move(found.position)
        return found

    async def observe(self, found: Checkpoint) -> None:
        """Take notice of where another writer is."""
        await self._move(found.position)

    async def apply(self, batch: Sequence[Delivered]) -> None:
        """Apply the events of the batch that are not applied yet.

        Raises `StreamGap` when one is missing before or within it, `Rewound`, and `PoisonEvent` for
        a rebuild; nothing of the batch is applied then. Raises `ProjectionStopped` when all before
        the event that it names is applied, so that what was parked on the way is there to be seen,
        retried and skipped. Raises `RowsHeld` when others lock the tables for long.
        """
        identity = self._prepared()
        _check_contiguous(identity, batch)
        while batch and batch[-1].position > self._position:
            expected = self._position + 1
            if batch[0].position > expected:
                raise StreamGap(identity.name, expected, batch[0].position)
            if batch[0].position < expected:
                batch = batch[expected - batch[0].position :]
            try:
                committed = await self._commit(identity, batch)
            except asyncpg.LockNotAvailableError as error:
                by = await holders(self._pool, self.projection, self._place)
                if by is None:  # a row of the ledger, for a moment: a verification, a switch
                    raise
                raise RowsHeld(self.projection.name, LOCK_SECONDS, by) from error
            except ProjectionStopped as stopped:
                if stopped.position == expected:
                    raise
                # Then the rest is tried again: it may have changed, or be another worker's by now.
                await self.apply(batch[: stopped.position - expected])
                continue
            if committed:
                await self._move(batch[-1].position)
                return
            await self.refresh()

    def prefold(self, batch: Sequence[Delivered]) -> None:
        """Fold a batch that will be applied soon. What can't be folded, or is applied in other
        pieces, is folded then."""
        try:
            self._prefolded = (batch, self._folded(batch))
        except Exception as error:
            if not is_poison(error):
                raise
            self._prefolded = None  # it is met again where the batch is applied

    def _folded(self, batch: Sequence[Delivered]) -> Any:
        if self._prefolded is not None and self._prefolded[0] is batch:
            ops, self._prefolded = self._prefolded[1], None
            return ops
        readable = [one for one in batch if isinstance(one, StoredEvent)]
        if len(readable) < len(batch):
            raise _NeedsCare
        return self.projection.fold(readable)

    async def refresh(self) -> None:
        """Learn where the checkpoint stands. Raises `Rewound` when that is not here or further."""
        found = await checkpoints.current(
            self._pool, self.projection, self._prepared(), self._place
        )
        if found is None or found.position < self._position:
            raise Rewound(self.projection.name)
        await self._move(found.position)

    async def _commit(self, identity: StreamIdentity, batch: Sequence[Delivered]) -> bool:
        try:
            ops = self._folded(batch)
            with self._source.ahead() as still_ahead:
                async with (
                    self._pool.acquire() as connection,
                    begun(connection, f"BEGIN; {self._settings}"),
                ):
                    moved = await self._advance(connection, identity, batch)
                    if moved is None:
                        return False
                    if moved.parked and await self._touches_parked(connection, batch):
                        raise _NeedsCare
                    await self.projection.write(connection, ops)
                    still_ahead()
            return True
        except _NeedsCare:
            pass
        except Exception as error:
            if not is_poison(error):
                raise
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(self._settings)
            if await self._advance(connection, identity, batch) is None:
                return False
            brought = await self._careful.write(connection, batch)
        brought.tell(self.projection.name)
        return True

    @property
    def _settings(self) -> str:
        mark = marked(lease_name(self.projection, self._place))
        session = _SESSION.format(lock_seconds=LOCK_SECONDS)
        return f"{session} SET LOCAL search_path = {self._place.schema}; {mark}"

    async def _advance(
        self, connection: Connection, identity: StreamIdentity, batch: Sequence[Delivered]
    ) -> Moved | None:
        return await checkpoints.advance(
            connection,
            self.projection,
            identity,
            self._place,
            old=self._position,
            last=batch[-1],
        )

    async def _touches_parked(self, connection: Connection, batch: Sequence[Delivered]) -> bool:
        blocked = await parking.devices(connection, self.projection.name)
        return bool(blocked) and any(parking.key_of(one) in blocked for one in batch)

    async def _move(self, position: int) -> None:
        async with self._moved:
            self._position = position
            self._moved.notify_all()

    def _prepared(self) -> StreamIdentity:
        if self._identity is None:
            raise RuntimeError("begin with a checkpoint before using the writer")
        return self._identity


def _check_contiguous(identity: StreamIdentity, batch: Sequence[Delivered]) -> None:
    if not batch:
        return
    for expected, stored in enumerate(batch, batch[0].position):
        if stored.position != expected:
            raise StreamGap(identity.name, expected, stored.position)
