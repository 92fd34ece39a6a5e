"""The commands that print configuration text: show and diff. Secrets are keyed hashes in it, unless
they are asked for; then that is recorded before anything is printed.

On a terminal, control characters are spelt out, so that no configuration can steer it; into a pipe
or a file the bytes go as they are.
"""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated

import typer
from rich.text import Text

from adapters.access.revealing import BranchEnds, record_reveal
from adapters.cli.arguments import At, Device, From, Json, Reason, Reveal, To
from adapters.cli.arguments import Snapshot as SnapshotId
from adapters.cli.backup import whoami
from adapters.cli.changes import changes_text
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.session import Need, session
from adapters.cli.tables import changed_by_words, when
from adapters.composition import System
from adapters.reading import DiffText
from adapters.settings import Settings
from adapters.shapes.configs import config_out
from adapters.shapes.differences import diff_out
from domain.access import Principal
from domain.errors import InvalidInput, NotFound
from domain.ports import EventStore
from projections import backups
from projections.backups import Snapshot, require_device

_FULL_ID = 36
_PAGE = 500
_STYLES = (("+++", "bold"), ("---", "bold"), ("@@", "cyan"), ("+", "green"), ("-", "red"))


async def show(
    settings: Settings,
    *,
    device: Device,
    at: At = None,
    snapshot: SnapshotId = None,
    reveal: Reveal = False,
    reason: Reason = None,
    as_json: Json = False,
) -> int:
    """Print a configuration: the current one, that of a time, or a snapshot. Each secret is shown
    as a keyed hash.

    With --reveal it goes into a pipe byte for byte; on a terminal control characters are spelt out.
    """
    check_reason(reveal, reason, "--reveal")
    if at is not None and snapshot is not None:
        raise typer.BadParameter("--at and --snapshot exclude each other")
    async with session(settings, Need.READ_MODELS) as opened:
        system, tenant = opened.system, settings.tenant
        if at is not None:
            config = await system.reading.config_at(tenant, device, at)
        else:
            wanted = await _snapshot_id(system, tenant, device, snapshot)
            config = await system.reading.config_text(tenant, device, wanted)
        if reveal:
            await _record(system, config.snapshot, reason)
        else:
            config = await system.reading.redacted_text(config)
    if as_json:
        print_json(config_out(config, redacted=not reveal))
        return 0
    print_raw(config.text)
    one = config.snapshot
    err.print(
        Text(
            f"{harmless(device)}: snapshot {one.snapshot_id}, collected {when(one.collected_at)}, "
            f"last confirmed {when(one.last_confirmed)}",
            style="dim",
        ),
        soft_wrap=True,
    )
    return 0


async def diff(
    settings: Settings,
    *,
    device: Device,
    before: From = None,
    after: To = None,
    semantic: Annotated[
        bool, typer.Option("--semantic", help="Only what changed in words, a sentence each.")
    ] = False,
    reveal: Reveal = False,
    reason: Reason = None,
    as_json: Json = False,
) -> int:
    """Print what changed: last, since FROM, or between FROM and TO. In words, on standard error,
    and as a unified diff on standard output. Each secret is shown as a keyed hash.

    With --reveal it goes into a pipe byte for byte; on a terminal control characters are spelt out.
    """
    check_reason(reveal, reason, "--reveal")
    if reveal and semantic:
        raise typer.BadParameter("--semantic tells no secrets: there is nothing to reveal")
    async with session(settings, Need.READ_MODELS) as opened:
        system, tenant = opened.system, settings.tenant
        newer = await _snapshot_id(system, tenant, device, after)
        if before is None:
            found = await system.reading.diff(tenant, device, newer)
        else:
            older = await _snapshot_id(system, tenant, device, before)
            found = await system.reading.compare(tenant, device, older, newer)
        if reveal:
            await _record(system, found.to_snapshot, reason, found.from_snapshot)
        elif not semantic or found.told is None:
            found = await system.reading.redacted_diff(found)
    if as_json:
        print_json(diff_out(found, redacted=not reveal))
        return 0
    if found.changed_by is not None:
        (out if semantic else err).print(
            harmless(changed_by_words(found.changed_by)), markup=False, soft_wrap=True
        )
    if semantic:
        out.print(changes_text(found.told), soft_wrap=True)
        return 0
    if found.told is not None:
        err.print(changes_text(found.told), soft_wrap=True)
    print_diff(found)
    return 0


