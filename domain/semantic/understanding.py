"""Where in an export the lines stand that are no statements, and what must stand there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from domain.canonical.form import physical_lines
from domain.canonical.routeros import canonicalise, origins
from domain.errors import NotUnderstood
from domain.routeros.menus import split_path
from domain.routeros.statements import parse

_INDENT = 4


def not_understood(text: str) -> Iterator[NotUnderstood]:
    """An error for each line that is not understood, with its line and column in the text."""
    physical = physical_lines(text)
    for line, (first, after) in zip(canonicalise(text).logical, origins(text), strict=True):
        split = split_path(line)
        if split is not None and not split[1]:
            continue
        try:
            parse(line)
        except NotUnderstood as error:
            row, column = _place(physical[first:after], error.column)
            yield NotUnderstood(first + row + 1, column, error.rule)


def _place(pieces: Sequence[str], column: int) -> tuple[int, int]:
    """Row (from 0) and column (from 1) in a wrapped line of a column of it in one piece."""
    for row, piece in enumerate(pieces):
        indent = _INDENT if row else 0
        length = len(piece) - indent - 1  # without the backslash
        if column <= length or row == len(pieces) - 1:
            return row, column + indent
        column -= length
    return 0, column
