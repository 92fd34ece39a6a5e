"""`projections parked`: events that a read model can't take in; trying them again, and skipping."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from adapters.cli.arguments import Json, Limit, Position
from adapters.cli.backup import whoami
from adapters.cli.console import err, out, print_json
from adapters.cli.projections import Name, projection_named
from adapters.cli.session import Need, session
from adapters.cli.tables import cell, table, when
from adapters.settings import Settings
from adapters.skipping import parked_at, skip
from projections import parking
from projections.projection import Projection
from projections.retrying import retry


class ParkedOut(BaseModel):
    """A parked event. `error` None: it waits for an earlier one of its device."""

    projection: str
    position: int
    tenant_id: str
    device_id: str
    event_id: str
    type_name: str
    error: str | None
    attempts: int
    parked_at: datetime


async def list_parked(
    settings: Settings,
    *,
    name: Annotated[
        Any, typer.Option("--projection", parser=projection_named, help="Only of this one.")
    ] = None,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Also what waits behind them, of the same devices.")
    ] = False,
    limit: Limit = 100,
    as_json: Json = False,
) -> int:
    """List events that a read model can't take in, and why. Of all tenants."""
    async with session(settings, Need.READ_MODELS_AS_THEY_ARE) as opened:
        found = await parking.listed(
            opened.system.pool, name.name if name else None, waiting=waiting, limit=limit
        )
        counts = await parking.counts(opened.system.pool)
    if as_json:
        print_json(
            [ParkedOut(**{f: getattr(one, f) for f in ParkedOut.model_fields}) for one in found]
        )
        return 0
    if found:
        made = table(
            "PROJECTION",
            "POSITION",
            "TENANT",
            "DEVICE",
            "EVENT",
            "SINCE",
            "TRIED",
            "ERROR",
            numbers=("POSITION", "TRIED"),
        )
        for one in found:
            made.add_row(
                cell(one.projection),
                cell(one.position),
                cell(one.tenant_id),
                cell(one.device_id),
                cell(one.type_name),
                cell(when(one.parked_at)),
                cell(one.attempts),
                cell(one.error or "waits for an earlier one of its device"),
            )
        out.print(made)
    parked, held = (sum(getattr(one, f) for one in counts.values()) for f in ("parked", "held"))
    err.print(f"{parked} parked, {held} waiting behind them")
    return 0


async def retry_parked(settings: Settings, *, name: Name, position: Position) -> int:
    """Try a parked event again, and then those of its device that wait for it."""
    projection: Projection[Any] = name
    async with session(settings, Need.READ_MODELS_AS_THEY_ARE) as opened:
        system = opened.system
        found = await parked_at(system, projection, position)
        device = (found.tenant_id, found.device_id)
        done = await retry(system.pool, system.source, projection, device)
    _tell(done.done, done.left)
    return 1 if done.left else 0


async def skip_parked(
    settings: Settings,
    *,
    name: Name,
    position: Position,
    reason: Annotated[str | None, typer.Option(help="For the audit trail.")] = None,
) -> int:
    """Let the read model go on without a parked event. That is recorded, as an event of its
    device, and holds for every later rebuild."""
    projection: Projection[Any] = name
    async with session(settings, Need.READ_MODELS_AS_THEY_ARE) as opened:
        done = await skip(opened.system, projection, position, actor=whoami(), reason=reason)
    err.print(f"{projection.name}: goes on without event {position}; that is recorded")
    if done.rebuild:
        err.print("the rebuild that had stopped for it goes on; `status` tells how far it is")
    if done.done or done.left:
        _tell(done.done, done.left)
    return 1 if done.left and not done.rebuild else 0


def _tell(done: int, left: int) -> None:
    err.print(f"{done} events came in or were skipped, {left} stay parked")
