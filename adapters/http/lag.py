"""How far the read models are behind the stream, measured against the stream as it is now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import asyncpg
from msgspec import Struct
from nats.js.errors import NotFoundError

from adapters.jetstream.connection import outage_as_unavailable
from adapters.jetstream.streams import EVENTS
from domain.errors import StreamMismatch
from projections.checkpoints import Checkpoint, checkpoints

if TYPE_CHECKING:
    from adapters.composition import System

_NOT_MADE = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)


class Lag(Struct, frozen=True):
    """A read model at `position` while the stream's last event is `head`.

    `oldest_missing` is when the first event that it lacks was stored, None when it lacks none.
    """

    name: str
    position: int
    head: int
    oldest_missing: datetime | None
    now: datetime

    @property
    def events(self) -> int:
        """How many events it lacks."""
        return max(0, self.head - self.position)

    @property
    def seconds(self) -> float:
        """The age of the oldest event that it lacks, 0 when it lacks none."""
        if self.oldest_missing is None:
            return 0.0
        return max(0.0, (self.now - self.oldest_missing).total_seconds())


async def read_lags(system: System) -> list[Lag]:
    """Every read model's lag, by the checkpoints that the rows were committed with.

    The head is asked for after them: it is never the stale one of the two. Raises `Unavailable`,
    `StreamMismatch` when a checkpoint is another stream's, and what asyncpg raises.
    """
    try:
        found = await checkpoints(system.pool)
    except _NOT_MADE:
        found = {}
    identity = await system.events.identity()
    head = await system.events.head()
    times: dict[int, datetime] = {}
    lags = []
    for name in sorted(one.name for one in system.projections):
        checkpoint = found.get(name)
        _check(name, checkpoint, identity.created)
        position = checkpoint.position if checkpoint else 0
        if position < head and position not in times:
            times[position] = await _stored_at(system, position + 1)
        lags.append(Lag(name, position, head, times.get(position), datetime.now(UTC)))
    return lags


def _check(name: str, checkpoint: Checkpoint | None, created: datetime) -> None:
    if checkpoint is not None and checkpoint.stream_created != created:
        raise StreamMismatch(f"projection {name}", "its checkpoint belongs to another stream")


async def _stored_at(system: System, position: int) -> datetime:
    with outage_as_unavailable("asking for the age of an event"):
        try:
            raw = await system.js.get_msg(EVENTS, seq=position)
        except NotFoundError as error:
            raise StreamMismatch(EVENTS, f"position {position} is missing") from error
    assert raw.time is not None
    return raw.time
