"""Devices, their snapshots and their history."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from adapters.http.access import Permission, requires
from adapters.http.params import DeviceId, PageOf, TenantId, optional_moment
from adapters.reading import diff_id
from domain.errors import NotFound
from domain.events import Attribution, ChangeSummary
from projections import backups, diffs

if TYPE_CHECKING:
    from adapters.composition import System

FIRST = "First configuration"


class DeviceOut(BaseModel):
    """A device; `first_seen` and the other times are None when it was never read."""

    device_id: str
    platform: str | None
    os_version: str | None
    first_seen: datetime | None
    last_seen: datetime | None
    last_changed: datetime | None
    current_snapshot_id: str | None
    snapshots: int
    confirmations: int
    failing: bool
    last_failure_at: datetime | None
    last_failure_kind: str | None
    last_failure_message: str | None


class DevicesOut(BaseModel):
    """A page of devices, by id. `total` counts all that match."""

    items: list[DeviceOut]
    total: int
    limit: int
    offset: int


class SnapshotOut(BaseModel):
    """A recorded configuration, without its text. `text_gone`: that expired, or was shredded."""

    id: str
    device_id: str
    collected_at: datetime
    first_seen: datetime
    last_confirmed: datetime
    confirmations: int
    size_bytes: int
    line_count: int
    platform: str
    os_version: str | None
    source: str
    completeness: str
    warnings: list[str]
    late: bool
    is_current: bool
    predecessor_id: str | None
    trigger_id: str | None
    actor: str
    position: int
    version: int
    text_gone: str | None


class SnapshotsOut(BaseModel):
    """A page of snapshots, newest first."""

    items: list[SnapshotOut]
    total: int
    limit: int
    offset: int


class ValidityOut(BaseModel):
    """A stretch of time in which a snapshot held. `valid_until` None: it still does."""

    snapshot_id: str
    valid_from: datetime
    confirmed_until: datetime
    valid_until: datetime | None


class SectionOut(BaseModel):
    """Logical lines added to and removed from a section."""

    section: str
    added: int
    removed: int


class SummaryOut(BaseModel):
    """So many changes of one kind in a section, by names only: never a value."""

    section: str
    kind: str
    count: int
    properties: list[str]
    risks: list[str]
    level: str
    after_upgrade: bool


class ChangerOut(BaseModel):
    """Somebody who changed something, by the name that the device knows; null: it names nobody."""

    who: str | None
    first_at: datetime
    last_at: datetime
    actions: int
    kinds: list[str]


class AttributionOut(BaseModel):
    """Who made a change, by the device's own history: all whom that names since the reading
    before. `certainty` is known, incomplete or unknown, `reason` why it is not known."""

    certainty: str
    reason: str | None
    people: list[ChangerOut]


class HistoryOut(BaseModel):
    """One change of what the device had. `component` names the section that changed most, and
    `diff_id` is None for the first configuration and while the difference is not worked out."""

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


def snapshot_out(snapshot: backups.Snapshot) -> SnapshotOut:
    """A snapshot's row as it is answered."""
    return SnapshotOut(
        id=snapshot.snapshot_id,
        device_id=snapshot.device_id,
        collected_at=snapshot.collected_at,
        first_seen=snapshot.first_seen,
        last_confirmed=snapshot.last_confirmed,
        confirmations=snapshot.confirmations,
        size_bytes=snapshot.size_bytes,
        line_count=snapshot.line_count,
        platform=snapshot.platform,
        os_version=snapshot.os_version,
        source=snapshot.source,
        completeness=snapshot.completeness,
        warnings=list(snapshot.warnings),
        late=snapshot.late,
        is_current=snapshot.is_current,
        predecessor_id=snapshot.predecessor_id,
        trigger_id=snapshot.trigger_id,
        actor=snapshot.actor,
        position=snapshot.position,
        version=snapshot.version,
        text_gone=snapshot.text_gone,
    )


def device_out(device: backups.Device) -> DeviceOut:
    """A device's row as it is answered."""
    return DeviceOut(
        device_id=device.device_id,
        platform=device.platform,
        os_version=device.os_version,
        first_seen=device.first_seen,
        last_seen=device.last_seen,
        last_changed=device.last_changed,
        current_snapshot_id=device.current_snapshot_id,
        snapshots=device.snapshots,
        confirmations=device.confirmations,
        failing=device.failing,
        last_failure_at=device.last_failure_at,
        last_failure_kind=device.last_failure_kind,
        last_failure_message=device.last_failure_message,
    )


