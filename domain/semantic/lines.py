"""What changed on platforms with a profile: lines that came and went, under their paths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeAlias

from domain.canonical.form import Canonical
from domain.profiles.profile import Profile, with_paths
from domain.redaction.hashing import Redactor
from domain.redaction.text import in_context, redact_line_of
from domain.semantic.telling import MOST_CHANGES
from domain.semantic.told import ToldChange, ToldDiff

Path: TypeAlias = tuple[str, ...]

_BETWEEN = " > "
_LONGEST = 200


def tell_lines(
    before: Canonical, after: Canonical, profile: Profile, redactor: Redactor
) -> ToldDiff:
    """The lines that differ, redacted. Where nothing came or went, the order did change."""
    old, new = (_Lines(form, profile, redactor) for form in (before, after))
    gone, come = old.counted - new.counted, new.counted - old.counted
    found = [
        *((path, line, "removed") for path, line in gone.elements() if new.whole(path, line)),
        *((path, line, "added") for path, line in come.elements() if old.whole(path, line)),
    ]
    changes = [_told(path, line, kind, profile, redactor) for path, line, kind in found]
    changes.sort(key=lambda one: one.section)
    notes = []
    if hidden := gone.total() + come.total() - len(found):
        notes.append(
            f"an incomplete text says too little: {hidden} line{'s' * (hidden > 1)} that may only "
            "be missing there are not told as changes"
        )
    elif not changes:
        same = before.text == after.text
        notes.append("nothing changed in meaning" if same else "only the order of lines changed")
    return ToldDiff(
        changes=tuple(changes[:MOST_CHANGES]),
        notes=tuple(notes),
        more=max(0, len(changes) - MOST_CHANGES),
    )


class _Lines:
    """A form's lines under their paths, without private keys, and how far it can be relied on."""

    def __init__(self, form: Canonical, profile: Profile, redactor: Redactor) -> None:
        lines = with_paths(_in_context(profile, form.normal, redactor), profile.style)
        self._cut = form.cut
        self._outermost = {_outermost(path, line) for path, line in lines}
        self._last = _outermost(*lines[-1]) if lines else ""
        self.counted = Counter(lines)

    def whole(self, path: Path, line: str) -> bool:
        """Whether a line that is not here was not on the device either.

        A text that was cut lacks the rest of its last block, and all that came after.
        """
        block = _outermost(path, line)
        return not self._cut or (block in self._outermost and block != self._last)


def _outermost(path: Path, line: str) -> str:
    return path[0] if path else line.removesuffix("{").strip()


def _in_context(profile: Profile, lines: Sequence[str], redactor: Redactor) -> Iterator[str]:
    """The lines without the secrets that only what stands around them tells, each with all of its
    value as before."""
    pieces = in_context(profile, (piece for line in lines for piece in line.split("\n")), redactor)
    for line in lines:
        yield "\n".join(islice(pieces, line.count("\n") + 1))


def _told(path: Path, line: str, kind: str, profile: Profile, redactor: Redactor) -> ToldChange:
    shown = _redacted(line, profile, redactor)[:_LONGEST]
    where = _BETWEEN.join(_redacted(one, profile, redactor) for one in path)
    return ToldChange(
        section=where or profile.section(line),
        kind="added" if kind == "added" else "removed",
        sentence=f"{where}: '{shown}' {kind}" if where else f"'{shown}' {kind}",
        entry=shown,
    )


def _redacted(line: str, profile: Profile, redactor: Redactor) -> str:
    """A line without its secrets, on one line. A value with newlines may be a secret as a whole,
    and have some in it that are only known at the beginning of a line."""
    whole = redact_line_of(profile, line, redactor)
    pieces = (redact_line_of(profile, piece, redactor) for piece in whole.split("\n"))
    return " ".join(" ".join(pieces).split()) if "\n" in line else whole
