"""Rows of the audit read model as Postgres' COPY writes them, byte for byte.

A value has one spelling only, and no two values share one, also of those that Python has not.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from adapters.tlog.row_columns import microseconds_of
from projections.audit.write import COLUMNS

# Times as Postgres counts them, which Python spells in half of the time that a date takes.
_SELECTED = ", ".join(
    f"encode(timestamptz_send({name}), 'hex')" if name.endswith("_at") else name for name in COLUMNS
)
ROW_QUERY: Final = f"SELECT {_SELECTED} FROM configtrail.audit"

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


def row_line(row: tuple[Any, ...]) -> bytes:
    """One row as a line, whatever is in it."""
    line = _line(*map(_escaped, row))
    # Lone surrogates are no text to Postgres, so such a line is like none of its.
    return line.encode(errors="surrogatepass").replace(_NULL.encode(), b"\\N")


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
    return (
        f"{position}\t{tenant_id}\t{event_id}"
        f"\t{microseconds_of(occurred_at) & _ALL_BITS:016x}"
        f"\t{microseconds_of(stored_at) & _ALL_BITS:016x}"
        f"\t{actor}\t{action}\t{resource_type}\t{resource_id}\t{device_id}\t{version}"
        f"\t{_NULL if correlation_id is None else correlation_id}"
        f"\t{_NULL if causation_id is None else causation_id}\t{details}\n"
    )


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return _SPECIAL.sub(lambda found: _ESCAPES[found[0]], value)
    return value
