"""What all read models share: schema, connections, rows as structs, text fit for Postgres."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import asyncpg
import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

# Where readers look, and where the tables of a rebuild wait until they take the live ones' place.
SCHEMA = "configtrail"
BUILD_SCHEMA = "configtrail_build"

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"  # one session
)

Row = TypeVar("Row", bound=Struct)

# Where a page of something ends that is ordered by time and, at the same time, by position.
Place: TypeAlias = tuple[datetime, int]
# Where the first page begins, newest first. An index can find a place that is given as it is; one
# that a statement makes up where none is given it only compares each row with.
NEWEST: Place = (datetime.max.replace(tzinfo=UTC), (1 << 63) - 1)


class Reader(Protocol):
    """Whatever questions can be put to: a pool, a session, or the rows of one tenant."""

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """The rows of an answer."""
        ...

    async def fetchrow(self, query: str, *args: Any) -> asyncpg.Record | None:
        """The first row of an answer."""
        ...

    async def fetchval(self, query: str, *args: Any) -> Any:
        """The first value of an answer."""
        ...


def structs(kind: type[Row], records: Sequence[asyncpg.Record]) -> list[Row]:
    """Each record of an answer as a struct, its columns checked against the struct's types."""
    # Told once for all: a record takes long to name its columns.
    names = tuple(records[0].keys()) if records else ()
    return [msgspec.convert(dict(zip(names, one, strict=True)), kind) for one in records]


def in_order(kind: type[Row], records: Iterable[asyncpg.Record]) -> list[Row]:
    """Each record of an answer as a struct whose fields are its columns, in their order and of
    their types: in a fraction of the time, for pages that are asked for much. Tests compare the
    order."""
    return [kind(*one) for one in records]


def struct(kind: type[Row], record: asyncpg.Record | None) -> Row | None:
    """The record as a struct, or None when there is none."""
    return None if record is None else msgspec.convert(dict(record), kind)


def storable(text: str) -> str:
    """The text without NUL, which Postgres can't hold: U+FFFD stands in its place."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def storable_or_none(text: str | None) -> str | None:
    """As `storable`, for text that may be absent."""
    return None if text is None else storable(text)


def columns_of(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Rows turned into columns, for `unnest`."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
