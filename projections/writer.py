"""Applies batches of events to a projection: rows and checkpoint in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from domain.envelope import StoredEvent, StreamIdentity
from domain.errors import StreamGap, StreamMismatch
from projections import checkpoints
from projections.rows import Connection, Pool

Ops = TypeVar("Ops")

# Losing the last transactions in a crash of the server is no loss: the checkpoint goes with the
# rows, and the events come again.
_SESSION = "SET LOCAL synchronous_commit = off; SET LOCAL statement_timeout = '120s'"


class Projection(Protocol[Ops]):
    """A read model: its tables, and how events become rows.

    Changing what the rows hold means a higher `version`: the tables are then built anew.
    Invariant: rows depend on the events and their order alone, never on how they are cut into
    batches, nor on a clock.
    """

    @property
    def name(self) -> str:
        """Names its checkpoint."""
        ...

    @property
    def version(self) -> int:
        """1, 2, …"""
        ...

    @property
    def tables(self) -> tuple[str, ...]:
        """Its tables in the schema, which nobody else writes to."""
        ...

    @property
    def ddl(self) -> str:
        """Makes the tables and their indexes."""
        ...

    def fold(self, batch: Sequence[StoredEvent]) -> Ops:
        """What a batch means for the rows. Pure."""
        ...

    async def write(self, connection: Connection, ops: Ops) -> None:
        """Bring that into the tables, inside the caller's transaction."""
        ...


class Rewound(Exception):
    """The projection's checkpoint went back, or its tables are gone: begin again from it."""


class ProjectionWriter:
    """Writes one projection, batch by batch, from where its checkpoint stands.

    Any number of writers may try: each batch is applied once, by one of them.
    """

    def __init__(self, pool: Pool, projection: Projection[Any]) -> None:
        self.projection = projection
        self._pool = pool
        self._identity: StreamIdentity | None = None
        self._position = 0
        self._moved = asyncio.Condition()

    @property
    def position(self) -> int:
        """All events up to this position are in the rows."""
        return self._position

    async def wait(self, position: int) -> None:
        """Return when all events up to `position` are in the rows, as far as this writer knows."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._position >= position)

    async def prepare(self, identity: StreamIdentity, head: Callable[[], Awaitable[int]]) -> int:
        """Make the tables where they are missing; the position to go on from.

        `head` asks for the stream's last position: after the checkpoint is known, for others move
        both meanwhile. Raises `StreamMismatch` when the checkpoint is of
        another stream or ahead of this one, `NewerProjection` when a newer program wrote it.
        """
        found = await checkpoints.ensure(self._pool, self.projection, identity)
        end = await head()
        if found.position > end:
            raise StreamMismatch(
                f"projection {self.projection.name}",
                f"its checkpoint {found.position} is ahead of the stream {identity.name}, which "
                f"ends at {end}: events that it has seen are missing; restore the stream",
            )
        self._identity = identity
        await self._move(found.position)
        return found.position

    async def apply(self, batch: Sequence[StoredEvent]) -> None:
        """Apply the events of the batch that are not applied yet.

        Raises `StreamGap` when one is missing before or within it, and `Rewound`; nothing of the
        batch is applied then.
        """
        identity = self._prepared()
        _check_contiguous(identity, batch)
        while batch and batch[-1].position > self._position:
            expected = self._position + 1
            if batch[0].position > expected:
                raise StreamGap(identity.name, expected, batch[0].position)
            batch = batch[expected - batch[0].position :]
            if await self._commit(identity, batch):
                await self._move(batch[-1].position)
                return
            await self.refresh()

    async def refresh(self) -> None:
        """Learn where the checkpoint stands. Raises `Rewound` when that is not here or further."""
        found = await checkpoints.current(self._pool, self.projection, self._prepared())
        if found is None or found.position < self._position:
            raise Rewound(self.projection.name)
        await self._move(found.position)

    async def _commit(self, identity: StreamIdentity, batch: Sequence[StoredEvent]) -> bool:
        ops = self.projection.fold(batch)
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_SESSION)
            old, new = self._position, batch[-1].position
            if not await checkpoints.advance(
                connection, self.projection, identity, old=old, new=new
            ):
                return False
            await self.projection.write(connection, ops)
        return True

    async def _move(self, position: int) -> None:
        async with self._moved:
            self._position = position
            self._moved.notify_all()

    def _prepared(self) -> StreamIdentity:
        if self._identity is None:
            raise RuntimeError("prepare the writer before using it")
        return self._identity


def _check_contiguous(identity: StreamIdentity, batch: Sequence[StoredEvent]) -> None:
    if not batch:
        return
    for expected, stored in enumerate(batch, batch[0].position):
        if stored.position != expected:
            raise StreamGap(identity.name, expected, stored.position)
