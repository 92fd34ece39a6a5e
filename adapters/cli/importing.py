"""`import`: bring a folder of exports or a git repository in, through the intake."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace
from pydantic import BaseModel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adapters.cli.arguments import Json
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.session import PROJECTED_SECONDS, Need, projected, session
from adapters.cli.tables import imported_table, refused_table
from adapters.importing.folder import readings_of
from adapters.importing.git import Repository, is_repository
from adapters.importing.importer import Imported, import_readings
from adapters.importing.naming import Naming
from adapters.importing.reading import Reading
from adapters.importing.sending import Refused
from adapters.settings import Settings
from adapters.ssh.profiles import PLATFORMS
from projections import parking

_STAGES = ("sent", "recorded", "compared")


class RefusedOut(BaseModel):
    """A reading that became no fact, or a file of which none did; `dead_letter` is None when it was
    never sent."""

    where: str
    field: str
    rule: str
    dead_letter: int | None


class ImportedOut(BaseModel):
    """What became of the readings, by number."""

    tenant_id: str
    devices: int
    readings: int
    created: int
    duplicates: int
    known: int
    refused: list[RefusedOut]
    diffs: int
    diffs_failed: int


async def import_folder(
    settings: Settings,
    *,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The folder, or the repository.")],
    branch: Annotated[
        str | None, typer.Option(help="Of a git repository; default: the one checked out.")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Of a git repository: files such as 'edge/*'."),
    ] = None,
    names: Annotated[
        Naming | None,
        typer.Option(
            help="Of a git repository: devices are named after the file, or after its whole path."
        ),
    ] = None,
    platform: Annotated[
        str | None,
        typer.Option(
            help="Whose texts these are: ios, junos, …; without it RouterOS is told. What a column "
            "platform of the index says goes before it."
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Until every read model shows what came of it.")
    ] = True,
    as_json: Json = False,
) -> int:
    """Import a folder of exports: with an index.csv (device,version,commit_time,file, perhaps
    platform), or one file a device, read when it was last modified. Or a git repository, as
    Oxidized and RANCID keep it: every commit's versions, with their authors. A device has the name
    of its file; files that can't be told apart by it are left out, and told.

    Importing again adds nothing, and goes on where it was broken off. The exit status is 1 when
    something was refused.
    """
    if platform is not None and platform not in PLATFORMS:
        raise typer.BadParameter(f"--platform must be one of {', '.join(PLATFORMS)}")
    readings: Sequence[Reading]
    left_out: Sequence[Refused] = ()
    if await asyncio.to_thread(is_repository, path):
        repository = await asyncio.to_thread(Repository, path)
        with err.status("reading the repository's history …"):
            history = await asyncio.to_thread(
                repository.history, branch=branch, only=only, naming=names or "file"
            )
        readings, left_out = history.readings, history.left_out
    elif any(one is not None for one in (branch, only, names)):
        raise typer.BadParameter("--branch, --only and --names are for git repositories")
    else:
        readings = readings_of(path)
    async with session(settings, Need.EVERYTHING) as opened:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=err,
            transient=True,
        ) as progress:
            bars = {stage: progress.add_task(stage, total=len(readings)) for stage in _STAGES[:2]}
            bars[_STAGES[2]] = progress.add_task(_STAGES[2], total=None)
            done = await import_readings(
                opened.system,
                settings.tenant,
                readings,
                lambda stage, number: progress.update(bars[stage], completed=number),
                platform=platform,
            )
            done = replace(done, refused=(*left_out, *done.refused))
        if wait:
            head = await opened.system.events.head()
            await projected(opened.system, head, PROJECTED_SECONDS)
            lacking = await parking.holding_back(opened.system.pool, settings.tenant, None, head)
            if lacking:
                err.print(
                    f"parked events are not in {', '.join(lacking)}: "
                    "configtrail projections parked",
                    markup=False,
                )
    if as_json:
        print_json(_out(settings.tenant, done))
    else:
        out.print(imported_table(done))
        if done.refused:
            out.print()
            out.print(refused_table(done.refused))
            if any(one.letter is not None for one in done.refused):
                err.print("refused messages are kept: configtrail deadletters", markup=False)
        err.print(
            harmless(f"tenant {settings.tenant}: readings of {done.devices} devices"), markup=False
        )
    return 1 if done.refused or done.diffs_failed else 0


def _out(tenant: str, done: Imported) -> ImportedOut:
    return ImportedOut(
        tenant_id=tenant,
        devices=done.devices,
        readings=done.readings,
        created=done.created,
        duplicates=done.duplicates,
        known=done.known,
        refused=[
            RefusedOut(where=one.where, field=one.field, rule=one.rule, dead_letter=one.letter)
            for one in done.refused
        ],
        diffs=done.diffs,
        diffs_failed=done.diffs_failed,
    )
