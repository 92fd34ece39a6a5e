"""What a timeline says of a change, by names of sections and counts only; and what of that never
changes, as it stands ready in the rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from msgspec import Struct
from msgspec.json import Encoder
from msgspec.structs import replace

from domain.events import ChangeSummary, DiffGenerated, SectionChange
from projections.rows import storable

FIRST = "First configuration"
COMPARING = "Changed; the difference is being worked out"
# Behind the counts, and at the end. A menu that is missing from either text is compared with
# nothing, in this step and the next.
OF_INCOMPLETE = " of texts of which one is incomplete"
UNTOLD = "; what changed in what an incomplete text lacks is not told"

_MOST_NAMED = 3
_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ENCODER = Encoder()


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


class Difference(NamedTuple):
    """What stands ready of a difference: the fields that a change is told by, up to the counts in
    its summary, which ends with `where` it is; and the fields that are the difference's own."""

    from_snapshot_id: str
    told: str
    where: str
    shown: str


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
    lines = counts_of(added, removed)
    return f"{lines}{OF_INCOMPLETE}{where}{UNTOLD}" if of_incomplete else f"{lines}{where}"


def counts_of(added: int, removed: int) -> str:
    """How much changed, as a summary begins."""
    return f"+{added} -{removed} lines"


def diff_id(from_snapshot_id: str, to_snapshot_id: str) -> str:
    """The id of a difference: the one of the event that tells it."""
    return f"diff.{from_snapshot_id}.{to_snapshot_id}"


def change_id(snapshot_id: str, moment: datetime) -> str:
    """The id of a change: what began to hold, and when, in seconds since 1970 with six digits,
    exactly: a float of a far year has fewer."""
    microseconds = (moment - _BEGIN) // _MICROSECOND
    seconds, rest = divmod(abs(microseconds), 1_000_000)
    return f"{snapshot_id}.{'-' * (microseconds < 0)}{seconds}.{rest:06d}"


def json_of(shown: object) -> str:
    """What is shown, as JSON."""
    return _ENCODER.encode(shown).decode()


def fields_of(shown: Struct) -> str:
    """The fields as they stand in a JSON object, without what is around them."""
    return json_of(shown)[1:-1]


def difference_of(event: DiffGenerated) -> Difference:
    """What is shown of a difference, as it stands in JSON."""
    event = with_storable_names(event)
    component = json_of(component_of(event.sections, event.changes))
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
    shown = ShownDiff(
        diff_id=diff_id(event.from_snapshot_id, event.to_snapshot_id),
        lines_added=event.lines_added,
        lines_removed=event.lines_removed,
        sections=event.sections,
        changes=tuple(changes),
        changes_more=event.changes_more,
        coarse=event.coarse,
        old_snapshot_id=event.from_snapshot_id,
    )
    return Difference(
        event.from_snapshot_id,
        f'"component":{component},"summary":"{counts_of(event.lines_added, event.lines_removed)}',
        json_of(where_of(event.sections, event.changes))[1:-1],
        fields_of(shown),
    )


def with_storable_names(event: DiffGenerated) -> DiffGenerated:
    """The same, its sections' names without what Postgres can't hold."""
    if "\x00" not in "".join([one.section for one in event.sections]):
        return event
    named = [replace(one, section=storable(one.section)) for one in event.sections]
    return replace(event, sections=tuple(named))
