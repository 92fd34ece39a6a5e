"""What changed on platforms with a profile: lines that came, went and moved, under their paths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice

from domain.canonical.extent import is_beginning, with_cuts
from domain.canonical.form import Canonical
from domain.profiles.profile import Profile, with_paths
from domain.redaction.hashing import Redactor
from domain.redaction.text import in_context, redact_line_of
from domain.semantic.blocks import BlockChange, Comparing, Found, nested
from domain.semantic.line_risks import LineRisks
from domain.semantic.policy import PolicyRule, line_level
from domain.semantic.sentences import from_to
from domain.semantic.telling import BEGINNING, MOST_CHANGES, cut_mark
from domain.semantic.told import ToldChange, ToldDiff

_BETWEEN = " > "
_LONGEST = 200


def tell_lines(
    before: Canonical,
    after: Canonical,
    profile: Profile,
    redactor: Redactor,
    policy: Sequence[PolicyRule] = (),
) -> ToldDiff:
    """The lines that differ, redacted. Where nothing came, went or moved, the order did change."""
    before, after = with_cuts(before, after)
    old, new = (_Lines(form, profile, redactor) for form in (before, after))
    comparing = Comparing(profile.watched.ordered, old.unsure(new), new.unsure(old))
    found = comparing.compare(old.root, new.root)
    telling = _Telling(profile, redactor, policy)
    found.changes.sort(key=telling.section)
    return ToldDiff(
        changes=tuple(map(telling.told, found.changes[:MOST_CHANGES])),
        notes=tuple(_notes(found, before, after)),
        more=max(0, len(found.changes) - MOST_CHANGES),
    )


class _Lines:
    """A form's lines under their paths, without private keys, and how far it can be relied on."""

    def __init__(self, form: Canonical, profile: Profile, redactor: Redactor) -> None:
        kept = form.normal if profile.salted else form.logical
        shown = list(_in_context(profile, kept, redactor))
        lines = with_paths(shown, profile.style)
        self._cut = form.cut
        # The line in which a text was cut may be of the block before it, or begin another one.
        self._last = {_outermost(*one) for one in lines[-2:]}
        if form.cut:
            lines = with_paths(shown[:-1], profile.style)
        self.root = nested(lines, profile.style)
        self._outermost = Counter(one.title for one in self.root.inside)

    def unsure(self, other: _Lines) -> set[int]:
        """The ids of the outermost blocks here of which the other text may lack some.

        A text that was cut lacks the rest of its last block, and all that came after.
        """
        return {
            id(one)
            for one in self.root.inside
            if other._cut
            and (
                one.title in other._last or other._outermost[one.title] < self._outermost[one.title]
            )
        }


def _outermost(path: tuple[str, ...], line: str) -> str:
    return path[0] if path else line.removesuffix("{").strip()


def _in_context(profile: Profile, lines: Sequence[str], redactor: Redactor) -> Iterator[str]:
    """The lines without the secrets that only what stands around them tells, each with all of its
    value as before."""
    pieces = in_context(profile, (piece for line in lines for piece in line.split("\n")), redactor)
    for line in lines:
        yield "\n".join(islice(pieces, line.count("\n") + 1))


class _Telling:
    """From changed lines to what is told of them."""

    def __init__(self, profile: Profile, redactor: Redactor, policy: Sequence[PolicyRule]) -> None:
        self._profile = profile
        self._redactor = redactor
        self._policy = policy
        self._risks = LineRisks(profile.watched)
        self._shown = cache(self._redacted)

    def section(self, change: BlockChange) -> str:
        """The path under which a line stands, or what is known of a line that stands under none."""
        where = _BETWEEN.join(map(self._shown, change.block.path))
        return where or self._profile.section(change.block.line)

    def told(self, change: BlockChange) -> ToldChange:
        """A change, redacted and in words."""
        block = change.block
        shown = self._shown(block.line)
        where = _BETWEEN.join(map(self._shown, block.path))
        place = f"{where}{_BETWEEN}{shown}" if where else shown
        said = f"'{shown}' {change.kind}"
        if change.kind == "added" and change.after is not None:
            said += f" at {change.after}"
        elif change.kind == "removed" and change.before is not None:
            said += f", which was at {change.before}"
        elif change.kind == "moved":
            shown = self._shown(change.name)
            said = f"'{shown}' {from_to(change.before, change.after)}"
        return ToldChange(
            section=self.section(change),
            kind=change.kind,
            sentence=f"{where}: {said}" if where else said,
            entry=shown,
            position_before=change.before,
            position_after=change.after,
            risks=self._risks.of(change),
            level=line_level(self._policy, self._profile.name, place),
        )

    def _redacted(self, line: str) -> str:
        """A line without its secrets, on one line, cut where it is long: the mark has a hash by
        which two that begin alike differ. A value with newlines may be a secret as a whole, and
        have some in it that are only known at a line's beginning."""
        whole = redact_line_of(self._profile, line, self._redactor)
        if "\n" in line:
            pieces = (
                redact_line_of(self._profile, piece, self._redactor) for piece in whole.split("\n")
            )
            whole = " ".join(" ".join(pieces).split())
        if len(whole) <= _LONGEST:
            return whole
        rest = cut_mark(whole, self._redactor)
        return whole[: _LONGEST - len(rest)] + rest


def _notes(found: Found, before: Canonical, after: Canonical) -> Iterator[str]:
    if found.unsure:
        yield (
            f"an incomplete text says too little: {found.unsure} "
            f"line{'s' * (found.unsure > 1)} that may only be missing there are not told as changes"
        )
    if before.cut or after.cut:
        yield "an incomplete text ends in the middle: its last line is told of in no way"
    if found.changes and is_beginning(after, before):
        yield BEGINNING
    if found.renumbered:
        one = found.renumbered == 1
        yield (
            f"{found.renumbered} {'entry has' if one else 'entries have'} another number, "
            "at the same place"
        )
    elif not found.changes and not found.unsure and not before.cut and not after.cut:
        same = before.text == after.text
        yield "nothing changed in meaning" if same else "only the order of lines changed"
