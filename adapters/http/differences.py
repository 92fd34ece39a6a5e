"""Differences between configurations: as text, in words, and for machines."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response

from adapters.http.access import Permission, requires
from adapters.http.answers import answered, answered_model
from adapters.http.described import AS_DIFF
from adapters.http.history import AttributionOut, SectionOut, attribution_out
from adapters.http.params import DeviceId, SnapshotId, TenantId, check_snapshot_id
from adapters.http.representations import DIFF, JSON, TEXT, NotAcceptable, accepted
from adapters.http.revealing import Reveal, Why, allow, recorded
from adapters.http.shown import Out
from adapters.reading import DiffText
from domain.ids import check_device_id
from domain.semantic.told import ToldChange, ToldDiff

if TYPE_CHECKING:
    from adapters.composition import System


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


def in_words(told: ToldDiff) -> str:
    """The changes, a line each, with why they deserve a look; not those that the policy ignores."""
    lines = [
        f"{one.sentence} [{', '.join(one.tags)}]" if one.tags else one.sentence
        for one in told.shown
    ]
    return "".join(f"{line}\n" for line in (*lines, *told.notes, *told.not_shown))


def router(system: System) -> APIRouter:
    """The routes of this module; they come before those of texts, whose addresses hold an id."""
    routes = APIRouter(
        prefix="/api/tenants/{tenant}", tags=["config"], dependencies=[requires(Permission.READ)]
    )
    device_prefix = "/devices/{device:path}"

    async def diff_answer(
        request: Request, diff: DiffText, reveal: bool, reason: str | None
    ) -> Response:
        form = accepted(request, (JSON, DIFF, TEXT))
        shown = diff if reveal else await system.reading.redacted_diff(diff)
        if form == TEXT and shown.told is None:
            raise NotAcceptable((JSON, DIFF))
        if reveal:
            # Once it is sure that there is something to show.
            await recorded(system, request, reason, diff.to_snapshot, diff.from_snapshot)
        if form == DIFF:
            return answered(request, shown.patch, DIFF)
        if form == TEXT and shown.told is not None:
            return answered(request, in_words(shown.told), TEXT)
        return answered_model(request, diff_out(shown, redacted=not reveal))

    @routes.get(f"{device_prefix}/config/compare", response_model=DiffOut, responses=AS_DIFF)
    async def compare(
        request: Request,
        tenant: TenantId,
        device: DeviceId,
        from_id: Annotated[str, Query(alias="from")],
        to_id: Annotated[str, Query(alias="to")],
        reveal: Reveal = False,
        reason: Why = None,
    ) -> Response:
        """Any two snapshots of a device, compared."""
        before = check_snapshot_id(from_id, "from")
        after = check_snapshot_id(to_id, "to")
        allow(request, reveal, reason)
        found = await system.reading.compare(tenant, device, before, after)
        return await diff_answer(request, found, reveal, reason)

    @routes.get("/compare", response_model=DiffOut, responses=AS_DIFF)
    async def compare_devices(
        request: Request,
        tenant: TenantId,
        from_device: str,
        from_id: Annotated[str, Query(alias="from")],
        to_device: str,
        to_id: Annotated[str, Query(alias="to")],
        reveal: Reveal = False,
        reason: Why = None,
    ) -> Response:
        """Any two snapshots of the tenant's devices, compared."""
        allow(request, reveal, reason)
        found = await system.reading.compare_across(
            tenant,
            check_device_id(from_device, "from_device"),
            check_snapshot_id(from_id, "from"),
            check_device_id(to_device, "to_device"),
            check_snapshot_id(to_id, "to"),
        )
        return await diff_answer(request, found, reveal, reason)

    @routes.get(
        f"{device_prefix}/config/{{snapshot_id}}/diff", response_model=DiffOut, responses=AS_DIFF
    )
    async def diff(
        request: Request,
        tenant: TenantId,
        device: DeviceId,
        snapshot_id: SnapshotId,
        reveal: Reveal = False,
        reason: Why = None,
    ) -> Response:
        """What led to a snapshot: the difference from what held before it."""
        allow(request, reveal, reason)
        found = await system.reading.diff(tenant, device, snapshot_id)
        return await diff_answer(request, found, reveal, reason)

    return routes
