"""What a timeline says of a change, by names of sections and counts only; and what of that never
changes, as it stands ready in the rows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from domain.events import ChangeSummary, DiffGenerated, SectionChange

FIRST = "First configuration"
COMPARING = "Changed; the difference is being worked out"
# Behind the counts, and at the end. A menu that is missing from either text is compared with
# nothing, in this step and the next.
OF_INCOMPLETE = " of texts of which one is incomplete"
UNTOLD = "; what changed in what an incomplete text lacks is not told"

_MOST_NAMED = 3


class ShownChange(Struct, frozen=True, gc=False):
    """A `ChangeSummary` with all its fields."""

    section: str
    kind: str
    count: int
    properties: tuple[str, ...]
    risks: tuple[str, ...]
    level: str
    after_upgrade: bool


class ShownDiff(Struct, frozen=True, gc=False):
    """The fields of a change that are its difference's own, in the order of what is shown."""

    diff_id: str | None
    lines_added: int
    lines_removed: int
    sections: tuple[SectionChange, ...]
    changes: tuple[ShownChange, ...]
    changes_more: int
    coarse: bool
    old_snapshot_id: str | None


class Told(Struct, frozen=True, gc=False):
    """What a change is told by, before what is its difference's own."""

    snapshot_id: str
    component: str
    summary: str


def places_of(sections: Sequence[SectionChange], summaries: Sequence[ChangeSummary]) -> list[str]:
    """The sections whose lines were counted. Where there are none, as when lines were only moved,
    those of the changes in words."""
    return list({one.section: None for one in sections or summaries})


def component_of(sections: Sequence[SectionChange], summaries: Sequence[ChangeSummary]) -> str:
    """The section that changed most; where lines were only moved, the first one."""
    component, most = "", -1
    for one in sections:
        lines = one.added + one.removed
        if lines > most:
            component, most = one.section, lines
    return component if sections else next(iter(places_of(sections, summaries)), "")


def where_of(sections: Sequence[SectionChange], summaries: Sequence[ChangeSummary]) -> str:
    """In which sections something changed, as it stands behind the counts; empty where there is
    none to name."""
    places = places_of(sections, summaries)
    if not places:
        return ""
    where = f" in {', '.join([one or 'no section' for one in places[:_MOST_NAMED]])}"
    more = len(places) - _MOST_NAMED
    return f"{where} and {more} more" if more > 0 else where


def summary_of(added: int, removed: int, where: str, *, of_incomplete: bool) -> str:
    """What changed in a line. `where` is what `where_of` tells."""
    lines = f"+{added} -{removed} lines"
    return f"{lines}{OF_INCOMPLETE}{where}{UNTOLD}" if of_incomplete else f"{lines}{where}"


def diff_id(from_snapshot_id: str, to_snapshot_id: str) -> str:
    """The id of a difference: the one of the event that tells it."""
    return f"diff.{from_snapshot_id}.{to_snapshot_id}"


def fields_of(shown: Struct) -> str:
    """The fields as they stand in a JSON object, without what is around them."""
    return msgspec.json.encode(shown).decode()[1:-1]


def told_of(event: DiffGenerated, *, of_incomplete: bool) -> str:
    """What the change that led to a difference is told by, as fields."""
    where = where_of(event.sections, event.changes)
    return fields_of(
        Told(
            event.to_snapshot_id,
            component_of(event.sections, event.changes),
            summary_of(event.lines_added, event.lines_removed, where, of_incomplete=of_incomplete),
        )
    )


def shown_of(event: DiffGenerated) -> str:
    """What is shown of a difference, as fields."""
    changes = [
        ShownChange(
            one.section,
            one.kind,
            one.count,
            one.properties,
            one.risks,
            one.level,
            one.after_upgrade,
        )
        for one in event.changes
    ]
    return fields_of(
        ShownDiff(
            diff_id=diff_id(event.from_snapshot_id, event.to_snapshot_id),
            lines_added=event.lines_added,
            lines_removed=event.lines_removed,
            sections=event.sections,
            changes=tuple(changes),
            changes_more=event.changes_more,
            coarse=event.coarse,
            old_snapshot_id=event.from_snapshot_id,
        )
    )
