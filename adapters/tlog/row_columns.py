"""Rows of the audit read model as Postgres joins them, column by column: a range is one answer.

Rows that are as they should be are then the same few values, byte for byte, which takes two thirds
of the time that it takes to spell each as a line.

Times and numbers are eight bytes each, as Postgres holds them, so a NULL leaves a column too short.
Texts stand between separators; how many are not NULL is counted beside, and where NULL may be, a
mark stands for it. Where the rows that should be there have neither in them (no JSON has), no other
rows give the same columns: there are as many by the positions; a separator in a text of theirs
would be one too many; and where the mark is a text of theirs, one more is not NULL.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import repeat
from operator import contains
from typing import Any, Final, TypeAlias

from projections.audit.write import COLUMNS

# What Postgres answers, or should: None where there is nothing to join.
Joined: TypeAlias = tuple[str | bytes | int | None, ...]

# U+0001 and U+0002, which no setting of a session spells otherwise.
_SEPARATOR, _NULL = "\x01", "\x02"
_SQL_SEPARATOR, _SQL_NULL = "pg_catalog.chr(1)", "pg_catalog.chr(2)"
_NUMBERS: Final = ("position", "version")
_TIMES: Final = ("occurred_at", "stored_at")
_NULLABLE: Final = ("correlation_id", "causation_id")
# Of a longer text Postgres gives a separator, which makes the column like none: its range is then
# compared row by row. So what somebody put into the table does not fill the memory.
LONGEST: Final = 16_384

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)


def _parts_of(column: str) -> Iterator[str]:
    """What is asked of a column."""
    if column in _NUMBERS or column in _TIMES:
        sent = "timestamptz_send" if column in _TIMES else "int8send"
        yield f"pg_catalog.string_agg(pg_catalog.{sent}({column}), ''::pg_catalog.bytea)"
        return
    told = f"coalesce({column}, {_SQL_NULL})" if column in _NULLABLE else column
    yield (
        f"pg_catalog.string_agg(CASE WHEN pg_catalog.octet_length({column}) > {LONGEST}"
        f" THEN {_SQL_SEPARATOR} ELSE {told} END, {_SQL_SEPARATOR})"
    )
    yield f"pg_catalog.count({column})"


# The rows from $1 to $2, of which there should be no more than $3.
JOINED_QUERY: Final = (
    f"SELECT {', '.join(part for name in COLUMNS for part in _parts_of(name))} FROM"
    f" (SELECT {', '.join(COLUMNS)} FROM configtrail.audit WHERE position BETWEEN $1 AND $2"
    " ORDER BY position, ctid LIMIT $3 + 1) AS held"
)


def joined(rows: Sequence[tuple[Any, ...]]) -> Joined | None:
    """What Postgres answers where it holds just these rows, by position. None where they can't be
    told so: it may hold others then that give the same, or can't hold them."""
    if not rows:
        return None
    answer: list[str | bytes | int | None] = []
    for add, column in zip(_ADDERS, zip(*rows, strict=True), strict=True):
        if not add(answer, column):
            return None
    return tuple(answer)


def microseconds_of(moment: datetime) -> int:
    """A time as Postgres counts it."""
    if moment.tzinfo is None:  # then it goes into Postgres as our own time
        moment = moment.astimezone()
    passed = moment - _EPOCH
    # Half of what a division of the two takes.
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def _add_numbers(answer: list[str | bytes | int | None], column: Sequence[int]) -> bool:
    try:
        answer.append(struct.pack(f">{len(column)}q", *column))
    except struct.error:  # larger than Postgres can hold
        return False
    return True


def _add_times(answer: list[str | bytes | int | None], column: Sequence[datetime]) -> bool:
    return _add_numbers(answer, [microseconds_of(one) for one in column])


def _add_texts(answer: list[str | bytes | int | None], column: Sequence[str]) -> bool:
    answer += (_SEPARATOR.join(column), len(column))
    return _are_without(_SEPARATOR, column)


def _add_nullable(answer: list[str | bytes | int | None], column: Sequence[str | None]) -> bool:
    there = [one for one in column if one is not None]
    told = [_NULL if one is None else one for one in column]
    answer += (_SEPARATOR.join(told), len(there))
    return _are_without(_SEPARATOR, there) and _are_without(_NULL, there)


def _are_without(mark: str, texts: Sequence[str]) -> bool:
    # To count it in the joined text takes several times as long.
    return True not in map(contains, texts, repeat(mark))


_ADDERS: Final[tuple[Callable[[list[str | bytes | int | None], Any], bool], ...]] = tuple(
    _add_numbers
    if name in _NUMBERS
    else _add_times
    if name in _TIMES
    else _add_nullable
    if name in _NULLABLE
    else _add_texts
    for name in COLUMNS
)
