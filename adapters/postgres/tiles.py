"""The logs' tiles in Postgres: a read model, in a schema of its own, that can be dropped any time.

Rows change only in the transaction that moves the position of the stream that they are built from,
and only from the position that their writer read before. So they always are the logs over exactly
the events up to it. Whether those are the events that were signed, only the checkpoints tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from domain.envelope import StreamIdentity
from domain.tlog.tiles import HEIGHT, WIDTH, Place, TileTree
from projections.rows import Connection, Pool

SCHEMA = "configtrail_log"
VERSION = 1
_LOCK = 0x636F_6E66_746C_6F67
_MOST_LEVELS = 8

_DDL = f"""
CREATE SCHEMA {SCHEMA};
CREATE TABLE {SCHEMA}.state (
    version integer NOT NULL,
    stream text NOT NULL,
    stream_created timestamptz NOT NULL,
    position bigint NOT NULL
);
CREATE TABLE {SCHEMA}.logs (
    log text COLLATE "C" NOT NULL PRIMARY KEY,
    size bigint NOT NULL
);
CREATE TABLE {SCHEMA}.tiles (
    log text COLLATE "C" NOT NULL,
    level smallint NOT NULL,
    n bigint NOT NULL,
    hashes bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (log, level, n)
);
-- The positions in the stream of the leaves of tile (0, n), 8 bytes each.
CREATE TABLE {SCHEMA}.places (
    log text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    first bigint NOT NULL,
    positions bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (log, n)
);
CREATE INDEX places_by_first ON {SCHEMA}.places (log, first);
"""

_PUT_TILES = f"""
    INSERT INTO {SCHEMA}.tiles (log, level, n, hashes)
    SELECT * FROM unnest($1::text[], $2::smallint[], $3::bigint[], $4::bytea[])
    ON CONFLICT (log, level, n) DO UPDATE SET hashes = excluded.hashes
"""
_PUT_LOGS = f"""
    INSERT INTO {SCHEMA}.logs (log, size) SELECT * FROM unnest($1::text[], $2::bigint[])
    ON CONFLICT (log) DO UPDATE SET size = excluded.size
"""
_PUT_PLACES = f"""
    INSERT INTO {SCHEMA}.places (log, n, first, positions)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[])
    ON CONFLICT (log, n) DO UPDATE SET positions = excluded.positions
