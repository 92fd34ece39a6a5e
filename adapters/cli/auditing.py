"""`audit …`: what proves the history, and what checks the proof."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from nats.errors import NoRespondersError

from adapters.cli.arguments import Json, Reason, since_option, until_option
from adapters.cli.console import err, harmless, print_json, write
from adapters.cli.log_keys import InStream, own_key
from adapters.cli.progress import progress
from adapters.cli.proving import Kept, kept_checkpoint
from adapters.cli.session import Need, session
from adapters.cli.texts import check_reason, record_shown
from adapters.jetstream.connection import outage_as_unavailable
from adapters.roles.sealer import SEAL_SUBJECT, SealAnswer
from adapters.settings import Settings
from adapters.tlog.bundle import export
from adapters.tlog.offline.joined import verifier
from adapters.tlog.proving import names_of, prover_of
from domain.errors import Unavailable
from domain.tlog.names import STREAM_LOG, tenant_log

SEAL_SECONDS = 60.0
_LOOK_SECONDS = 0.05


async def seal_now(settings: Settings, *, as_json: Json = False) -> int:
    """Sign everything that is recorded so far, now."""
    async with session(settings, Need.EVERYTHING) as opened:
        with outage_as_unavailable("asking the sealer"):
            while True:
                try:
                    answer = await opened.system.nc.request(SEAL_SUBJECT, b"", timeout=SEAL_SECONDS)
                    break
                except NoRespondersError:
                    if not opened.hosts:
                        raise Unavailable("the sealer", "none is running there") from None
                    await asyncio.sleep(_LOOK_SECONDS)  # it is still starting
    position = msgspec.json.decode(answer.data, type=SealAnswer).position
    if as_json:
        print_json({"position": position})
    else:
        err.print(f"signed up to position {position}")
    return 0


async def show_checkpoint(settings: Settings, *, stream: InStream = False) -> int:
    """Print the last checkpoint: a signed note, to be kept outside or handed on."""
    async with session(settings, Need.NOTHING) as opened:
        prover = await prover_of(opened.system)
        sealed = await prover.sealed(STREAM_LOG if stream else tenant_log(settings.tenant))
    sys.stdout.write(str(sealed.note))
    return 0


async def export_bundle(
    settings: Settings,
    *,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Such as acme.tar.zst; is made.")],
    since: Annotated[
        datetime | None,
        typer.Option("--from", metavar="TIME", parser=since_option, help="Stored from then on."),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option("--to", metavar="TIME", parser=until_option, help="Stored up to then."),
    ] = None,
    content: Annotated[
        bool,
        typer.Option(
            "--content",
            help="With the texts, decrypted: they are secrets. Each is recorded as shown; needs "
            "--reason.",
        ),
    ] = False,
    reason: Reason = None,
    checkpoints: Kept = None,
    as_json: Json = False,
) -> int:
    """Write a bundle of the tenant's sealed history that verifies offline, without Configtrail."""
    check_reason(content, reason, "--content")
    key = own_key(settings)
    async with session(settings, Need.NOTHING) as opened:
        names = await names_of(opened.system)
        logs = (tenant_log(settings.tenant), STREAM_LOG)
        events, source = opened.system.events, opened.system.source

        async def recorded(device: str, snapshot_id: str, before_id: str | None) -> None:
            await record_shown(
                events, source, settings.tenant, device, snapshot_id, reason, before_id
            )

        with progress("events") as moved:
            done = await export(
                opened.system,
                path,
                tenant_id=settings.tenant,
                keys=tuple(key.verifier(names.origin(log)) for log in logs),
                since=since,
                until=until,
                shown=recorded if content else None,
                kept=[kept_checkpoint(one) for one in checkpoints or ()],
                progress=moved,
            )
    if as_json:
        told = {"events": done.events, "contents": done.contents, "missing": done.missing}
        told["altered"] = done.altered
        print_json({"path": str(done.path), "bytes": done.size, **told})
        return 1 if done.altered else 0
    err.print(
        harmless(f"{done.path}: {done.events} events, {done.contents} texts, {done.size} bytes"),
        markup=False,
    )
    if not done.events:
        err.print("none was stored in that time: that counts, and not when things happened")
    if done.missing:
        err.print(f"{done.missing} texts are gone; their events prove what they were")
    if done.altered:
        err.print(
            f"{done.altered} texts are not what was recorded, and were left out: "
            "run configtrail audit verify",
            style="red",
            soft_wrap=True,
        )
    return 1 if done.altered else 0


async def print_verifier(settings: Settings) -> int:
    """Print `verify.py`, which checks bundles. Whoever made a bundle made the one in it as well."""
    write(verifier())
    return 0
