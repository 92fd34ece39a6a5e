"""Differences between configurations: as text, in words, and for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response

from adapters.http.access import Permission, requires
from adapters.http.answers import answered, answered_model
from adapters.http.described import AS_DIFF
from adapters.http.params import DeviceId, SnapshotId, TenantId, check_snapshot_id
from adapters.http.representations import DIFF, JSON, TEXT, NotAcceptable, accepted
from adapters.http.revealing import Reveal, Why, allow, recorded
from adapters.reading import DiffText
from adapters.shapes.differences import (
    DiffOut,
    diff_out,
)
from domain.ids import check_device_id
from domain.semantic.told import ToldDiff

if TYPE_CHECKING:
    from adapters.composition import System


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
