"""Canonical form of text that no other rules know: `plain/1`.

Dropped: a byte order mark, the kind of line endings, blanks at line ends, empty lines at the
end. Everything else counts; a changed order of lines is a change.
"""

from __future__ import annotations

from typing import Final

from domain.canonical.form import BLANKS, Canonical, is_unfinished, physical_lines, unix

RULES: Final = "plain/1"
_PIECE: Final = 1 << 20


def canonicalise(text: str) -> Canonical:
    """The plain canonical form of any text. It is always taken for complete."""
    physical = physical_lines(text)
    lines = [line.rstrip(BLANKS) for line in physical]
    while lines and not lines[-1]:
        lines.pop()
    kept = tuple(lines)
    return Canonical(
        rules=RULES,
        logical=kept,
        normal=kept,
        line_count=len(physical),
        unfinished=is_unfinished(unix(text)),
    )


def normal_text(text: str) -> str:
    """The `text` of that form, without all of its lines in the memory at once."""
    text = unix(text)
    pieces: list[str] = []
    begin = 0
    while begin < len(text):
        end = text.find("\n", begin + _PIECE) + 1 or len(text)
        lines = text[begin:end].split("\n")
        pieces.append("\n".join(line.rstrip(BLANKS) for line in lines))
        begin = end
    kept = "".join(pieces).rstrip("\n")
    return f"{kept}\n" if kept else ""