def check_reason(asked: bool, reason: str | None, option: str) -> None:
    """Raise unless a reason is given with the option that shows secrets, and only with it."""
    if asked and not (reason and reason.strip()):
        raise typer.BadParameter(f"{option} needs --reason: it is recorded")
    if reason is not None and not asked:
        raise typer.BadParameter(f"--reason goes with {option}")


async def record_shown(
    events: EventStore,
    ends: BranchEnds,
    tenant: str,
    device: str,
    snapshot_id: str,
    reason: str | None,
    before_id: str | None = None,
) -> None:
    """Record that whoever runs the command is about to be shown secrets. Raises when that can't be:
    then they are not shown."""
    await record_reveal(
        events,
        ends,
        tenant,
        device,
        snapshot_id,
        principal=Principal(actor=whoami()),
        remote_address=None,
        from_snapshot_id=before_id,
        reason=reason,
    )


async def _record(
    system: System, shown: Snapshot, reason: str | None, before: Snapshot | None = None
) -> None:
    before_id = before.snapshot_id if before else None
    device = (shown.tenant_id, shown.device_id)
    await record_shown(system.events, system.source, *device, shown.snapshot_id, reason, before_id)


def print_raw(text: bytes) -> None:
    """Text on stdout: harmless on a terminal, byte for byte elsewhere."""
    if sys.stdout.isatty():
        shown = text.decode(errors="replace").replace("\r\n", "\n").removeprefix("\ufeff")
        sys.stdout.write(harmless(shown))
        if not shown.endswith("\n"):
            sys.stdout.write("\n")
        sys.stdout.flush()
    else:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()


def print_diff(found: DiffText) -> None:
    """A diff on stdout, in colours where there are any, and its numbers on stderr."""
    if sys.stdout.isatty():
        out.print(coloured(found.patch), soft_wrap=True, end="")
    else:
        print_raw(found.patch)
    before, after = found.from_snapshot, found.to_snapshot
    coarse = ", coarse: a limit was hit" if found.coarse else ""
    if "partial" in (before.completeness, after.completeness):
        coarse += "; one of the two texts is incomplete, and lines may only be missing there"
    err.print(
        Text(
            f"{harmless(after.device_id)}: +{found.lines_added} -{found.lines_removed} lines from "
            f"{before.snapshot_id} ({when(before.collected_at)}) to {after.snapshot_id} "
            f"({when(after.collected_at)}){coarse}",
            style="dim",
        ),
        soft_wrap=True,
    )


def coloured(patch: bytes) -> Text:
    """A unified diff in colours, harmless to a terminal."""
    shown = Text()
    for line in patch.decode(errors="replace").split("\n"):
        style = next((style for start, style in _STYLES if line.startswith(start)), "")
        shown.append(harmless(line.removesuffix("\r")) + "\n", style=style)
    return shown[:-1] if patch.endswith(b"\n") else shown


async def _snapshot_id(
    system: System, tenant: str, device: str, wanted: str | datetime | None
) -> str:
    """The id of the snapshot that is meant. None means the current one."""
    known = await require_device(system.rows_of(tenant), tenant, device)
    if wanted is None:
        if known.current_snapshot_id is None:
            raise NotFound("configuration of device", device)
        return known.current_snapshot_id
    if isinstance(wanted, datetime):
        held = await backups.snapshot_at(system.pool, tenant, device, wanted)
        if held is None:
            raise NotFound("configuration at", wanted.isoformat())
        return held.snapshot_id
    if len(wanted) == _FULL_ID:
        return wanted
    matching: list[str] = []
    offset = 0
    while page := await backups.list_snapshots(
        system.pool, tenant, device, limit=_PAGE, offset=offset
    ):
        matching += [one.snapshot_id for one in page if one.snapshot_id.startswith(wanted)]
        offset += len(page)
    if not matching:
        raise NotFound("snapshot", wanted)
    if len(matching) > 1:
        raise InvalidInput("snapshot", f"{wanted} begins {len(matching)} ids; give more of it")
    return matching[0]
