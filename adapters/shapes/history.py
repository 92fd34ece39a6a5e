"""A change of what a device had, by names only, as it is shown."""

from __future__ import annotations

from datetime import datetime

from adapters.shapes.out import Out
from domain.events import Attribution, ChangeSummary
from projections import diffs
from projections.words import (
    COMPARING,
    FIRST,
    UNTOLD,
    change_id,
    component_of,
    diff_id,
    summary_of,
    where_of,
)

# Nothing was counted, as there is nothing yet that was compared.
_NO_DIFF = diffs.HistoryDiff(0, 0, False, 0, (), (), 0, None, None)


class SectionOut(Out):
    """Logical lines added to and removed from a section."""

    section: str
    added: int
    removed: int


class SummaryOut(Out):
    """So many changes of one kind in a section, by names only: never a value."""

    section: str
    kind: str
    count: int
    properties: list[str]
    risks: list[str]
    level: str
    after_upgrade: bool


class ChangerOut(Out):
    """Somebody who changed something, by the name that the device knows; null: it names nobody."""

    who: str | None
    first_at: datetime
    last_at: datetime
    actions: int
    kinds: list[str]


class AttributionOut(Out):
    """Who made a change, by the device's own history: all whom that names since the reading
    before. `certainty` is known, incomplete or unknown, `reason` why it is not known."""

    certainty: str
    reason: str | None
    people: list[ChangerOut]


class HistoryOut(Out):
    """One change of what the device had. `component` names the section that changed most (where
    lines were only moved, the first one in `changes`), and `diff_id` is None for the first
    configuration and while the difference is not worked out."""

    id: str
    snapshot_id: str
    component: str
    summary: str
    created_at: datetime
    valid_until: datetime | None
    diff_id: str | None
    lines_added: int
    lines_removed: int
    sections: list[SectionOut]
    changes: list[SummaryOut]
    changes_more: int
    coarse: bool
    old_snapshot_id: str | None
    returned: bool
    late: bool
    completeness: str
    warnings: list[str]
    source: str
    actor: str
    asked_by: str | None
    changed_by: AttributionOut | None
    trigger_id: str | None
    size_bytes: int
    line_count: int
    position: int


def history_out(entry: diffs.HistoryEntry) -> HistoryOut:
    """A change as it is answered."""
    diff = entry.diff or _NO_DIFF
    previous = entry.previous_snapshot_id
    return HistoryOut(
        id=change_id(entry.snapshot_id, entry.collected_at),
        snapshot_id=entry.snapshot_id,
        component=component_of(diff.sections, diff.summaries),
        summary=_summary(entry),
        created_at=entry.collected_at,
        valid_until=entry.valid_until,
        diff_id=diff_id(previous, entry.snapshot_id) if entry.diff and previous else None,
        lines_added=diff.lines_added,
        lines_removed=diff.lines_removed,
        sections=[SectionOut(one.section, one.added, one.removed) for one in diff.sections],
        changes=[summary_out(one) for one in diff.summaries],
        changes_more=diff.summaries_more,
        coarse=diff.coarse,
        old_snapshot_id=previous,
        returned=entry.returned,
        late=entry.late,
        completeness=entry.completeness,
        warnings=list(entry.warnings),
        source=entry.source,
        actor=entry.actor,
        asked_by=entry.asked_by,
        changed_by=attribution_out(entry.changed_by),
        trigger_id=entry.trigger_id,
        size_bytes=entry.size_bytes,
        line_count=entry.line_count,
        position=entry.position,
    )


def attribution_out(found: Attribution | None) -> AttributionOut | None:
    """Who made a change, as it is answered."""
    if found is None:
        return None
    return AttributionOut(
        certainty=found.certainty,
        reason=found.reason,
        people=[
            ChangerOut(
                who=one.who,
                first_at=one.first_at,
                last_at=one.last_at,
                actions=one.actions,
                kinds=list(one.kinds),
            )
            for one in found.people
        ],
    )


def summary_out(one: ChangeSummary) -> SummaryOut:
    """A summary of changes as it is answered."""
    return SummaryOut(
        section=one.section,
        kind=one.kind,
        count=one.count,
        properties=list(one.properties),
        risks=list(one.risks),
        level=one.level,
        after_upgrade=one.after_upgrade,
    )


def _summary(entry: diffs.HistoryEntry) -> str:
    """What changed in a line, from counts and names of sections only."""
    if entry.previous_snapshot_id is None:
        return FIRST
    diff = entry.diff
    if diff is None:
        return COMPARING
    where = where_of(diff.sections, diff.summaries)
    return summary_of(
        diff.lines_added, diff.lines_removed, where, of_incomplete=entry.of_incomplete
    )


def untold(entry: diffs.HistoryEntry) -> str:
    """That there may be changes which are told nowhere, since one of the texts is incomplete."""
    return UNTOLD if entry.of_incomplete and entry.diff is not None else ""
