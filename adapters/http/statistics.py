"""A tenant in numbers."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response

from adapters.http.access import Permission, requires
from adapters.http.answers import answered_model
from adapters.http.devices import require_tenant
from adapters.http.params import TenantId
from adapters.shapes.out import Out
from projections import backups
from projections.days import Day, list_days
from projections.fleet import count_stale

if TYPE_CHECKING:
    from adapters.composition import System

_DAY_SECONDS = 86_400


class DayOut(Out):
    """A day, in UTC: so many readings showed a new configuration, or the known one, or failed."""

    day: dt.date
    backups: int
    changed: int
    unchanged: int
    failed: int


class StatisticsOut(Out):
    """`failing` devices are those whose newest reading failed, `stale` ones have no backup since
    `stale_since` and were not taken out of the inventory; `days` are all days up to today, the
    oldest first."""

    devices: int
    snapshots: int
    confirmations: int
    failing: int
    stale: int
    stale_since: dt.datetime
    newest: dt.datetime | None
    days: list[DayOut]


def day_out(day: Day) -> DayOut:
    """A day as it is answered."""
    return DayOut(
        day=day.day,
        backups=day.changed + day.unchanged,
        changed=day.changed,
        unchanged=day.unchanged,
        failed=day.failed,
    )


def router(system: System) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter(
        prefix="/api/tenants/{tenant}", tags=["devices"], dependencies=[requires(Permission.READ)]
    )

    @routes.get("/statistics", response_model=StatisticsOut)
    async def statistics(
        request: Request,
        tenant: TenantId,
        days: Annotated[int, Query(ge=1, le=366, description="so many, up to today")] = 30,
        stale_after: Annotated[
            int,
            Query(ge=60, le=366 * _DAY_SECONDS, description="seconds without a backup"),
        ] = _DAY_SECONDS,
    ) -> Response:
        """Devices, backups a day, failures, and which share has no fresh backup."""
        # To the minute, so that what did not change has the same mark (ETag).
        now = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
        first = now.date() - dt.timedelta(days=days - 1)
        since = now - dt.timedelta(seconds=stale_after)
        async with system.rows_of(tenant).session() as rows:
            numbers = await backups.stats(rows, tenant)
            if not numbers.devices:
                require_tenant(request, tenant)
            known = {one.day: one for one in await list_days(rows, tenant, first, now.date())}
            stale = await count_stale(rows, tenant, since)
        each = [first + dt.timedelta(days=number) for number in range(days)]
        return answered_model(
            request,
            StatisticsOut(
                devices=numbers.devices,
                snapshots=numbers.snapshots,
                confirmations=numbers.confirmations,
                failing=numbers.failing,
                stale=stale,
                stale_since=since,
                newest=numbers.newest,
                days=[day_out(known.get(one) or Day(day=one)) for one in each],
            ),
        )

    return routes
