"""Looking for a pattern in one text without its secrets. Runs in a worker process.

Patterns are RE2's: their time is linear in the text, whatever they are.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Any, Final

import re2  # type: ignore[import-untyped]
from msgspec import Struct

from domain.canonical.form import physical_lines
from domain.errors import InvalidInput, NotRedactable, WorkStopped
from domain.redaction import Redactor, redacted

PATTERN_MAX: Final = 200
LINES_MAX: Final = 20
SHOWN_MAX: Final = 300
_MEMORY: Final = 8 << 20


class Query(Struct, frozen=True):
    """What is looked for, in each line: a text, or a pattern."""

    text: str
    is_pattern: bool = False
    match_case: bool = False


class ScanJob(Struct, frozen=True):
    """One text, and what its secrets are hashed with."""

    text: bytes
    platform: str
    key: bytes
    device_id: str
    query: Query


class Line(Struct, frozen=True):
    """A line that matches, from 1, cut when it is long."""

    number: int
    text: str


class Scanned(Struct, frozen=True):
    """The first lines that match and how many there are; None where secrets can't be told."""

    lines: tuple[Line, ...]
    matching: int


def check(query: Query) -> None:
    """Raises `InvalidInput` for what can't be looked for."""
    if not query.text.strip() or len(query.text) > PATTERN_MAX:
        raise InvalidInput("q", f"must be 1 to {PATTERN_MAX} characters, not only blanks")
    if not query.text.isprintable():
        raise InvalidInput("q", "must be printable")
    _compiled(query)


async def scanned(job: ScanJob, workers: Executor) -> Scanned | None:
    """`scan` in a worker; None as well when that was stopped, so that one text which takes too
    long does not keep anybody from searching the others."""
    try:
        return await asyncio.get_running_loop().run_in_executor(workers, scan, job)
    except WorkStopped:
        return None


def scan(job: ScanJob) -> Scanned | None:
    """What matches in the text as it is shown, its secrets hashed: nobody can find out a secret by
    asking for it."""
    try:
        shown = redacted(job.text.decode(), job.platform, Redactor(job.key, job.device_id))
    except NotRedactable:
        return None
    pattern = _compiled(job.query)
    found: list[Line] = []
    matching = 0
    for number, line in enumerate(physical_lines(shown), 1):
        if pattern.search(line) is None:
            continue
        matching += 1
        if len(found) < LINES_MAX:
            found.append(Line(number, line[:SHOWN_MAX]))
    return Scanned(tuple(found), matching)


def _compiled(query: Query) -> Any:
    options = re2.Options()
    options.case_sensitive = query.match_case
    options.literal = not query.is_pattern
    options.max_mem = _MEMORY
    options.log_errors = False
    try:
        return re2.compile(query.text, options=options)
    except re2.error as error:
        raise InvalidInput("q", "must be a pattern as RE2 knows them (no references)") from error
