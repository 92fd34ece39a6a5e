"""Configuration texts and their differences."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from adapters.http.devices import SectionOut
from adapters.http.params import DeviceId, SnapshotId, TenantId, check_snapshot_id, moment
from adapters.reading import ConfigText, DiffText

if TYPE_CHECKING:
    from adapters.composition import System


class ConfigOut(BaseModel):
    """A configuration as it was collected. `sha256_hash` is that of `config_text` in UTF-8."""

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


class DiffOut(BaseModel):
    """A unified diff. `recorded` False: worked out for this answer, without `sections`."""

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
    sections: list[SectionOut]


def config_out(config: ConfigText) -> ConfigOut:
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
    )


def diff_out(diff: DiffText) -> DiffOut:
    """A difference as it is answered."""
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
        sections=[
            SectionOut(section=one.section, added=one.added, removed=one.removed)
            for one in diff.sections
        ],
    )


def router(system: System) -> APIRouter:
    """The routes of this module. The fixed addresses come before those with an id."""
    routes = APIRouter(prefix="/api/tenants/{tenant}/devices/{device:path}", tags=["config"])

    @routes.get("/config/at")
    async def config_at(tenant: TenantId, device: DeviceId, time: str) -> ConfigOut:
        found = await system.reading.config_at(tenant, device, moment(time, "time"))
        return config_out(found)

    @routes.get("/config/compare")
    async def compare(
        tenant: TenantId,
        device: DeviceId,
        from_id: Annotated[str, Query(alias="from")],
        to_id: Annotated[str, Query(alias="to")],
    ) -> DiffOut:
        before = check_snapshot_id(from_id, "from")
        after = check_snapshot_id(to_id, "to")
        return diff_out(await system.reading.compare(tenant, device, before, after))

    @routes.get("/config/{snapshot_id}/diff")
    async def diff(tenant: TenantId, device: DeviceId, snapshot_id: SnapshotId) -> DiffOut:
        return diff_out(await system.reading.diff(tenant, device, snapshot_id))

    @routes.get("/config/{snapshot_id}")
    async def config(tenant: TenantId, device: DeviceId, snapshot_id: SnapshotId) -> ConfigOut:
        return config_out(await system.reading.config_text(tenant, device, snapshot_id))

    return routes
