"""A difference between configurations, as it is shown."""

from __future__ import annotations

from datetime import datetime

from adapters.reading import DiffText
from adapters.shapes.history import AttributionOut, SectionOut, attribution_out
from adapters.shapes.out import Out
from domain.semantic.told import ToldChange


class RiskOut(Out):
    """Why a change deserves a look."""

    tag: str
    reason: str


class PropertyOut(Out):
    """A property that changed, secrets as keyed hashes; of a set also the members that differ."""

    name: str
    before: str | None
    after: str | None
    gone: list[str]
    new: list[str]


class ChangeOut(Out):
    """One change of one entry, in a sentence and for machines."""

    section: str
    kind: str
    sentence: str
    entry: str
    properties: list[PropertyOut]
    position_before: int | None
    position_after: int | None
    risks: list[RiskOut]
    level: str
    after_upgrade: bool


class DiffOut(Out):
    """A unified diff, and the changes in words. `recorded` False: worked out for this answer.

    `changes` never hold secrets; `redacted`: neither does `diff_text`. They are
    None where there is no comparison of meaning. `notes` say what is not told as a change, and
    `changes_more` counts changes beyond the bound. `upgrade`: another version of the system.
    """

    id: str
    diff_text: str
    lines_added: int
    lines_removed: int
    old_device_id: str
    new_device_id: str
    old_snapshot_id: str
    new_snapshot_id: str
    old_collected_at: datetime
    new_collected_at: datetime
    created_at: datetime
    coarse: bool
    recorded: bool
    redacted: bool
    sections: list[SectionOut]
    changes: list[ChangeOut] | None
    changes_more: int
    notes: list[str]
    upgrade: str | None
    changed_by: AttributionOut | None


def diff_out(diff: DiffText, *, redacted: bool = False) -> DiffOut:
    """A difference as it is answered."""
    told = diff.told
    return DiffOut(
        id=diff.diff_id,
        diff_text=diff.patch.decode(),
        lines_added=diff.lines_added,
        lines_removed=diff.lines_removed,
        old_device_id=diff.from_snapshot.device_id,
        new_device_id=diff.to_snapshot.device_id,
        old_snapshot_id=diff.from_snapshot.snapshot_id,
        new_snapshot_id=diff.to_snapshot.snapshot_id,
        old_collected_at=diff.from_snapshot.collected_at,
        new_collected_at=diff.to_snapshot.collected_at,
        created_at=diff.recorded_at or diff.to_snapshot.collected_at,
        coarse=diff.coarse,
        recorded=diff.recorded_at is not None,
        redacted=redacted,
        changes=None if told is None else [change_out(one) for one in told.changes],
        changes_more=told.more if told else 0,
        notes=list(told.notes) if told else [],
        upgrade=told.upgrade if told else None,
        changed_by=attribution_out(diff.changed_by),
        sections=[
            SectionOut(section=one.section, added=one.added, removed=one.removed)
            for one in diff.sections
        ],
    )


def change_out(one: ToldChange) -> ChangeOut:
    """A change as it is answered."""
    return ChangeOut(
        section=one.section,
        kind=one.kind,
        sentence=one.sentence,
        entry=one.entry,
        properties=[
            PropertyOut(
                name=each.name,
                before=each.before,
                after=each.after,
                gone=list(each.gone),
                new=list(each.new),
            )
            for each in one.properties
        ],
        position_before=one.position_before,
        position_after=one.position_after,
        risks=[RiskOut(tag=risk.tag, reason=risk.reason) for risk in one.risks],
        level=one.level,
        after_upgrade=one.after_upgrade,
    )
