"""Many expressions over many short lines, of which few match: RE2 says which, at once.

RE2 knows no look around and no possessive repetition. An expression without its own matches more
and never less, so what RE2 passes over has no match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final

import re2  # type: ignore[import-untyped]

_PIECE: Final = re.compile(
    r"(?P<class>\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|(?P<end>\\Z)|(?P<escape>\\.)"
    r"|(?P<look>\(\?<?[=!])|(?P<open>\()|(?P<close>\))"
    r"|(?P<possessive>(?<=[*+?}])\+)|(?P<other>.)",
    re.DOTALL,
)


# On a hostile line some expressions take time by the square of its length.
LONGEST: Final = 1 << 15
# Words that more than one blank keeps apart.
_ALIGNED: Final = re.compile(r"[^ \t](?:  | ?\t)")
_PIECES: Final = re.compile(r"[ \t]+|.", re.DOTALL)


class Line:
    """A line of which parts are hidden. Its `text` has one blank where several are written, or
    tabs: who writes by hand aligns words. What stays is as it was written."""

    def __init__(self, written: str) -> None:
        self.text = bare = written.rstrip(" \t")
        self._behind = written[len(bare) :]
        # For each character of the text what is written there, unless that is the same.
        self._pieces: list[str] | None = None
        if _ALIGNED.search(bare):
            self._pieces = _PIECES.findall(bare)
            self.text = "".join(" " if one[0] in " \t" else one for one in self._pieces)

    @property
    def written(self) -> str:
        """The line as it is written now."""
        bare = self.text if self._pieces is None else "".join(self._pieces)
        return bare + self._behind

    def hide(self, expression: re.Pattern[str], hide: Callable[[str], str]) -> None:
        """Put `hide` of what stands in the group `secret` in its place, wherever it is found."""
        if self._pieces is None:
            self.text = expression.sub(
                lambda found: replaced(found, hide(found["secret"])), self.text
            )
            return
        text: list[str] = []
        pieces: list[str] = []
        done = 0
        for found in expression.finditer(self.text):
            start, end = found.span("secret")
            shown = hide("".join(self._pieces[start:end]))
            text += (self.text[done:start], shown)
            pieces += (*self._pieces[done:start], *shown)
            done = end
        self.text = "".join((*text, self.text[done:]))
        self._pieces = pieces + self._pieces[done:]

    def hide_all(self, hide: Callable[[str], str]) -> None:
        """Put `hide` of the whole line in its place."""
        self.text = hide(self.written)
        self._pieces, self._behind = None, ""


class Secrets:
    """Where secrets stand in a line: `expressions`, in order, each with a group `secret`.

    They are for ASCII, as RE2's are: other letters and blanks are parts of words. They are compiled
    at the first line: most commands hide nothing, and a worker sees few of the platforms.
    """

    def __init__(self, written: Sequence[str]) -> None:
        self._written = written

    @cached_property
    def expressions(self) -> list[re.Pattern[str]]:
        return [re.compile(one, re.ASCII) for one in self._written]

    def hidden(self, line: str, hide: Callable[[str], str]) -> str:
        """The line with `hide` of each secret in its place, or of all of it when it is very long
        and may have one."""
        read = Line(line)
        self.hide_in(read, hide)
        return read.written

    def hide_in(self, line: Line, hide: Callable[[str], str]) -> None:
        """The same for a line of which parts may be hidden already."""
        numbers = sorted(self._may.Match(line.text.encode("utf-8", "replace")) or ())
        if numbers and len(line.text) > LONGEST:
            line.hide_all(hide)
            return
        for number in numbers:
            line.hide(self.expressions[number], lambda secret: hide(_meant(secret)))

    @cached_property
    def _may(self) -> Any:
        options = re2.Options()
        options.max_mem = 64 << 20
        found = re2.Set.SearchSet(options)
        for one in self._written:
            found.Add(loosened(one))
        found.Compile()
        return found


def _meant(secret: str) -> str:
    """A secret without the quotes of a shell: the same secret, quoted or not."""
    if len(secret) > 1 and secret[0] == secret[-1] == "'":
        return secret[1:-1].replace("'\\''", "'")
    return secret


def replaced(found: re.Match[str], shown: str) -> str:
    """What was found, with something else in place of the secret."""
    start, end = (at - found.start() for at in found.span("secret"))
    return found[0][:start] + shown + found[0][end:]


def loosened(pattern: str) -> str:
    """An expression of RE2 that matches wherever this one does."""
    kept: list[str] = []
    depth = 0
    inside: list[int] = []  # where looks around began, by depth
    for piece in _PIECE.finditer(pattern):
        kind = piece.lastgroup
        if kind == "look" or kind == "open":
            depth += 1
            if kind == "look":
                inside.append(depth)
        if not inside and kind != "possessive":
            kept.append(r"\z" if kind == "end" else piece[0])
        if kind == "close":
            if inside and inside[-1] == depth:
                inside.pop()
            depth -= 1
    return "".join(kept)
