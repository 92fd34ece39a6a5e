"""What differs between two configurations: a unified diff of the texts, and counts by section.

Line counts come from the edit script, never from the diff's text: a removed line `-- x` looks like
a file header there. Sections come from the two parsed forms, never from lines of context.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from pygit2 import Patch
from pygit2.enums import DiffOption

from domain.canonical.extent import Extent, with_cuts
from domain.canonical.form import LogicalForm
from domain.events import SectionChange
from domain.routeros.menus import publishable
from domain.routeros.spelling import all_spelled

MAX_BYTES: Final = 16 * 1024 * 1024
MAX_LINES: Final = 200_000
CONTEXT: Final = 3

_FLAGS: Final = DiffOption.PATIENCE | DiffOption.FORCE_TEXT
_HUNK = re.compile(rb"^@@ (\S+ \S+) @@[^\n]*", re.MULTILINE)
_STEP: Final = 1 << 16
_MISSING_NEWLINE: Final = b"\n\\ No newline at end of file\n"


class TextDiff(Struct, frozen=True, kw_only=True):
    """A unified diff, as GNU patch and `git apply` take it; empty for equal texts.

    `coarse` says that the texts were over a limit and that one hunk replaces everything between
    their common beginning and end.
    """

    patch: bytes
    lines_added: int
    lines_removed: int
    coarse: bool = False


def text_diff(before: bytes, after: bytes, *, before_label: str, after_label: str) -> TextDiff:
    """The difference of two texts; lines end at LF only, all other bytes are content.

    Holds the interpreter lock for its whole time: up to 0.5 s, rarely 3 s, at the limits of
    16 MiB or 200,000 lines a side. Beyond them the difference is coarse.
    """
    if before == after:
        return TextDiff(patch=b"", lines_added=0, lines_removed=0)
    if any(len(text) > MAX_BYTES or _count_lines(text) > MAX_LINES for text in (before, after)):
        return coarse_diff(before, after, before_label=before_label, after_label=after_label)
    patch = Patch.create_from(before, after, flag=_FLAGS, context_lines=CONTEXT)
    _, added, removed = patch.line_stats
    data = patch.data
    # The header's `index` line shows hashes of the plain texts. No line of a hunk begins with
    # `@@`: those of the texts have a mark before them.
    hunks = data[data.index(b"\n@@ ") + 1 :]
    return TextDiff(
        patch=_header(before_label, after_label) + _HUNK.sub(rb"@@ \1 @@", hunks),
        lines_added=added,
        lines_removed=removed,
    )


def coarse_diff(before: bytes, after: bytes, *, before_label: str, after_label: str) -> TextDiff:
    """One hunk that replaces all between the common beginning and end. Time is linear."""
    if before == after:
        return TextDiff(patch=b"", lines_added=0, lines_removed=0)
    start = _common_start(before, after)
    tail = _common_end(before, after, start)
    old, new = before[start : len(before) - tail], after[start : len(after) - tail]
    lead = _last_lines(before[:start])
    trail = _first_lines(before[len(before) - tail :] if tail else b"")
    context = _count_lines(lead) + _count_lines(trail)
    first = _count_lines(before[:start]) - _count_lines(lead) + 1
    removed, added = _count_lines(old), _count_lines(new)
    ranges = f"-{_range(first, context + removed)} +{_range(first, context + added)}"
    return TextDiff(
        patch=b"".join(
            (
                _header(before_label, after_label),
                f"@@ {ranges} @@\n".encode(),
                _marked(b" ", lead),
                _marked(b"-", old),
                _marked(b"+", new),
                _marked(b" ", trail),
            )
        ),
        lines_added=added,
        lines_removed=removed,
        coarse=True,
    )


def section_changes(before: LogicalForm, after: LogicalForm) -> tuple[SectionChange, ...]:
    """Logical lines added to and removed from each section, by order of first appearance.

    Lines are compared as multisets, so a mere reordering gives nothing, and RouterOS lines in their
    normal spelling. What an incomplete export
    lacks is unknown, not removed (nor added by the next complete one), and so is the line in which
    it was cut.
    """
    before, after = with_cuts(before, after)
    old, new = Extent(before), Extent(after)
    changes: dict[str, tuple[int, int]] = {}
    sectioned = before.sectioned or after.sectioned
    for section in dict.fromkeys((*before.by_section, *after.by_section)):
        if before.by_section.get(section) == after.by_section.get(section):
            continue
        was, now = _counted(before, section), _counted(after, section)
        added = (now - was).total() if old.whole(section, new) else 0
        removed = (was - now).total() if new.whole(section, old) else 0
        if added or removed:
            told = publishable(section) if sectioned else section
            before_it = changes.get(told, (0, 0))
            changes[told] = (before_it[0] + added, before_it[1] + removed)
    return tuple(
        SectionChange(section=section, added=added, removed=removed)
        for section, (added, removed) in changes.items()
    )


def _counted(form: LogicalForm, section: str) -> Counter[str]:
    """How often each line is in a section."""
    lines = form.by_section.get(section, ())
    return Counter(all_spelled(lines) if form.sectioned else lines)


def _header(before_label: str, after_label: str) -> bytes:
    return f"--- a/{_path(before_label)}\n+++ b/{_path(after_label)}\n".encode()


def _path(label: str) -> str:
    """A label as a path that no tool takes for an option, a quoted name or a way out."""
    safe = "".join(char if char.isprintable() and char not in ' "\\' else "_" for char in label)
    return "/".join(
        f"_{part[1:]}" if not part or part.startswith(".") else part for part in safe.split("/")
    )


def _count_lines(text: bytes) -> int:
    return text.count(b"\n") + (bool(text) and not text.endswith(b"\n"))


def _range(first: int, count: int) -> str:
    """A hunk's range: an empty one names the line before it."""
    return f"{first if count else first - 1},{count}"