def history_out(entry: diffs.HistoryEntry) -> HistoryOut:
    """A change as it is answered."""
    diff = entry.diff
    previous = entry.previous_snapshot_id
    sections = diff.sections if diff else ()
    most = max(sections, key=lambda one: one.added + one.removed, default=None)
    return HistoryOut(
        id=f"{entry.snapshot_id}.{entry.collected_at.timestamp():.6f}",
        snapshot_id=entry.snapshot_id,
        component=most.section if most else "",
        summary=_summary(entry),
        created_at=entry.collected_at,
        valid_until=entry.valid_until,
        diff_id=diff_id(previous, entry.snapshot_id) if diff and previous else None,
        lines_added=diff.lines_added if diff else 0,
        lines_removed=diff.lines_removed if diff else 0,
        sections=[
            SectionOut(section=one.section, added=one.added, removed=one.removed)
            for one in sections
        ],
        changes=[summary_out(one) for one in diff.summaries] if diff else [],
        changes_more=diff.summaries_more if diff else 0,
        coarse=diff.coarse if diff else False,
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
    if entry.diff is None:
        return "Changed; the difference is being worked out"
    names = [one.section for one in entry.diff.sections[:3]]
    more = len(entry.diff.sections) - len(names)
    where = f" in {', '.join(names)}" if names else ""
    rest = f" and {more} more" if more else ""
    return f"+{entry.diff.lines_added} -{entry.diff.lines_removed} lines{where}{rest}"


async def require_device(system: System, tenant: str, device: str) -> backups.Device:
    """The device, or `NotFound`."""
    found = await backups.get_device(system.rows_of(tenant), tenant, device)
    if found is None:
        raise NotFound("device", device)
    return found


def router(system: System) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter(prefix="/api/tenants/{tenant}/devices", tags=["devices"])

    @routes.get("", dependencies=[requires(Permission.READ)])
    async def list_devices(
        tenant: TenantId,
        page: PageOf,
        search: Annotated[str | None, Query(max_length=128)] = None,
        not_seen_since: str | None = None,
    ) -> DevicesOut:
        since = optional_moment(not_seen_since, "not_seen_since")
        text = _searchable(search)
        found = await backups.list_devices(
            system.rows_of(tenant),
            tenant,
            limit=page.limit,
            offset=page.offset,
            search=text,
            not_seen_since=since,
        )
        total = await backups.count_devices(
            system.rows_of(tenant), tenant, search=text, not_seen_since=since
        )
        if not total and not await backups.count_devices(system.rows_of(tenant), tenant):
            raise NotFound("tenant", tenant)
        items = [device_out(one) for one in found]
        return DevicesOut(items=items, total=total, limit=page.limit, offset=page.offset)

    @routes.get("/{device:path}/snapshots", dependencies=[requires(Permission.READ)])
    async def list_snapshots(tenant: TenantId, device: DeviceId, page: PageOf) -> SnapshotsOut:
        known = await require_device(system, tenant, device)
        found = await backups.list_snapshots(
            system.rows_of(tenant), tenant, device, limit=page.limit, offset=page.offset
        )
        return SnapshotsOut(
            items=[snapshot_out(one) for one in found],
            total=known.snapshots,
            limit=page.limit,
            offset=page.offset,
        )

    @routes.get("/{device:path}/validity", dependencies=[requires(Permission.READ)])
    async def list_validity(tenant: TenantId, device: DeviceId, page: PageOf) -> list[ValidityOut]:
        await require_device(system, tenant, device)
        found = await backups.validity(
            system.rows_of(tenant), tenant, device, limit=page.limit, offset=page.offset
        )
        return [
            ValidityOut(
                snapshot_id=one.snapshot_id,
                valid_from=one.valid_from,
                confirmed_until=one.confirmed_until,
                valid_until=one.valid_until,
            )
            for one in found
        ]

    @routes.get("/{device:path}/config-history", dependencies=[requires(Permission.READ)])
    async def list_history(
        tenant: TenantId,
        device: DeviceId,
        page: PageOf,
        section: Annotated[str | None, Query(max_length=200)] = None,
    ) -> list[HistoryOut]:
        await require_device(system, tenant, device)
        found = await diffs.config_history(
            system.rows_of(tenant),
            tenant,
            device,
            limit=page.limit,
            offset=page.offset,
            section=_searchable(section),
        )
        return [history_out(one) for one in found]

    return routes


def device_router(system: System) -> APIRouter:
    """The route of one device: its address is the beginning of all others, so it comes last."""
    routes = APIRouter(prefix="/api/tenants/{tenant}/devices", tags=["devices"])

    @routes.get("/{device:path}", dependencies=[requires(Permission.READ)])
    async def get_device(tenant: TenantId, device: DeviceId) -> DeviceOut:
        return device_out(await require_device(system, tenant, device))

    return routes


def _searchable(text: str | None) -> str | None:
    """Text that Postgres can take: it can't hold NUL, so nothing there has one."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}") if text else None
