"""`recanonicalise`: compare what is recorded by today's rules from now on."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import BaseModel

from adapters.cli.arguments import AnyDevice, Json
from adapters.cli.backup import whoami
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.session import Need, session
from adapters.cli.tables import recanonicalised_table
from adapters.composition import System
from adapters.roles.recanonicaliser import Recanonicalised, Recanonicaliser
from adapters.settings import Settings
from projections import backups
from projections.backups import require_device

_PAGE = 500


class RecanonicalisedOut(BaseModel):
    """What became of a device's snapshots. `alike`: the same as the one before, by today's rules;
    `missing`: without a text."""

    device_id: str
    snapshots: int
    renewed: int
    already: int
    missing: int
    alike: int


async def recanonicalise(
    settings: Settings,
    *,
    device: AnyDevice = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and record nothing.")] = False,
    as_json: Json = False,
) -> int:
    """Work out the fingerprints of recorded configurations under today's rules.

    Needed after an upgrade of Configtrail only if its notes say so. Nothing in the history changes:
    each new fingerprint is a fact of its own in the audit trail.
    """
    done: list[tuple[str, Recanonicalised]] = []
    async with session(settings, Need.READ_MODELS) as opened:
        system = opened.system
        worker = Recanonicaliser(
            events=system.events,
            devices=system.devices,
            content=system.content,
            keyring=system.keyring,
        )
        if device is not None:
            await require_device(system.rows_of(settings.tenant), settings.tenant, device)
            ids = [device]
        else:
            ids = await _all_devices(system, settings.tenant)
        with err.status("working out fingerprints …"):
            for one in ids:
                counts = await worker.device(settings.tenant, one, actor=whoami(), dry_run=dry_run)
                done.append((one, counts))
    if as_json:
        print_json([_out(one, counts) for one, counts in done])
        return 0
    if done:
        out.print(recanonicalised_table(done))
    verb = "would be" if dry_run else "were"
    renewed = sum(counts.renewed for _, counts in done)
    err.print(harmless(f"{renewed} fingerprint{'s' * (renewed != 1)} {verb} recorded anew"))
    return 0


async def _all_devices(system: System, tenant: str) -> list[str]:
    found: list[str] = []
    while page := await backups.list_devices(system.pool, tenant, limit=_PAGE, offset=len(found)):
        found += [one.device_id for one in page]
    return found


def _out(device_id: str, counts: Recanonicalised) -> RecanonicalisedOut:
    return RecanonicalisedOut(
        device_id=device_id,
        snapshots=counts.snapshots,
        renewed=counts.renewed,
        already=counts.already,
        missing=counts.missing,
        alike=counts.alike,
    )
