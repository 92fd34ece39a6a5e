"""`audit verify`: the whole history compared with what was signed, and what is told of that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer
from pydantic import BaseModel

from adapters.cli.arguments import Json
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.log_keys import Keys, Witnesses, trusted_keys, witness_key
from adapters.cli.log_loss import GivenUpOut, given_up_out, tell_given_up
from adapters.cli.progress import progress
from adapters.cli.proving import Kept, kept_checkpoint
from adapters.cli.session import Need, session
from adapters.cli.tables import cell, table
from adapters.postgres.signed_marks import GivenUp
from adapters.settings import Settings
from adapters.tlog.evidence import SystemEvidence
from adapters.tlog.verify import Options, Report, verify
from domain.errors import StreamMismatch
from domain.tlog.findings import Finding

_MOST_SHOWN = 20


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
