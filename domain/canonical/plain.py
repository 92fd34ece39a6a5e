"""Canonical form of text that no other rules know: `plain/1`.

Dropped: a byte order mark, the kind of line endings, blanks at line ends, empty lines at the
end. Everything else counts; a changed order of lines is a change.
"""

from __future__ import annotations

from typing import Final

from domain.canonical.form import BLANKS, Canonical, is_unfinished, physical_lines, unix

RULES: Final = "plain/1"


def canonicalise(text: str) -> Canonical:
    """The plain canonical form of any text. It is always taken for complete."""
    physical = physical_lines(text)
    lines = [line.rstrip(BLANKS) for line in physical]
    while lines and not lines[-1]:
        lines.pop()
    return Canonical(
        rules=RULES,
        logical=tuple(lines),
        normal=tuple(lines),
        line_count=len(physical),
        unfinished=is_unfinished(unix(text)),
    )