"""


class LogTree:
    """A log that grows: its tiles, and where in the stream its last leaves are."""

    def __init__(
        self, log: str, size: int = 0, edge: Mapping[int, bytes] | None = None, recent: bytes = b""
    ) -> None:
        self.log = log
        self._tree = TileTree(size, edge)
        self._recent = bytearray(recent[: size % WIDTH * 8])
        self._places: dict[int, bytes] = {}

    @property
    def size(self) -> int:
        """How many leaves it has."""
        return self._tree.size

    def root(self) -> bytes:
        """Its root."""
        return self._tree.root()

    def extend(self, leaves: Sequence[bytes], positions: Sequence[int]) -> None:
        """More leaves, by their hashes, and where in the stream they are."""
        number = self.size
        self._tree.extend(leaves)
        for position in positions:
            self._recent += position.to_bytes(8, "big")
            number += 1
            if number % WIDTH == 0:
                self._places[number // WIDTH - 1] = bytes(self._recent)
                self._recent.clear()
        if self._recent:
            self._places[number // WIDTH] = bytes(self._recent)

    def taken(self) -> tuple[dict[Place, bytes], dict[int, bytes]]:
        """Tiles and places that changed since the last call."""
        places, self._places = self._places, {}
        return self._tree.taken(), places


class State(Struct, frozen=True):
    """All events of the stream up to `position` are in the tiles."""

    identity: StreamIdentity
    position: int


class TileStore:
    """The tables. Any number of processes may read; a second writer fails its compare-and-swap."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def resume(self, identity: StreamIdentity, position: int) -> bool:
        """Go back to a position that the tables have passed: what they hold beyond it is written
        again. False, and nothing done, when they are absent, of another version, of another stream
        or have not come that far."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            found = await self._state(connection)
            if found is None or found.identity != identity or found.position < position:
                return False
            await connection.execute(f"UPDATE {SCHEMA}.state SET position = $1", position)
            return True

    async def rebuild(self, identity: StreamIdentity) -> None:
        """Make the tables anew, empty: they only repeat what the stream says."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            await self._make(connection, identity)

    async def _make(self, connection: Connection, identity: StreamIdentity) -> None:
        await connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        await connection.execute(_DDL)
        await connection.execute(
            f"INSERT INTO {SCHEMA}.state VALUES ($1, $2, $3, 0)",
            VERSION,
            identity.name,
            identity.created,
        )

    async def _state(self, connection: Connection) -> State | None:
        there = await connection.fetchval(
            "SELECT count(*) FROM pg_tables WHERE schemaname = $1"
            " AND tablename IN ('state', 'logs', 'tiles', 'places')",
            SCHEMA,
        )
        if there != 4:
            return None
        row = await connection.fetchrow(f"SELECT * FROM {SCHEMA}.state")
        if row is None or row["version"] != VERSION:
            return None
        return State(StreamIdentity(row["stream"], row["stream_created"]), row["position"])

    async def load(self, log: str, size: int) -> LogTree:
        """The log's tree as it was at a size, ready to grow. Its root tells whether it is right.

        Raises `ValueError` when the tables don't hold it.
        """
        places = [(level, (size >> (HEIGHT * level)) // WIDTH) for level in range(_MOST_LEVELS)]
        edge = {level: raw for (level, _), raw in (await self.tiles(log, places)).items()}
        recent = await self._pool.fetchval(
            f"SELECT positions FROM {SCHEMA}.places WHERE log = $1 AND n = $2", log, size // WIDTH
        )
        return LogTree(log, size, edge, recent or b"")

    async def save(
        self, identity: StreamIdentity, trees: Iterable[LogTree], *, old: int, new: int
    ) -> bool:
        """Keep what changed in the trees and move the position; False, and nothing done, when it
        no longer stands at `old`."""
        tiles: list[tuple[str, int, int, bytes]] = []
        places: list[tuple[str, int, int, bytes]] = []
        sizes: list[tuple[str, int]] = []
        for tree in trees:
            changed, located = tree.taken()
            tiles += [(tree.log, level, n, raw) for (level, n), raw in changed.items()]
            places += [
                (tree.log, n, int.from_bytes(raw[:8], "big"), raw) for n, raw in located.items()
            ]
            sizes.append((tree.log, tree.size))
        async with self._pool.acquire() as connection, connection.transaction():
            moved: str = await connection.execute(
                f"UPDATE {SCHEMA}.state SET position = $4"
                " WHERE stream = $1 AND stream_created = $2 AND position = $3",
                identity.name,
                identity.created,
                old,
                new,
            )
            if moved != "UPDATE 1":
                return False
            await connection.execute(_PUT_TILES, *_columns(tiles, 4))
            await connection.execute(_PUT_PLACES, *_columns(places, 4))
            await connection.execute(_PUT_LOGS, *_columns(sizes, 2))
        return True

    async def logs(self) -> dict[str, int]:
        """Every log and its size."""
        rows = await self._pool.fetch(f"SELECT log, size FROM {SCHEMA}.logs")
        return {row["log"]: row["size"] for row in rows}

    async def size(self, log: str) -> int:
        """How many leaves the log has in the tiles."""
        found = await self._pool.fetchval(f"SELECT size FROM {SCHEMA}.logs WHERE log = $1", log)
        return int(found or 0)

    async def tiles(self, log: str, wanted: Iterable[Place]) -> dict[Place, bytes]:
        """Those of the wanted tiles that there are."""
        levels, numbers = _columns(list(wanted), 2)
        rows = await self._pool.fetch(
            f"SELECT level, n, hashes FROM {SCHEMA}.tiles WHERE log = $1"
            " AND (level, n) IN (SELECT * FROM unnest($2::smallint[], $3::bigint[]))",
            log,
            levels,
            numbers,
        )
        return {(row["level"], row["n"]): row["hashes"] for row in rows}

    async def leaves(self, log: str, start: int, count: int) -> list[bytes]:
        """Leaf hashes from an index on, as many as there are."""
        first, last = start // WIDTH, (start + count - 1) // WIDTH
        found = await self.tiles(log, [(0, n) for n in range(first, last + 1)])
        joined = b"".join(found.get((0, n), b"") for n in range(first, last + 1))
        skip = (start - first * WIDTH) * 32
        cut = joined[skip : skip + count * 32]
        return [cut[at : at + 32] for at in range(0, len(cut), 32)]

    async def index(self, log: str, position: int) -> int | None:
        """Which leaf of the log the event at a position of the stream is."""
        row = await self._pool.fetchrow(
            f"SELECT n, positions FROM {SCHEMA}.places WHERE log = $1 AND first <= $2"
            " ORDER BY first DESC LIMIT 1",
            log,
            position,
        )
        if row is None:
            return None
        raw, wanted = row["positions"], position.to_bytes(8, "big")
        for at in range(0, len(raw), 8):
            if raw[at : at + 8] == wanted:
                return int(row["n"]) * WIDTH + at // 8
        return None


def _columns(rows: Sequence[tuple[object, ...]], width: int) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
