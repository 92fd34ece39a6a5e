"""Folds the stream anew and compares: are the live rows what the events say?

The fold goes into temporary tables of one session, which end with it, whatever happens. To compare
at the same position the live projection is held for the moment in which the fold gets there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

from msgspec import Struct

from domain.envelope import StreamIdentity
from domain.errors import NotFound, Unavailable
from projections import checkpoints
from projections.checkpoints import Checkpoint
from projections.lease import held_while_marked
from projections.parking import DeviceKey
from projections.poison import Careful
from projections.prefetch import Prefetch
from projections.projection import Projection
from projections.rows import SCHEMA, Connection, Pool
from projections.schema import LIVE, SCRATCH
from projections.source import Delivered, EventSource
from projections.writer import lease_name

MOST_EVENTS = 8_000
# Nearer than this to the live position the live projection is held for the rest.
NEAR = 1_000
PATIENCE_SECONDS = 30.0
# More than that patience.
HELD_SECONDS = 60.0

_KEY = """
    SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey)
    WHERE indrelid = $1::regclass AND indisprimary
    ORDER BY array_position(indkey::int2[], attnum)
"""
_COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""


class Difference(Struct, frozen=True):
    """A row that is not as the events say: `missing` in the live table, too much (`extra`) there,
    or with other values (`differs`). `key` is its primary key."""

    table: str
    kind: str
    key: dict[str, str]


class Verified(Struct, frozen=True):
    """What came of it, at `position`. `differences` are the first ones; `total` counts all."""

    projection: str
    position: int
    rows: int
    total: int
    differences: tuple[Difference, ...]


async def verify(
    pool: Pool,
    source: EventSource,
    projection: Projection[Any],
    *,
    limit: int = 100,
    progress: Callable[[int], None] = lambda position: None,
) -> Verified:
    """Compare the live rows with a fold from the first event on. Parked events, and those of their
    device after them, are left out of both as far as they can't be taken in now.

    Raises `NotFound` when there are no live rows of the projection's version.
    """
    async with pool.acquire() as session:
        await session.execute(f"SET search_path = {SCRATCH.schema}; SET statement_timeout = 0")
        try:
            await session.execute(projection.ddl)
            async with (
                aclosing(source.follow()) as feed,
                Prefetch(feed, most=MOST_EVENTS) as batches,
            ):
                fold = _Fold(session, batches, Careful(projection, source, SCRATCH))
                identity = await source.identity()
                while True:
                    live = await _live(pool, projection, identity)
                    if live.position - fold.position <= NEAR:
                        break
                    await fold.go_on(live.position)
                    progress(fold.position)
                async with pool.acquire() as holder, holder.transaction():
                    await holder.execute(held_while_marked(lease_name(projection), HELD_SECONDS))
                    live = await _live(holder, projection, identity, lock=True)
                    while fold.position < live.position:
                        await fold.go_on(live.position)
                    # What the session sees from here on is what holds now.
                    snapshot = session.transaction(isolation="repeatable_read")
                    await snapshot.start()
                    await session.execute("SELECT FROM configtrail.checkpoints")
            progress(fold.position)
            try:
                return await _compared(session, projection, fold.position, limit)
            finally:
                await snapshot.rollback()
        finally:
            if not session.is_closed():
                await session.execute("DISCARD TEMP")


class _Fold:
    """The fold into the scratch tables, at `position`."""

    def __init__(self, session: Connection, batches: Prefetch, careful: Careful) -> None:
        self.position = 0
        self._session = session
        self._batches = batches
        self._careful = careful
        self._read: Sequence[Delivered] = ()
        self._blocked: set[DeviceKey] = set()

    async def go_on(self, target: int) -> None:
        """Take some more events in, none beyond the target."""
        if not self._read:
            self._read = await self._batches.next(PATIENCE_SECONDS) or ()
            if not self._read:
                raise Unavailable("NATS", "the events to compare with do not come")
        batch = self._read[: target - self.position]
        self._read = self._read[len(batch) :]
        async with self._session.transaction():
            await self._careful.bring(self._session, batch, self._blocked)
        self.position = batch[-1].position


async def _live(
    reader: Connection | Pool,
    projection: Projection[Any],
    identity: StreamIdentity,
    *,
    lock: bool = False,
) -> Checkpoint:
    found = await checkpoints.load(reader, projection, LIVE, lock=lock)
    if found is not None:
        checkpoints.check(found, projection, identity)
    if found is None or found.version != projection.version:
        raise NotFound("live table of this version, projection", projection.name)
    return found


async def _compared(
    session: Connection, projection: Projection[Any], position: int, limit: int
) -> Verified:
    differences: list[Difference] = []
    rows = total = 0
    for table in projection.tables:
        scratch, live = f'{SCRATCH.schema}."{table}"', f'{SCHEMA}."{table}"'
        await session.execute(f"ANALYZE {scratch}")
        rows += await session.fetchval(f"SELECT count(*) FROM {scratch}")
        key = [name for (name,) in await session.fetch(_KEY, scratch)]
        columns = [name for (name,) in await session.fetch(_COLUMNS, scratch)]
        if columns != [name for (name,) in await session.fetch(_COLUMNS, live)]:
            differences.append(Difference(table, "other columns", {}))
            total += 1
            continue
        found = await session.fetch(_differing(scratch, live, key, columns), limit)
        total += found[0]["total"] if found else 0
        differences += [
            Difference(table, one["kind"], {name: str(one[name]) for name in key}) for one in found
        ]
    return Verified(projection.name, position, rows, total, tuple(differences[:limit]))


def _differing(scratch: str, live: str, key: list[str], columns: list[str]) -> str:
    """The rows that are not the same in both, by their primary key."""
    keys = ", ".join(f'"{name}"' for name in key)
    told, found = (", ".join(f'{side}."{name}"' for name in columns) for side in ("told", "found"))
    return f"""
        SELECT {keys}, count(*) OVER () AS total,
               CASE WHEN found."{key[0]}" IS NULL THEN 'missing'
                    WHEN told."{key[0]}" IS NULL THEN 'extra' ELSE 'differs' END AS kind
        FROM {scratch} AS told FULL JOIN {live} AS found USING ({keys})
        WHERE ROW({told}) IS DISTINCT FROM ROW({found})
        ORDER BY {keys} LIMIT $1
    """
