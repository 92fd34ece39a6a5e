"""`trigger`: ask for a backup of one device, now."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from adapters.cli.arguments import Device, Json
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.session import ATTACHED_PROJECTED_SECONDS, Need, projected, session
from adapters.roles.trigger import REASON_MAX
from adapters.settings import Settings
from adapters.shapes.trigger import TriggerOut
from domain.errors import EventsParked
from projections import parking


async def trigger(
    settings: Settings,
    *,
    device: Device,
    reason: Annotated[
        str | None, typer.Option(help=f"For the audit trail; at most {REASON_MAX} characters.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds; can only shorten the usual bound.")
    ] = None,
    join: Annotated[
        bool, typer.Option("--join", help="Rather wait for a collection under way than be refused.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until every read model shows how it ended.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Back one device up now, and wait for how it ends.

    The collector reads it when it is in the inventory; or whatever collects for you answers
    `config.backup.trigger` on NATS.
    """
    async with session(settings, Need.EVERYTHING) as opened:
        with err.status(f"backing up {harmless(device)} …"):
            done = await opened.system.trigger.run(
                settings.tenant,
                device,
                actor=whoami(),
                reason=reason,
                timeout=timeout,
                join=join,
            )
        lacking: list[str] = []
        if wait:
            await projected(opened.system, done.position, ATTACHED_PROJECTED_SECONDS)
            lacking = await parking.holding_back(
                opened.system.pool, settings.tenant, device, done.position
            )
    if as_json:
        print_json(TriggerOut(**{name: getattr(done, name) for name in TriggerOut.model_fields}))
    else:
        out.print(
            harmless(f"{done.outcome}: {done.message} (snapshot {done.snapshot_id})"),
            markup=False,
            soft_wrap=True,
        )
    if lacking:
        # The backup is made all the same, and shown above.
        raise EventsParked(lacking, done.position)
    return 0


def whoami() -> str:
    """Who asks, for the audit trail: the user of this machine that runs the command."""
    return f"user:{getpass.getuser()}"
