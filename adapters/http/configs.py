"""Configuration texts and their differences."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from adapters.access.revealing import record_reveal
from adapters.http.access import Permission, may, principal_of, remote_address, requires
from adapters.http.devices import AttributionOut, SectionOut, attribution_out
from adapters.http.params import DeviceId, SnapshotId, TenantId, check_snapshot_id, moment
from adapters.reading import ConfigText, DiffText
from domain.semantic.told import ToldChange
from projections.backups import Snapshot

if TYPE_CHECKING:
    from adapters.composition import System


Reveal = Annotated[
    bool, Query(description="show secrets as they are, which is recorded; else as keyed hashes")
]


class ConfigOut(BaseModel):
    """A configuration as it was collected. `sha256_hash` is that of `config_text` in UTF-8.

    `redacted`: secrets in it are keyed hashes; False only when they were asked for by `reveal`.
    """

    id: str
    device_id: str
    config_text: str
    sha256_hash: str
    collected_at: datetime
    last_confirmed: datetime
    size_bytes: int
    line_count: int
    platform: str
    os_version: str | None
    source: str
    completeness: str
    warnings: list[str]
    is_current: bool
    redacted: bool


class RiskOut(BaseModel):
    """Why a change deserves a look."""

    tag: str
    reason: str


class PropertyOut(BaseModel):
    """A property that changed, secrets as keyed hashes; of a set also the members that differ."""

    name: str
    before: str | None
    after: str | None
    gone: list[str]
    new: list[str]


class ChangeOut(BaseModel):
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


class DiffOut(BaseModel):
    """A unified diff, and the changes in words. `recorded` False: worked out for this answer.

    `changes` never hold secrets; `redacted`: neither does `diff_text`. They are
    None where there is no comparison of meaning. `notes` say what is not told as a change, and
    `changes_more` counts changes beyond the bound. `upgrade`: another version of the system.
    """

    id: str
    diff_text: str
    lines_added: int
    lines_removed: int
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


def config_out(config: ConfigText, *, redacted: bool = False) -> ConfigOut:
    """A text as it is answered."""
    snapshot = config.snapshot
    return ConfigOut(
        id=snapshot.snapshot_id,
        device_id=snapshot.device_id,
        config_text=config.text.decode(),
        sha256_hash=config.sha256_hash,
        collected_at=snapshot.collected_at,
        last_confirmed=snapshot.last_confirmed,
        size_bytes=snapshot.size_bytes,
        line_count=snapshot.line_count,
        platform=snapshot.platform,
        os_version=snapshot.os_version,
        source=snapshot.source,
        completeness=snapshot.completeness,
        warnings=list(snapshot.warnings),
        is_current=snapshot.is_current,
        redacted=redacted,
    )


def diff_out(diff: DiffText, *, redacted: bool = False) -> DiffOut:
    """A difference as it is answered."""
    told = diff.told
    return DiffOut(
        id=diff.diff_id,
        diff_text=diff.patch.decode(),
        lines_added=diff.lines_added,
        lines_removed=diff.lines_removed,
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


def router(system: System) -> APIRouter:
    """The routes of this module. The fixed addresses come before those with an id."""
    routes = APIRouter(prefix="/api/tenants/{tenant}/devices/{device:path}", tags=["config"])

    async def config_answer(request: Request, config: ConfigText, reveal: bool) -> ConfigOut:
        if not reveal:
            return config_out(await system.reading.redacted_text(config), redacted=True)
        await _recorded(system, request, config.snapshot)
        return config_out(config)

    async def diff_answer(request: Request, diff: DiffText, reveal: bool) -> DiffOut:
        if not reveal:
            return diff_out(await system.reading.redacted_diff(diff), redacted=True)
        await _recorded(system, request, diff.to_snapshot, diff.from_snapshot.snapshot_id)
        return diff_out(diff)

    @routes.get("/config/at", dependencies=[requires(Permission.READ)])
    async def config_at(
        tenant: TenantId, device: DeviceId, request: Request, time: str, reveal: Reveal = False
    ) -> ConfigOut:
        allow(request, reveal)
        found = await system.reading.config_at(tenant, device, moment(time, "time"))
        return await config_answer(request, found, reveal)

    @routes.get("/config/compare", dependencies=[requires(Permission.READ)])
    async def compare(
        tenant: TenantId,
        device: DeviceId,
        request: Request,
        from_id: Annotated[str, Query(alias="from")],
        to_id: Annotated[str, Query(alias="to")],
        reveal: Reveal = False,
    ) -> DiffOut:
        allow(request, reveal)
        before = check_snapshot_id(from_id, "from")
        after = check_snapshot_id(to_id, "to")
        found = await system.reading.compare(tenant, device, before, after)
        return await diff_answer(request, found, reveal)

    @routes.get("/config/{snapshot_id}/diff", dependencies=[requires(Permission.READ)])
    async def diff(
        tenant: TenantId,
        device: DeviceId,
        snapshot_id: SnapshotId,
        request: Request,
        reveal: Reveal = False,
    ) -> DiffOut:
        allow(request, reveal)
        found = await system.reading.diff(tenant, device, snapshot_id)
        return await diff_answer(request, found, reveal)

    @routes.get("/config/{snapshot_id}", dependencies=[requires(Permission.READ)])
    async def config(
        tenant: TenantId,
        device: DeviceId,
        snapshot_id: SnapshotId,
        request: Request,
        reveal: Reveal = False,
    ) -> ConfigOut:
        allow(request, reveal)
        found = await system.reading.config_text(tenant, device, snapshot_id)
        return await config_answer(request, found, reveal)

    return routes


def allow(request: Request, reveal: bool) -> None:
    """Raise when secrets are asked for and whoever asks may not see them."""
    if reveal:
        may(request, Permission.REVEAL)


async def _recorded(
    system: System, request: Request, snapshot: Snapshot, before: str | None = None
) -> None:
    """Record that secrets are about to be shown. Raises when that can't be: then they are not."""
    principal = principal_of(request)
    assert principal is not None
    await record_reveal(
        system.devices,
        snapshot.tenant_id,
        snapshot.device_id,
        snapshot.snapshot_id,
        principal=principal,
        remote_address=remote_address(request),
        from_snapshot_id=before,
    )
