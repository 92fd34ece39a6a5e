"""From what changed to what is told: redacted, in sentences, with risks and levels, bounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from domain.redaction.hashing import Redactor
from domain.redaction.routeros import redact_statement, redact_value
from domain.routeros.statements import Statement
from domain.routeros.strings import members, plain, printable
from domain.routeros.vocabulary import SETS
from domain.semantic.changes import Change, PropertyChange, SemanticDiff
from domain.semantic.comparing import property_changes
from domain.semantic.policy import DEFAULT, PolicyRule, level
from domain.semantic.risks import risks
from domain.semantic.sentences import called, place, sentence
from domain.semantic.told import ToldChange, ToldDiff, ToldProperty

MOST_CHANGES: Final = 5_000
MOST_CHARACTERS: Final = 8_000_000
_LONGEST_VALUE: Final = 20_000
_MOST_PLACES: Final = 3
# A text that was cut between two lines looks whole, and nothing can tell that it is not.
BEGINNING: Final = (
    "the newer text is the beginning of the older one: what is gone may have been removed, or the "
    "text was cut between two lines"
)


def tell(
    diff: SemanticDiff, redactor: Redactor, policy: Sequence[PolicyRule] = DEFAULT
) -> ToldDiff:
    """The difference, told. Beyond 5,000 changes, or 8 million characters, the rest is counted."""
    told: list[ToldChange] = []
    room = MOST_CHARACTERS
    for one in diff.changes[:MOST_CHANGES]:
        told.append(_told(one, redactor, policy, diff.outside))
        room -= sum(len(each.before or "") + len(each.after or "") for each in told[-1].properties)
        if room < 0:
            break
    return ToldDiff(
        changes=tuple(told),
        notes=tuple(_notes(diff)),
        more=len(diff.changes) - len(told),
        upgrade=" to ".join(diff.upgraded) if diff.upgraded else None,
    )


def _told(
    change: Change,
    redactor: Redactor,
    policy: Sequence[PolicyRule],
    outside: frozenset[str],
) -> ToldChange:
    entry = change.entry
    name = ""
    if entry is not None:
        name = called(change.section, redact_statement(change.section, entry, redactor))
    whole = tuple(_property(change.section, one, redactor) for one in _properties(change))
    properties = tuple(_bounded(one, redactor) for one in whole)
    return ToldChange(
        section=change.section,
        kind=change.kind,
        sentence=sentence(change, whole, name),
        entry=name,
        properties=properties,
        position_before=change.before_place.position if change.before_place else None,
        position_after=change.after_place.position if change.after_place else None,
        risks=risks(change, outside),
        level=level(policy, change.section, (one.name for one in properties), name),
        after_upgrade=change.upgrade,
    )


def _properties(change: Change) -> tuple[PropertyChange, ...]:
    """The properties that changed; of an entry that came or went, all that it has."""
    if change.kind == "moved":
        return ()
    if change.kind == "added" and change.after is not None:
        return property_changes(_nothing(change.after), change.after)
    if change.kind == "removed" and change.before is not None:
        return property_changes(change.before, _nothing(change.before))
    return change.properties


def _nothing(statement: Statement) -> Statement:
    return Statement("", statement.verb, statement.selector, ())


def _property(section: str, one: PropertyChange, redactor: Redactor) -> ToldProperty:
    """A property that changed, redacted, with all of its values."""
    before, after = (
        None if value is None else plain(redact_value(section, one.name, value, redactor))
        for value in (one.before, one.after)
    )
    gone: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    if one.name.rpartition(".")[2] in SETS and before and after:
        was, now = members(printable(before)), members(printable(after))
        gone, new = _without(was, now), _without(now, was)
        # So many are told by the size of the whole.
        if sum(map(len, (*gone, *new))) > _LONGEST_VALUE:
            gone, new = (), ()
    return ToldProperty(one.name, before, after, gone, new)


def _without(some: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    known = frozenset(others)
    return tuple(member for member in some if member not in known)


def _bounded(one: ToldProperty, redactor: Redactor) -> ToldProperty:
    return replace(one, before=_cut(one.before, redactor), after=_cut(one.after, redactor))


def _cut(value: str | None, redactor: Redactor) -> str | None:
    """A value as it is kept: of a long one its beginning, how long it is, and a hash of all of it,
    by which two that begin alike differ."""
    if value is None or len(value) <= _LONGEST_VALUE:
        return None if value is None else printable(value)
    rest = cut_mark(value, redactor)
    return printable(value[: _LONGEST_VALUE - len(rest)]) + rest


def cut_mark(value: str, redactor: Redactor) -> str:
    """What stands for the rest of a value of which only the beginning is told."""
    return f"… (cut: {len(value)} characters in all, {redactor.hidden(value)})"


def _notes(diff: SemanticDiff) -> list[str]:
    notes = [
        f"{place(section)}: {count} line{'s' * (count > 1)} written differently, "
        "the same in meaning"
        for section, count in diff.respelled
    ]
    notes += [
        f"{place(section)}: has lines that are not understood; they are compared as they are"
        for section in diff.line_based
    ]
    if diff.unknown:
        places = [place(section) for section in diff.unknown]
        more = len(places) - _MOST_PLACES
        named = ", ".join(places[:_MOST_PLACES]) + (f" and {more} menus more" if more > 0 else "")
        notes.append(
            f"{named}: an incomplete export says too little of it; what is missing there is not "
            "told as a change"
        )
    if diff.beginning and diff.changes:
        notes.append(BEGINNING)
    if not diff.changes and not notes:
        notes.append("nothing changed in meaning")
    return notes
