"""Which errors are an event's own fault, and bringing a batch in around the events that have one.

Invariant: events of one device come into the rows in their order, or wait for the one before.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

import asyncpg
from msgspec import Struct, field

from domain.envelope import StoredEvent
from domain.errors import (
    ConfigtrailError,
    FollowsMissing,
    PoisonEvent,
    ProjectionStopped,
    StreamGap,
    Unavailable,
)
from projections import parking
from projections.outages import is_outage
from projections.parking import DeviceKey
from projections.projection import Projection
from projections.rows import Connection
from projections.schema import BUILD, LIVE, Place
from projections.source import Delivered, EventSource, Unreadable

log = logging.getLogger(__name__)

# Of SQLSTATE: data exceptions, violated constraints, values that are too large for an index. Others
# are faults of the tables or the server.
_OF_THE_EVENT = ("22", "23", "54")
_NOT_OF_THE_EVENT = (
    StreamGap,
    Unavailable,
    PoisonEvent,
    ProjectionStopped,
    asyncpg.InterfaceError,
    MemoryError,
)

# When the events of so many devices can't be taken in, one after the other or at all, the fault is
# in the program or in what it runs on. Parking on would park the whole fleet.
MOST_IN_A_ROW = 10
MOST_PARKED = 200


def is_poison(error: Exception) -> bool:
    """Whether an error of `fold` or `write` is the fault of an event, and stays however often it
    is tried."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(_OF_THE_EVENT)
    if isinstance(error, _NOT_OF_THE_EVENT):
        # asyncpg tells values that it can't encode by an error that is an InterfaceError too.
        return isinstance(error, ValueError)
    return not is_outage(error)


def told(error: Exception) -> str:
    """The error in words that are fit to be stored: those of others may quote anything."""
    if isinstance(error, ConfigtrailError):
        return str(error)
    constraint = getattr(error, "constraint_name", None)
    return f"{type(error).__name__}: {constraint}" if constraint else type(error).__name__


class _Unread(ConfigtrailError):
    """An event that this program can't decode."""


class Brought(Struct):
    """What did not simply come in: the positions of events that are parked instead, each with its
    error, or None when it only waits for an earlier one of its device; and of those that were let
    go, since they are recorded as skipped."""

    parked: dict[int, str | None] = field(default_factory=dict)
    skipped: list[int] = field(default_factory=list)

    def tell(self, projection: str, known: Collection[int] = ()) -> None:
        """Into the log, once it is committed. `known`: of these it was told before."""
        for position in self.skipped:
            log.warning(
                "projection %s: event %d is skipped, as recorded of it or of what it follows from",
                projection,
                position,
            )
        for position, error in self.parked.items():
            if error is not None and position not in known:
                log.error(
                    "projection %s: event %d is parked: %s; further events of its device wait",
                    projection,
                    position,
                    error,
                )


class Careful:
    """Brings events in one by one where they don't come in together."""

    def __init__(self, projection: Projection[Any], source: EventSource, place: Place) -> None:
        self._projection = projection
        self._source = source
        self._place = place

    async def write(self, connection: Connection, batch: Sequence[Delivered]) -> Brought:
        """Bring the batch into the tables, inside the caller's transaction that moves the
        checkpoint.

        Raises `PoisonEvent` for a rebuild, where nothing is parked, and `ProjectionStopped` at the
        event with which too many devices would have parked events.
        """
        blocked: set[DeviceKey] = set()
        if self._place == LIVE:
            blocked = await parking.devices(connection, self._projection.name)
        return await self.bring(connection, batch, blocked)

    async def bring(
        self, connection: Connection, batch: Sequence[Delivered], blocked: set[DeviceKey]
    ) -> Brought:
        """As `write`; events of `blocked` devices are held, and devices are added to it."""
        brought = Brought()
        await self._bring(connection, batch, blocked, brought)
        return brought

    async def _bring(
        self,
        connection: Connection,
        batch: Sequence[Delivered],
        blocked: set[DeviceKey],
        brought: Brought,
    ) -> None:
        held = [one for one in batch if parking.key_of(one) in blocked]
        free = [one for one in batch if parking.key_of(one) not in blocked]
        if self._place == LIVE:
            await parking.hold(connection, self._projection.name, held)
        brought.parked |= {one.position: None for one in held}
        if not free:
            return
        error = await self._try(connection, free)
        if error is None:
            return
        if len(free) > 1:
            half = len(free) // 2
            await self._bring(connection, free[:half], blocked, brought)
            await self._bring(connection, free[half:], blocked, brought)
            return
        (event,) = free
        if await self._is_skipped(event, error):
            brought.skipped.append(event.position)
            return
        why = told(error)
        if self._place == BUILD:
            raise PoisonEvent(self._projection.name, event.position, why)
        blocked.add(parking.key_of(event))
        brought.parked[event.position] = why
        if self._place == LIVE and await parking.park(
            connection, self._projection.name, event, why
        ):
            await self._check_single(connection, event, why)

    async def _is_skipped(self, event: Delivered, error: Exception) -> bool:
        """Whether the event is recorded as skipped, or it follows from one that is."""
        name = self._projection.name
        if await self._source.skipped(name, event):
            return True
        return isinstance(error, FollowsMissing) and await self._source.skipped_before(
            name, event, error.event_id
        )

    async def _check_single(self, connection: Connection, event: Delivered, error: str) -> None:
        """Raises `ProjectionStopped` when it is no single event's fault that this was parked."""
        name = self._projection.name
        found = await parking.parked_devices(connection, name, event.position)
        in_a_row = found.in_a_row >= MOST_IN_A_ROW
        if in_a_row or found.parked >= MOST_PARKED:
            devices = found.in_a_row if in_a_row else found.parked
            raise ProjectionStopped(name, event.position, devices, error, in_a_row=in_a_row)

    async def _try(self, connection: Connection, events: Sequence[Delivered]) -> Exception | None:
        """Bring all of them in; else nothing of them, and why."""
        readable = [one for one in events if isinstance(one, StoredEvent)]
        if len(readable) < len(events):
            return next(_Unread(one.reason) for one in events if isinstance(one, Unreadable))
        try:
            ops = self._projection.fold(readable)
            async with connection.transaction():
                await self._projection.write(connection, ops)
        except Exception as error:
            if not is_poison(error):
                raise
            return error
        return None
