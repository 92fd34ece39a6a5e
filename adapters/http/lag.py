"""How far the read models are behind the stream, measured against the stream as it is now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import asyncpg
from msgspec import Struct
from msgspec.structs import replace
from nats.js.errors import NotFoundError

from adapters.jetstream.connection import outage_as_unavailable
from adapters.jetstream.streams import EVENTS
from domain.errors import StreamGap, Unavailable
from projections import parking, rebuilds, stops
from projections.belonging import strays
from projections.checkpoints import Checkpoint, checkpoints
from projections.engine import ProjectionWorker
from projections.holding import holders, ledger_holders
from projections.parking import ParkedCount
from projections.rebuilds import Rebuild
from projections.schema import LIVE

if TYPE_CHECKING:
    from adapters.composition import System

# Less than who asks whether all is well waits for the answer.
LOCK_SECONDS = 2.0

_NOT_MADE = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)


class Lag(Struct, frozen=True, kw_only=True):
    """A read model at `position` while the stream's last event is `head`.

    `oldest_missing` is when the first event that it lacks was stored, None when it lacks none.
    `stopped` says why nothing comes in, whichever program tries.
    `version` is this program's, `live_version` the one of the rows, None before there are any.
    `stray` says what is wrong with rows that are not of this stream.
    """

    name: str
    position: int
    head: int
    oldest_missing: datetime | None
    now: datetime
    version: int
    live_version: int | None
    rebuild: Rebuild | None = None
    parked: int = 0
    held: int = 0
    stopped: str | None = None
    stray: str | None = None

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
    which says who locks what they are kept in, `StreamGap` when the stream has a hole, and what
    asyncpg raises.
    """
    found: dict[str, Checkpoint] = {}
    building: dict[str, Rebuild] = {}
    parked: dict[str, ParkedCount] = {}
    stopped: dict[str, str] = {}
    try:
        async with system.pool.acquire() as session, session.transaction():
            await session.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
            found = await checkpoints(session)
            building = {one.projection: one for one in await rebuilds.under_way(session)}
            parked = await parking.counts(session)
            stopped = await stops.reasons(session)
    except _NOT_MADE:
        pass
    except asyncpg.LockNotAvailableError as error:
        by = await ledger_holders(system.pool)
        if by is None:  # it has ended meanwhile
            raise
        raise Unavailable(
            "what Postgres keeps of the read models", f"it is locked: {by}"
        ) from error
    stray = await strays(system.pool, system.source)
    head = await system.events.head()
    times: dict[int, datetime] = {}
    lags: list[Lag] = []
    for worker in sorted(system.projections, key=_name):
        projection = worker.projection
        checkpoint = found.get(projection.name)
        position = checkpoint.position if checkpoint else 0
        if position < head and position not in times:
            times[position] = await _stored_at(system, position + 1)
        count = parked.get(projection.name)
        lag = Lag(
            name=projection.name,
            position=position,
            head=head,
            oldest_missing=times.get(position),
            now=datetime.now(UTC),
            version=projection.version,
            live_version=checkpoint.version if checkpoint else None,
            rebuild=building.get(projection.name),
            parked=count.parked if count else 0,
            held=count.held if count else 0,
            stopped=stopped.get(projection.name),
            stray=str(stray[projection.name]) if projection.name in stray else None,
        )
        if lag.stopped is None and lag.seconds > LOCK_SECONDS:
            # Its worker waits longer than this before it says so.
            by = await holders(system.pool, projection, LIVE)
            lag = replace(lag, stopped=by and f"the projection {lag.name} waits: {by}")
        lags.append(lag)
    return lags


def _name(worker: ProjectionWorker) -> str:
    return worker.name


async def _stored_at(system: System, position: int) -> datetime:
    with outage_as_unavailable("asking for the age of an event"):
        try:
            raw = await system.js.get_msg(EVENTS, seq=position)
        except NotFoundError as error:
            raise StreamGap(EVENTS, position, 0) from error
    assert raw.time is not None
    return raw.time


# An event that a read model lacks for longer than this makes the program not ready.
LAG_MAX_SECONDS = 30.0


def judge(lag: Lag) -> str | None:
    """Why a projection is not ready, None when it is."""
    if lag.stray is not None:
        return lag.stray
    if lag.live_version is not None and lag.live_version > lag.version:
        return (
            f"the rows of the projection {lag.name} are of version {lag.live_version}, and this "
            f"program knows version {lag.version}"
        )
    if lag.live_version is None or lag.live_version < lag.version:
        return f"version {lag.version} of the projection {lag.name} {_progress(lag)}"
    if lag.stopped is not None:
        return lag.stopped
    if lag.seconds <= LAG_MAX_SECONDS:
        return None
    return (
        f"the projection {lag.name} stands at {lag.position} of {lag.head} and lacks an event "
        f"that is {lag.seconds:.0f} s old"
    )


def _progress(lag: Lag) -> str:
    if lag.rebuild is None:
        return "is not built yet"
    if lag.rebuild.version > lag.version:
        return (
            f"is not being built: a newer program has begun to build version {lag.rebuild.version},"
            " and holds up new versions of other projections too; let that one run, or, if it was "
            f"rolled back, run configtrail projections rebuild {lag.name} --cancel"
        )
    if lag.rebuild.error is not None:
        return f"could not be built: {lag.rebuild.error}"
    return f"is being built: {lag.rebuild.position} of {lag.head}"
