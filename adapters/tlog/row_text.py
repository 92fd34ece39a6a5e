"""Rows of the audit read model as Postgres' COPY writes them, byte for byte.

Rows that are as they should be are then the same bytes, which takes less than half of what reading
Postgres' rows into values takes. A value has one spelling only, and no two values share one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from projections.audit.write import COLUMNS

# Times as Postgres counts them, which Python spells in half of the time that a date takes.
_SELECTED = ", ".join(
    f"encode(timestamptz_send({name}), 'hex')" if name.endswith("_at") else name for name in COLUMNS
)
ROW_QUERY: Final = f"SELECT {_SELECTED} FROM configtrail.audit"

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_ALL_BITS: Final = (1 << 64) - 1
# Behind every position that Postgres can hold.
NOWHERE: Final = 1 << 63
# No text in Postgres has a NUL, nor has one that `fold` made for it.
_NULL: Final = "\0"
_SPECIAL: Final = re.compile(r"[\\\b\t\n\v\f\r]")
_ESCAPES: Final = {
    "\\": "\\\\",
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\v": "\\v",
    "\f": "\\f",
    "\r": "\\r",
}


def row_text(rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Rows, as `fold` makes them, each as a line: quickly, so that a character stands for itself
    which COPY writes in another way. Such a line is like none of COPY's, and one with a line end is
    two: where the bytes are the same, and the lines as many as the rows, the rows are the same."""
    return _spelt(_encoded("".join([_line(*row) for row in rows])).replace(b"\\", b"\\\\"))


def row_line(row: tuple[Any, ...]) -> bytes:
    """One row as a line, whatever is in it."""
    return _spelt(_encoded(_line(*map(_escaped, row))))


def position_in(line: bytes) -> int:
    """The position of a row by its line; `NOWHERE` when it has none."""
    told = line[: line.index(b"\t")]
    return NOWHERE if told == b"\\N" else int(told)


def _line(
    position: int,
    tenant_id: str,
    event_id: str,
    occurred_at: datetime,
    stored_at: datetime,
    actor: str,
    action: str,
    resource_type: str,
    resource_id: str,
    device_id: str,
    version: int,
    correlation_id: str | None,
    causation_id: str | None,
    details: str,
) -> str:
    if occurred_at.tzinfo is None:  # then it goes into Postgres as our own time
        occurred_at = occurred_at.astimezone()
    return (
        f"{position}\t{tenant_id}\t{event_id}"
        f"\t{(occurred_at - _EPOCH) // _MICROSECOND & _ALL_BITS:016x}"
        f"\t{(stored_at - _EPOCH) // _MICROSECOND & _ALL_BITS:016x}"
        f"\t{actor}\t{action}\t{resource_type}\t{resource_id}\t{device_id}\t{version}"
        f"\t{_NULL if correlation_id is None else correlation_id}"
        f"\t{_NULL if causation_id is None else causation_id}\t{details}\n"
    )


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return _SPECIAL.sub(lambda found: _ESCAPES[found[0]], value)
    return value


def _encoded(lines: str) -> bytes:
    # Lone surrogates are no text to Postgres, so such a line is like none of its.
    return lines.encode(errors="surrogatepass")


def _spelt(lines: bytes) -> bytes:
    return lines.replace(_NULL.encode(), b"\\N")
