"""What changed on platforms with a profile: lines that came and went, under their paths."""

from __future__ import annotations

from collections import Counter

from domain.canonical.form import Canonical
from domain.profiles.profile import Profile, with_paths
from domain.redaction.hashing import Redactor
from domain.redaction.text import in_context, redact_line_of
from domain.semantic.telling import MOST_CHANGES
from domain.semantic.told import ToldChange, ToldDiff

_BETWEEN = " > "
_LONGEST = 200


def tell_lines(
    before: Canonical, after: Canonical, profile: Profile, redactor: Redactor
) -> ToldDiff:
    """The lines that differ, redacted. Where nothing came or went, the order did change."""
    old, new = (
        Counter(with_paths(in_context(profile, form.normal, redactor), profile.style))
        for form in (before, after)
    )
    gone, come = old - new, new - old
    changes = [
        *(_told(path, line, "removed", profile, redactor) for path, line in gone.elements()),
        *(_told(path, line, "added", profile, redactor) for path, line in come.elements()),
    ]
    changes.sort(key=lambda one: one.section)
    notes: tuple[str, ...] = ()
    if not changes:
        same = before.text == after.text
        notes = ("nothing changed in meaning" if same else "only the order of lines changed",)
    return ToldDiff(
        changes=tuple(changes[:MOST_CHANGES]),
        notes=notes,
        more=max(0, len(changes) - MOST_CHANGES),
    )


def _told(
    path: tuple[str, ...], line: str, kind: str, profile: Profile, redactor: Redactor
) -> ToldChange:
    shown = redact_line_of(profile, line, redactor)[:_LONGEST]
    where = _BETWEEN.join(redact_line_of(profile, one, redactor) for one in path)
    return ToldChange(
        section=where or profile.section(line),
        kind="added" if kind == "added" else "removed",
        sentence=f"{where}: '{shown}' {kind}" if where else f"'{shown}' {kind}",
        entry=shown,
    )
