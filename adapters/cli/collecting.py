"""`collect`: read devices, once. `collector`: again and again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from adapters.cli.arguments import Json
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.inventory import tell_left_out
from adapters.cli.session import PROJECTED_SECONDS, Need, projected, session
from adapters.cli.tables import SHORT_ID, cell, table
from adapters.collecting.files import read_inventory
from adapters.collecting.once import GOOD, Result, collect_once
from adapters.collecting.registered import registered_inventory
from adapters.composition import collecting_roles
from adapters.embedded.runtime import running
from adapters.roles import supervisor
from adapters.roles.key_watch import KeyWatch
from adapters.settings import Settings
from adapters.settling import settle_memory
from domain.errors import EventsUnread, InvalidInput
from domain.fields import JUMP_PLATFORM
from domain.ids import check_device_id

InventoryFile = Annotated[
    Path | None,
    typer.Option(
        "--inventory",
        metavar="FILE",
        help="Devices of this file (.yaml, .csv, router.db), instead of the registered ones.",
    ),
]


AtOnce = Annotated[int | None, typer.Option(min=1, max=1000, help="Devices read at the same time.")]


class ResultOut(BaseModel):
    """What came of one device."""

    device_id: str
    outcome: str
    kind: str | None
    message: str | None
    size_bytes: int | None
    seconds: float | None
    snapshot_id: str | None


async def collect(
    settings: Settings,
    *,
    device: Annotated[
        list[str] | None, typer.Argument(metavar="[DEVICE]...", help="Only these.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Once, now, and then end.")] = False,
    inventory: InventoryFile = None,
    at_once: AtOnce = None,
    as_json: Json = False,
) -> int:
    """Read every device of the inventory over SSH and record what it has.

    The exit status is 1 when a device could not be read.
    """
    if not once:
        raise typer.BadParameter("say --once; `configtrail collector` collects on a schedule")
    only = frozenset(check_device_id(one) for one in device or ())
    given, left_out = None, dict[str, str]()
    if inventory is not None:
        given = {one.device_id: one.settings for one in read_inventory(inventory)}
    async with session(settings, Need.EVERYTHING) as opened:
        system = opened.system
        collector = system.collecting
        if given is None:
            registered = await registered_inventory(system.nc, system.js, settings.tenant)
            given, left_out = registered.settings(), registered.unread()
            tell_left_out(registered)
        else:
            collector = collector.trusting()
        for name in sorted(only & left_out.keys()):
            raise EventsUnread(f"how {name} is to be read", {name: left_out[name]})
        for name in sorted(only - given.keys()):
            raise InvalidInput("device", f"{name} is not in the inventory")
        for name in sorted(only):
            if given[name].platform == JUMP_PLATFORM:
                raise InvalidInput("device", f"{name} is a jump host, which is never read itself")
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=err,
            transient=True,
        ) as progress:
            total = len(only or given)
            bars = {
                name: progress.add_task(name, total=total) for name in ("collected", "recorded")
            }
            results = await collect_once(
                system,
                collector,
                settings.tenant,
                given,
                only=only,
                at_once=at_once or settings.collect_at_once,
                told=lambda stage, number: progress.update(bars[stage], completed=number),
                registered=inventory is None,
            )
        await projected(system, await system.events.head(), PROJECTED_SECONDS)
    _show(results, as_json=as_json)
    missed = left_out and not only
    return 0 if not missed and all(one.outcome in GOOD for one in results) else 1


async def collector(settings: Settings, *, at_once: AtOnce = None) -> int:
    """Run one more collector: it works on the registered inventory beside any others, until it is
    stopped. `configtrail up` has one already.
    """
    settings = settings.model_copy(update={"collect_at_once": at_once} if at_once else {})
    if settings.nats_url is None and await running(settings.data_dir) is None:
        raise InvalidInput(
            "CONFIGTRAIL_NATS_URL", "must name the servers of a running configtrail up"
        )
    async with session(settings, Need.NOTHING) as opened:
        err.print("collecting; Ctrl-C stops it", markup=False)
        watching = {"key watch": KeyWatch(opened.system.keyring).run}
        async with supervisor.running(collecting_roles(opened.system) | watching):
            settle_memory()
            await asyncio.Event().wait()
    return 0


def _show(results: list[Result], *, as_json: bool) -> None:
    if as_json:
        names = ResultOut.model_fields
        print_json([ResultOut(**{name: getattr(one, name) for name in names}) for one in results])
        return
    if results:
        out.print(results_table(results))
    counts = {name: sum(one.outcome == name for one in results) for name in (*GOOD, "failed")}
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    err.print(harmless(f"{len(results)} devices: {told or 'none'}"), markup=False)


def results_table(results: list[Result]) -> Table:
    """What came of each device."""
    made = table("DEVICE", "RESULT", "BYTES", "SECONDS", "SNAPSHOT", "REASON")
    for one in results:
        good = one.outcome in GOOD
        made.add_row(
            cell(one.device_id),
            cell(one.outcome if one.kind is None else one.kind, "green" if good else "red"),
            cell("-" if one.size_bytes is None else one.size_bytes),
            cell("-" if one.seconds is None else f"{one.seconds:.2f}"),
            cell((one.snapshot_id or "-")[:SHORT_ID]),
            cell(one.message or ""),
        )
    return made
