"""`projections`: how the read models stand, building them anew, and checking them."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from adapters.cli.arguments import Json
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.session import Need, session
from adapters.cli.tables import cell, table
from adapters.http.lag import Lag, judge, read_lags
from adapters.settings import Settings
from projections import ALL
from projections.belonging import check_live
from projections.lease import held
from projections.projection import Projection
from projections.verify import Verified, verify
from projections.writer import lease_name

LOOK_SECONDS = 0.2
_NUMBERS = ("POSITION", "LAG", "AGE", "PARKED", "WAITING")


def projection_named(name: str) -> Projection[Any]:
    """The projection of that name; wrong usage when there is none."""
    for projection in ALL:
        if projection.name == name:
            return projection
    names = ", ".join(one.name for one in ALL)
    raise typer.BadParameter(f"must be one of {names}")


Name = Annotated[
    Any, typer.Argument(metavar="NAME", parser=projection_named, help="The read model.")
]


class StatusOut(BaseModel):
    """A read model. `lag_seconds`: the age of the oldest event that it lacks; `reason`: why it is
    not well, None when it is; `held`: events that wait behind parked ones of their device."""

    name: str
    version: int
    live_version: int | None
    position: int
    stream_head: int
    lag_events: int
    lag_seconds: float
    active: bool
    parked: int
    held: int
    rebuild_position: int | None
    rebuild_error: str | None
    reason: str | None


class DifferenceOut(BaseModel):
    """A row that is `missing`, too much (`extra`) or `differs`, by its primary key."""

    table: str
    kind: str
    key: dict[str, str]


class VerifiedOut(BaseModel):
    """What came of the comparison at `position`; `total` counts all differences."""

    projection: str
    position: int
    rows: int
    total: int
    differences: list[DifferenceOut]


async def status(settings: Settings, *, as_json: Json = False) -> int:
    """Show how far the read models are, against the stream as it is now, and how they are.

    The exit status is 1 when one is not well.
    """
    async with session(settings, Need.NOTHING) as opened:
        lags = await read_lags(opened.system)
        names = {one.name: lease_name(one) for one in ALL}
        active = await held(opened.system.pool, names.values())
        found = [
            _status(lag, active=names[lag.name] in active, hosted=opened.hosts) for lag in lags
        ]
    if as_json:
        print_json(found)
    else:
        out.print(status_table(found))
        for one in found:
            if one.reason:
                err.print(harmless(one.reason), markup=False, soft_wrap=True)
    return 1 if any(one.reason for one in found) else 0


def _status(lag: Lag, *, active: bool, hosted: bool) -> StatusOut:
    reason = judge(lag)
    if reason is None and not active and not hosted:
        reason = f"nobody works on the projection {lag.name}; start configtrail up"
    return StatusOut(
        name=lag.name,
        version=lag.version,
        live_version=lag.live_version,
        position=lag.position,
        stream_head=lag.head,
        lag_events=lag.events,
        lag_seconds=lag.seconds,
        active=active,
        parked=lag.parked,
        held=lag.held,
        rebuild_position=lag.rebuild.position if lag.rebuild else None,
        rebuild_error=lag.rebuild.error if lag.rebuild else None,
        reason=reason,
    )


def status_table(found: list[StatusOut]) -> Table:
    """How the read models stand."""
    columns = ("NAME", "VERSION", "POSITION", "LAG", "AGE", "PARKED", "WAITING", "REBUILD", "STATE")
    made = table(*columns, numbers=_NUMBERS)
    for one in found:
        rebuild = "-"
        if one.rebuild_error is not None:
            rebuild = "stopped"
        elif one.rebuild_position is not None:
            rebuild = f"{100 * one.rebuild_position / max(1, one.stream_head):.0f} %"
        state = cell("ok", "green")
        if one.reason is not None:
            state = cell("not well", "red")
        elif one.parked:
            state = cell("has parked events", "yellow")
        made.add_row(
            cell(one.name),
            cell(one.live_version or "-"),
            cell(one.position),
            cell(one.lag_events),
            cell(f"{one.lag_seconds:.0f} s"),
            cell(one.parked),
            cell(one.held),
            cell(rebuild),
            state,
        )
    return made


async def verify_rows(
    settings: Settings,
    *,
    name: Name,
    limit: Annotated[int, typer.Option(min=1, help="Name at most so many rows.")] = 100,
    as_json: Json = False,
) -> int:
    """Fold the stream anew and compare the rows with the live ones, which go on meanwhile.

    The exit status is 1 when they differ.
    """
    projection: Projection[Any] = name
    async with session(settings, Need.READ_MODELS_AS_THEY_ARE) as opened:
        system = opened.system
        await check_live(system.pool, system.source, projection.name)
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=err,
            transient=True,
        ) as progress:
            bar = progress.add_task(
                f"verifying {projection.name}", total=await system.source.head()
            )
            found = await verify(
                system.pool,
                system.source,
                projection,
                limit=limit,
                progress=lambda position: progress.update(bar, completed=position),
            )
    if as_json:
        print_json(_verified(found))
    else:
        for one in found.differences:
            key = " ".join(f"{column}={value}" for column, value in one.key.items())
            out.print(harmless(f"{one.table}: {one.kind}: {key}"), markup=False, soft_wrap=True)
        err.print(
            f"{found.projection}: {found.total} differences in {found.rows} rows, at position "
            f"{found.position}"
        )
    return 1 if found.total else 0


def _verified(found: Verified) -> VerifiedOut:
    return VerifiedOut(
        projection=found.projection,
        position=found.position,
        rows=found.rows,
        total=found.total,
        differences=[
            DifferenceOut(table=one.table, kind=one.kind, key=one.key) for one in found.differences
        ],
    )
