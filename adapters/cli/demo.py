"""`demo`: a made-up fleet's history goes through the real intake; then everything is shown."""

from __future__ import annotations

import asyncio
import socket
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from adapters.access.first import FILE
from adapters.cli.changes import changes_text
from adapters.cli.console import err, harmless, out
from adapters.cli.listings import in_words
from adapters.cli.tables import (
    audit_table,
    devices_table,
    history_table,
    letters_table,
    validity_table,
)
from adapters.cli.texts import print_diff
from adapters.cli.up import Service, service, tell_addresses
from adapters.composition import System
from adapters.demo.check import deviations
from adapters.demo.fleet import SHOWN, TENANT, Broken, Delivery, Fleet, fleet
from adapters.demo.player import letters_of, play, settled
from adapters.reading import DiffText
from adapters.settings import Settings
from domain.errors import NotFound
from projections.audit import audit_page
from projections.backups import get_device, list_devices, validity
from projections.diffs import config_history

_AUDIT_ROWS = 12
_MANY = 1_000


async def demo(
    settings: Settings,
    *,
    exit_after: Annotated[
        bool, typer.Option("--exit", help="Stop after showing; status 0 only if all is right.")
    ] = False,
) -> int:
    """Show everything on a made-up fleet: eight devices, six exports each, under the tenant demo.

    They go through the real intake, with noise, a late arrival, a redelivery and a broken message.
    Then the service goes on until SIGINT or SIGTERM.
    """
    settings = _free_port(settings)
    made_up = fleet()
    async with service(settings) as running:
        await _played(running.system, made_up)
        shown = await _last_diff(running.system)
        await _show(running.system, made_up, shown)
        wrong = await deviations(running.system, made_up, shown)
        _tell_verdict(wrong)
        if exit_after:
            return 1 if wrong else 0
        _tell_what_next(running, settings)
        await asyncio.Event().wait()
    return 0


async def _played(system: System, made_up: Fleet) -> None:
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=err
    ) as progress:
        bar = progress.add_task("playing the fleet's history", total=len(made_up.deliveries))

        def told(delivery: Delivery) -> None:
            day = f"{delivery.arrives_at:%Y-%m-%d}"
            style = "red" if isinstance(delivery, Broken) else "dim"
            progress.console.print(
                f"{day}  {delivery.device_id}: {delivery.shows}",
                style=style,
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
            progress.advance(bar)

        await play(system, made_up, told)
        progress.update(bar, description="recording, comparing, projecting")
        await settled(system)
        progress.update(bar, description="played")


async def _last_diff(system: System) -> DiffText:
    device = await get_device(system.pool, TENANT, SHOWN)
    if device is None or device.current_snapshot_id is None:
        raise NotFound("device", SHOWN)
    found = await system.reading.diff(TENANT, SHOWN, device.current_snapshot_id)
    return await system.reading.redacted_diff(found)


async def _show(system: System, made_up: Fleet, shown: DiffText) -> None:
    devices = await list_devices(system.pool, TENANT, limit=_MANY)
    ranges = [
        (
            one.device_id,
            list(reversed(await validity(system.pool, TENANT, one.device_id, limit=_MANY))),
        )
        for one in devices
    ]
    history = await config_history(system.pool, TENANT, SHOWN, limit=_MANY)
    page = await audit_page(system.pool, TENANT, limit=_AUDIT_ROWS)
    letters = await letters_of(system, made_up.broken)
    _section("Devices", devices_table(devices))
    _section("Which configuration held when", validity_table(ranges))
    words = await in_words(system, TENANT, SHOWN, history)
    _section(f"The timeline of {SHOWN}", history_table(history, words))
    _section(f"What changed last on {SHOWN}")
    out.print(changes_text(shown.told), soft_wrap=True)
    out.print()
    print_diff(shown)
    _section(
        f"The audit trail: the newest {len(page.entries)} of {page.total}",
        audit_table(page.entries),
    )
    _section("What could not be recorded", letters_table(letters))


def _section(title: str, table: Table | None = None) -> None:
    out.print()
    out.print(title, style="bold underline", markup=False)
    if table is not None:
        out.print(table)


def _tell_verdict(wrong: list[str]) -> None:
    out.print()
    if not wrong:
        out.print("All of it is as it must be.", style="green")
        return
    out.print(f"{len(wrong)} things are not as they must be:", style="red")
    for one in wrong:
        out.print(harmless(f"  {one}"), markup=False, soft_wrap=True)


def _tell_what_next(running: Service, settings: Settings) -> None:
    out.print()
    tell_addresses(running, settings)
    base = f"{running.address}/api/tenants/{TENANT}"
    key = f"  CONFIGTRAIL_API_KEY=$(cat {settings.data_dir / FILE})"
    sent = ' -H "Authorization: Bearer $CONFIGTRAIL_API_KEY"' if settings.auth == "on" else ""
    for line in (
        "",
        "In another terminal, in this folder:",
        f"  .venv/bin/configtrail --tenant {TENANT} devices",
        f"  .venv/bin/configtrail --tenant {TENANT} history {SHOWN}",
        f"  .venv/bin/configtrail --tenant {TENANT} show {SHOWN} --at 2026-03-03",
        *([key] if settings.auth == "on" else []),
        f"  curl -s{sent} {base}/devices/{SHOWN}/config-history",
        f"  curl -s{sent} '{base}/audit-logs?per_page=5'",
    ):
        out.print(line, markup=False, soft_wrap=True)


def _free_port(settings: Settings) -> Settings:
    """The settings with any free port, when nobody chose one and the usual one is taken."""
    if "http_port" in settings.model_fields_set:
        return settings
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.http_host, settings.http_port))
        except OSError:
            return settings.model_copy(update={"http_port": 0})
    return settings