def _marked(mark: bytes, text: bytes) -> bytes:
    if not text:
        return b""
    complete = text.endswith(b"\n")
    body = text[:-1] if complete else text
    return mark + body.replace(b"\n", b"\n" + mark) + (b"\n" if complete else _MISSING_NEWLINE)


def _common_start(before: bytes, after: bytes) -> int:
    """Length of the common beginning, in whole lines."""
    length = _agreeing(
        min(len(before), len(after)), lambda start, end: before[start:end] == after[start:end]
    )
    return before.rfind(b"\n", 0, length) + 1


def _common_end(before: bytes, after: bytes, start: int) -> int:
    """Length of the common end behind `start`, in whole lines of both texts."""
    length = _agreeing(
        min(len(before), len(after)) - start,
        lambda near, far: (
            before[len(before) - far : len(before) - near]
            == after[len(after) - far : len(after) - near]
        ),
    )
    old, new = len(before) - length, len(after) - length
    if _begins_line(before, old, start) and _begins_line(after, new, start):
        return length
    newline = before.find(b"\n", old)
    return len(before) - newline - 1 if newline >= 0 else 0


def _agreeing(most: int, equal: Callable[[int, int], bool]) -> int:
    """How many bytes, up to `most`, agree from 0 on. `equal` tells of a range."""
    low = 0
    while low < most and equal(low, min(low + _STEP, most)):
        low = min(low + _STEP, most)
    high = min(low + _STEP, most)
    while low < high:
        middle = (low + high + 1) // 2
        if equal(low, middle):
            low = middle
        else:
            high = middle - 1
    return low


def _begins_line(text: bytes, at: int, start: int) -> bool:
    return at == start or text[at - 1 : at] == b"\n"


def _last_lines(text: bytes) -> bytes:
    """The last lines of a text that ends with a newline, as many as there is context."""
    at = len(text)
    for _ in range(CONTEXT):
        at = text.rfind(b"\n", 0, max(at - 1, 0)) + 1
    return text[at:]


def _first_lines(text: bytes) -> bytes:
    at = 0
    for _ in range(CONTEXT):
        newline = text.find(b"\n", at)
        if newline < 0:
            return text
        at = newline + 1
    return text[:at]
