"""`audit …`: what proves the history, and what checks the proof."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from nats.errors import NoRespondersError
from pydantic import BaseModel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adapters.cli.arguments import Json, Reason, since_option, until_option
from adapters.cli.console import err, harmless, out, print_json, write
from adapters.cli.log_keys import (
    InStream,
    Keys,
    Witnesses,
    own_key,
    rotate_key,
    show_keys,
    trusted_keys,
    witness_key,
)
from adapters.cli.log_loss import GivenUpOut, accept_loss, given_up_out, tell_given_up
from adapters.cli.log_standing import show_state
from adapters.cli.proving import Kept, kept_checkpoint, prove, prove_growth, verify_proof
from adapters.cli.reconstructing import reconstruct
from adapters.cli.session import Need, session
from adapters.cli.tables import cell, table
from adapters.cli.texts import check_reason, record_shown
from adapters.jetstream.connection import outage_as_unavailable
from adapters.postgres.signed_marks import GivenUp
from adapters.roles.sealer import SEAL_SUBJECT, SealAnswer
from adapters.settings import Settings
from adapters.tlog.bundle import export
from adapters.tlog.evidence import SystemEvidence
from adapters.tlog.offline.joined import verifier
from adapters.tlog.proving import names_of, prover_of
from adapters.tlog.verify import Options, Report, verify
from domain.errors import StreamMismatch, Unavailable
from domain.tlog.findings import Finding
from domain.tlog.names import STREAM_LOG, tenant_log

SEAL_SECONDS = 60.0
_MOST_SHOWN = 20
_LOOK_SECONDS = 0.05


class FindingOut(BaseModel):
    """Something that is not as it was signed."""

    what: str
    kind: str
    position: int
    detail: str


class ReportOut(BaseModel):
    """What `audit verify` found."""

    ok: bool
    events: int
    sealed: int
    checkpoints: int
    logs: int
    rows: int
    awaited: int
    contents: int
    gone: int
    lingering: int
    unreadable: int
    first_unreadable: int | None
    others: int
    behind: int
    handed_over: list[str]
    given_up: list[GivenUpOut]
    findings: list[FindingOut]


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


async def verify_all(
    settings: Settings,
    *,
    keys: Keys = None,
    witnesses: Witnesses = None,
    quorum: Annotated[
        int | None, typer.Option(min=1, help="How many of the witnesses suffice; else all.")
    ] = None,
    checkpoints: Kept = None,
    rows: Annotated[bool, typer.Option(help="Compare the read model's rows.")] = True,
    content: Annotated[bool, typer.Option(help="Open every text that an event refers to.")] = True,
    as_json: Json = False,
) -> int:
    """Read the whole history again and compare it, and all that was made of it, with what was
    signed. The exit status is 1 when something is not as it was."""
    wanted = tuple(witness_key(settings, one) for one in witnesses or ())
    parties = len({one.public for one in wanted})
    if quorum is not None and quorum > parties:
        raise typer.BadParameter(
            f"--quorum must be at most {parties}: so many different keys has --require-witness"
        )
    options = Options(
        settings.log_name,
        trusted_keys(settings, keys),
        witnesses=wanted,
        quorum=quorum,
        outside=tuple(kept_checkpoint(one) for one in checkpoints or ()),
        rows=rows,
        content=content,
    )
    try:
        report, given_up = await _verified(settings, options)
    except StreamMismatch as error:
        if not rows:
            raise
        # Rows of another past say nothing of this stream; it says what it lacks by itself.
        without = msgspec.structs.replace(options, rows=False)
        report, given_up = await _verified(settings, without)
        stray = Finding("audit row", "forked", 0, f"none was compared: {error}")
        report = msgspec.structs.replace(report, findings=(*report.findings, stray))
    if as_json:
        print_json(_report_out(report, given_up))
    else:
        _tell(report, given_up)
    return 0 if report.ok else 1


async def _verified(settings: Settings, options: Options) -> tuple[Report, list[GivenUp]]:
    async with session(settings, Need.READ_MODELS if options.rows else Need.NOTHING) as opened:
        marks = opened.system.log.marks
        # Before the notes are read: what was published meanwhile is among them.
        known = (await marks.all_of(settings.log_name)).values()
        options = msgspec.structs.replace(options, kept=tuple(one.note.encode() for one in known))
        evidence = SystemEvidence.of(opened.system)
        with progress("events") as moved:
            report = await verify(evidence, options, moved)
        return report, await marks.given_up(settings.log_name)


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


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar, on a terminal, while the block runs: call with how much is done, and of how much."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    ) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def _report_out(report: Report, given_up: Sequence[GivenUp]) -> ReportOut:
    return ReportOut(
        ok=report.ok,
        events=report.events,
        sealed=report.sealed,
        checkpoints=report.checkpoints,
        logs=report.logs,
        rows=report.rows,
        awaited=report.awaited,
        contents=report.contents,
        gone=report.gone,
        lingering=report.lingering,
        unreadable=report.unreadable,
        first_unreadable=report.first_unreadable,
        others=report.others,
        behind=report.behind,
        handed_over=list(report.handed_over),
        given_up=[given_up_out(one) for one in given_up],
        findings=[
            FindingOut(what=one.what, kind=one.kind, position=one.position, detail=one.detail)
            for one in report.findings
        ],
    )


def _tell(report: Report, given_up: Sequence[GivenUp]) -> None:
    if report.findings:
        made = table("WHAT", "KIND", "POSITION", "DETAIL", numbers=("POSITION",))
        for one in report.findings[:_MOST_SHOWN]:
            made.add_row(
                cell(one.what), cell(one.kind, "red"), cell(one.position), cell(one.detail)
            )
        out.print(made)
        if len(report.findings) > _MOST_SHOWN:
            err.print(f"and {len(report.findings) - _MOST_SHOWN} more; --json shows them")
    err.print(
        f"{report.events} events, {report.sealed} of them under {report.checkpoints} checkpoints "
        f"of {report.logs} logs; {report.rows} rows and {report.contents} texts compared",
        soft_wrap=True,
    )
    if report.events > report.sealed and report.ok:
        err.print(
            f"{report.events - report.sealed} events came after the last checkpoint: nothing "
            "shows yet what they were; configtrail audit seal",
            style="yellow",
            soft_wrap=True,
        )
    if report.awaited:
        err.print(
            f"{report.awaited} events are newer than what the audit table holds so far, and were "
            "not compared with rows",
            style="yellow",
            soft_wrap=True,
        )
    for key in report.handed_over:
        err.print(
            harmless(
                f"the logs were handed over to {key}: compare it with what you are told in another "
                "way, for whoever stole the old key can hand over, too"
            ),
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    tell_given_up(given_up)
    if report.others:
        err.print(
            f"{report.others} checkpoints are of another log, such as one of a former name or "
            "stream: they say nothing of this one",
            soft_wrap=True,
        )
    if report.behind:
        err.print(
            f"{report.behind} logs grew since their witnesses cosigned them, minutes ago at most: "
            "what came since waits for them",
            soft_wrap=True,
        )
    if report.gone:
        err.print(f"{report.gone} of the texts expired or were erased, as events say")
    if report.lingering:
        err.print(
            f"{report.lingering} texts should be gone, as events say, and can still be read: "
            "run configtrail retention run",
            style="yellow",
            soft_wrap=True,
        )
    if report.unreadable:
        err.print(
            f"{report.unreadable} events can't be read, first {report.first_unreadable}, and are "
            "in the log as they are",
            soft_wrap=True,
        )
    err.print(_verdict(report), soft_wrap=True)


def _verdict(report: Report) -> str:
    if report.ok:
        return "everything is as it was signed"
    kinds = {one.kind for one in report.findings}
    if kinds == {"unsigned"}:
        return (
            "NOTHING of this history is signed: a new one is signed within seconds, or by "
            "configtrail audit seal; an older one has lost its checkpoints"
        )
    if kinds == {"unwitnessed"}:
        return "everything is as it was signed, and NOT cosigned by the witnesses that it must be"
    return "this is NOT the history that was signed"


COMMANDS: dict[str, Callable[..., Coroutine[Any, Any, int]]] = {
    "verify": verify_all,
    "reconstruct": reconstruct,
    "prove": prove,
    "prove-growth": prove_growth,
    "verify-proof": verify_proof,
    "export": export_bundle,
    "verifier": print_verifier,
    "checkpoint": show_checkpoint,
    "keys": show_keys,
    "seal": seal_now,
    "rotate-key": rotate_key,
    "accept-loss": accept_loss,
    "state": show_state,
}
