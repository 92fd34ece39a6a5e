"""Rows as `COPY … (FORMAT binary)` takes them: encoded while the rows before are being written.

Source: PostgreSQL, "COPY", binary format; values as their types' `send` functions give them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER: Final = b"\xff\xff"
NULL: Final = b"\xff\xff\xff\xff"
# Where the server's times begin.
EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
# Large enough that sending one costs little, and small enough that the server begins at once.
_PIECE_BYTES = 1 << 19


def text(value: str | None) -> bytes:
    """A field of the types text and varchar."""
    if value is None:
        return NULL
    raw = value.encode()
    return len(raw).to_bytes(4, "big") + raw


def bigint(value: int) -> bytes:
    """A field of the type bigint; `OverflowError` when it is none."""
    return b"\x00\x00\x00\x08" + value.to_bytes(8, "big", signed=True)


def moment(value: datetime) -> bytes:
    """A field of the type timestamptz. A time without a zone is this machine's."""
    return bigint(microseconds(value.astimezone(UTC)))


def microseconds(value: datetime) -> int:
    """A time as the server counts; `TypeError` for one without a zone."""
    since = value - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def row(values: Sequence[Any]) -> bytes:
    """A row of whole numbers, times and text; each may be None."""
    fields = [len(values).to_bytes(2, "big")]
    for value in values:
        match value:
            case None | str():
                fields.append(text(value))
            case int():
                fields.append(bigint(value))
            case datetime():
                fields.append(moment(value))
            case _:
                raise TypeError(f"no field of a binary COPY for {type(value).__name__}")
    return b"".join(fields)


def pieces(rows: Iterable[bytes]) -> Iterator[bytes]:
    """A whole copy of the rows, cut into pieces of a size that is good to send."""
    kept, size = [HEADER], 0
    for one in rows:
        kept.append(one)
        size += len(one)
        if size >= _PIECE_BYTES:
            yield b"".join(kept)
            kept, size = [], 0
    kept.append(TRAILER)
    yield b"".join(kept)
