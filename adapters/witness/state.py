"""What a witness has cosigned: the last size and root of every log, on its own disk."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from domain.errors import InvalidInput

_DDL = """
CREATE TABLE IF NOT EXISTS cosigned (
    origin TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    root BLOB NOT NULL
) STRICT, WITHOUT ROWID
"""


class Seen(Struct, frozen=True):
    """The last checkpoint of a log that was cosigned; size 0 for none."""

    size: int
    root: bytes


class WitnessState:
    """A file with one row a log. Every change is durable before it returns."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(_DDL)
        except (OSError, sqlite3.Error) as error:
            raise InvalidInput(str(path), "can't be opened as a witness's state") from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def seen(self, origin: str) -> Seen:
        """What was last cosigned of a log."""
        row = self._connection.execute(
            "SELECT size, root FROM cosigned WHERE origin = ?", (origin,)
        ).fetchone()
        return Seen(0, b"") if row is None else Seen(row[0], row[1])

    @contextlib.contextmanager
    def exclusively(self) -> Iterator[None]:
        """Nobody else reads or writes meanwhile, in whatever process: asking what was seen and
        keeping what is seen now must be one."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def keep(self, origin: str, seen: Seen) -> None:
        """What is seen now."""
        self._connection.execute(
            "INSERT INTO cosigned VALUES (?, ?, ?) ON CONFLICT (origin)"
            " DO UPDATE SET size = excluded.size, root = excluded.root",
            (origin, seen.size, seen.root),
        )
