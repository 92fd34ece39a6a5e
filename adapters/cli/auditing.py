"""`audit …`: what proves the history, and what checks the proof."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from nats.errors import NoRespondersError
from pydantic import BaseModel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adapters.cli.arguments import Json, since_option, until_option
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.reconstructing import reconstruct
from adapters.cli.session import Need, session
from adapters.cli.tables import cell, table
from adapters.crypto.signing import SigningKey, check_ed25519
from adapters.jetstream.connection import outage_as_unavailable
from adapters.jetstream.raw import moment_of
from adapters.roles.sealer import SEAL_SUBJECT, SealAnswer
from adapters.settings import Settings
from adapters.tlog.bundle import export
from adapters.tlog.evidence import SystemEvidence
from adapters.tlog.handing import hand_over
from adapters.tlog.proving import names_of, prove_event, prover_of
from adapters.tlog.verify import Options, Report, verify
from adapters.witness.client import parse_witnesses
from domain.errors import InvalidInput, NotVerified, Unavailable
from domain.tlog.leaf import parse_leaf
from domain.tlog.merkle import leaf_hash
from domain.tlog.names import STREAM_LOG, tenant_log
from domain.tlog.note import COSIGNATURE, ED25519, VerifierKey
from domain.tlog.proof import (
    InclusionProof,
    check_consistency,
    check_inclusion,
    parse_proof,
)

SEAL_SECONDS = 60.0
_MOST_SHOWN = 20
_LOOK_SECONDS = 0.05

Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="VKEY",
        help="A verifier key to trust (name+id+key); without it, this installation's own.",
    ),
]
Witnesses = Annotated[
    list[str] | None,
    typer.Option(
        "--require-witness",
        metavar="VKEY",
        help="A witness that must have cosigned every log's last checkpoint: its key, or the name "
        "of one in CONFIGTRAIL_WITNESSES. May be repeated.",
    ),
]
InStream = Annotated[
    bool, typer.Option("--stream", help="In the log of the whole stream, not in the tenant's.")
]


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
    contents: int
    gone: int
    lingering: int
    unreadable: int
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


async def show_keys(settings: Settings) -> int:
    """Print the verifier keys of the stream's and the tenant's log, for whoever verifies, and of
    the deployment, for a witness of all its logs."""
    key = own_key(settings)
    async with session(settings, Need.NOTHING) as opened:
        names = await names_of(opened.system)
    for log in (STREAM_LOG, tenant_log(settings.tenant)):
        out.print(str(key.verifier(names.origin(log))), markup=False, soft_wrap=True)
    out.print(str(key.verifier(names.base)), markup=False, soft_wrap=True)
    return 0


async def rotate_key(settings: Settings) -> int:
    """Hand the logs over to a new signing key, which takes the old one's place in its file.

    Keep the new key elsewhere too, give its verifier keys to whoever verifies, and destroy the old
    one: nothing that it signs from now on counts.
    """
    if settings.log_key is not None:
        raise InvalidInput("CONFIGTRAIL_LOG_KEY", "is set: only a key in a file can be rotated")
    async with session(settings, Need.NOTHING) as opened:
        retired = await hand_over(
            opened.system.log.checkpoints, settings.log_name, settings.signing_key_file
        )
    err.print(f"the logs are handed over; the old key is in {retired}: destroy it", soft_wrap=True)
    return await show_keys(settings)


async def prove(
    settings: Settings,
    *,
    position: Annotated[int, typer.Argument(metavar="POSITION", min=1, help="As in the listing.")],
    stream: InStream = False,
) -> int:
    """Print the proof that an event is in the log (C2SP tlog-proof)."""
    async with session(settings, Need.NOTHING) as opened:
        proof = await prove_event(opened.system, settings.tenant, position, in_stream=stream)
    sys.stdout.write(str(proof))
    return 0


async def prove_growth(
    settings: Settings,
    *,
    old: Annotated[int, typer.Argument(metavar="OLD", min=1, help="The older size.")],
    new: Annotated[
        int | None, typer.Argument(metavar="[NEW]", min=1, help="A newer checkpoint's size.")
    ] = None,
    stream: InStream = False,
) -> int:
    """Print the proof that the log only grew from a size to a newer checkpoint, or to the last."""
    log = STREAM_LOG if stream else tenant_log(settings.tenant)
    async with session(settings, Need.NOTHING) as opened:
        prover = await prover_of(opened.system)
        proof = await prover.consistency(log, old, await prover.sealed(log, new))
    sys.stdout.write(str(proof))
    return 0


async def verify_proof(
    settings: Settings,
    *,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A proof, as printed.")],
    keys: Keys = None,
    body: Annotated[
        Path | None, typer.Option(help="The event's body, to compare with what was logged.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Check a proof. Needs no server: only the proof, and the log's verifier key."""
    proof = parse_proof(_read(path))
    origin = proof.note.text.partition("\n")[0]
    trusted = _verifier_keys(settings, keys, origin)
    if isinstance(proof, InclusionProof):
        if proof.extra is None:
            raise NotVerified("the proof", "it does not hold the leaf that it is about")
        checkpoint = check_inclusion(proof, leaf_hash(proof.extra), trusted, check_ed25519)
        leaf = parse_leaf(proof.extra)
        if body is not None:
            content = _read(body)
            if len(content) != leaf.body_bytes or _sha256(content) != leaf.body_sha256:
                raise NotVerified(str(body), "it is not the body that was logged")
        told = {
            "log": checkpoint.origin,
            "size": checkpoint.size,
            "index": proof.index,
            "stream": leaf.stream,
            "position": leaf.position,
            "stored_at": moment_of(leaf.stored_ns).isoformat(),
            "subject": leaf.subject,
            "headers_sha256": leaf.block_sha256.hex(),
            "body_sha256": leaf.body_sha256.hex(),
        }
    else:
        checkpoint = check_consistency(proof, trusted, check_ed25519)
        told = {"log": checkpoint.origin, "old_size": proof.old_size, "size": checkpoint.size}
    if as_json:
        print_json({"ok": True, **told})
    else:
        for name, value in told.items():
            out.print(f"{name:15} {harmless(str(value))}", markup=False, soft_wrap=True)
        err.print("the proof holds")
    return 0


async def verify_all(
    settings: Settings,
    *,
    keys: Keys = None,
    witnesses: Witnesses = None,
    quorum: Annotated[
        int | None, typer.Option(min=1, help="How many of the witnesses suffice; else all.")
    ] = None,
    checkpoints: Annotated[
        list[Path] | None,
        typer.Option("--checkpoint", metavar="FILE", help="A checkpoint that was kept elsewhere."),
    ] = None,
    rows: Annotated[bool, typer.Option(help="Compare the read model's rows.")] = True,
    content: Annotated[bool, typer.Option(help="Open every text that an event refers to.")] = True,
    as_json: Json = False,
) -> int:
    """Read the whole history again and compare it, and all that was made of it, with what was
    signed. The exit status is 1 when something is not as it was."""
    wanted = tuple(_witness(settings, one) for one in witnesses or ())
    if quorum is not None and quorum > len(set(wanted)):
        raise typer.BadParameter("--quorum must be at most the number of --require-witness")
    options = Options(
        settings.log_name,
        trusted_keys(settings, keys),
        witnesses=wanted,
        quorum=quorum,
        outside=tuple(_read(one) for one in checkpoints or ()),
        rows=rows,
        content=content,
    )
    async with session(settings, Need.READ_MODELS if rows else Need.NOTHING) as opened:
        evidence = SystemEvidence.of(opened.system)
        with _progress("events") as moved:
            report = await verify(evidence, options, moved)
    if as_json:
        print_json(_report_out(report))
    else:
        _tell(report)
    return 0 if report.ok else 1


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
        bool, typer.Option("--content", help="With the texts, decrypted: they are secrets.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Write a bundle of the tenant's sealed history that verifies offline, without Configtrail."""
    key = own_key(settings)
    async with session(settings, Need.NOTHING) as opened:
        names = await names_of(opened.system)
        logs = (tenant_log(settings.tenant), STREAM_LOG)
        with _progress("events") as moved:
            done = await export(
                opened.system,
                path,
                tenant_id=settings.tenant,
                keys=tuple(key.verifier(names.origin(log)) for log in logs),
                since=since,
                until=until,
                content=content,
                progress=moved,
            )
    if as_json:
        told = {"events": done.events, "contents": done.contents, "missing": done.missing}
        print_json({"path": str(done.path), "bytes": done.size, **told})
        return 0
    err.print(
        harmless(f"{done.path}: {done.events} events, {done.contents} texts, {done.size} bytes"),
        markup=False,
    )
    if done.missing:
        err.print(f"{done.missing} texts are gone; their events prove what they were")
    return 0


def own_key(settings: Settings) -> SigningKey:
    """The log key of this installation. Raises `KeyUnavailable`."""
    if settings.log_key is not None:
        return SigningKey.from_base64(settings.log_key.get_secret_value())
    return SigningKey.from_file(settings.signing_key_file)


def trusted_keys(settings: Settings, given: list[str] | None) -> tuple[bytes, ...]:
    """The public keys to trust: those that were given, else our own. Raises `KeyUnavailable`,
    `NotVerified`."""
    if given:
        return tuple(VerifierKey.parse(one).public for one in given)
    key = own_key(settings)
    err.print(
        "checked with the log key of this installation; to trust nobody here, give --key",
        style="yellow",
    )
    return (key.public,)


def _verifier_keys(
    settings: Settings, given: list[str] | None, origin: str
) -> tuple[VerifierKey, ...]:
    """The keys of a proof's log: those given count for the log of their name only."""
    if given:
        return tuple(VerifierKey.parse(one) for one in given)
    if not origin.startswith(f"{settings.log_name}/"):
        raise NotVerified("the proof", "it is of another deployment's log; give its --key")
    return tuple(VerifierKey(origin, one, ED25519) for one in trusted_keys(settings, None))


def _witness(settings: Settings, text: str) -> VerifierKey:
    known = {one.key.name: one.key for one in parse_witnesses(settings.witnesses)}
    if text in known:
        return known[text]
    key = VerifierKey.parse(text)
    if key.kind != COSIGNATURE:
        raise InvalidInput("--require-witness", "must be a witness's key (of type 4)")
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(str(path), f"can't be read: {error.strerror}") from error


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    ) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def _report_out(report: Report) -> ReportOut:
    return ReportOut(
        ok=report.ok,
        events=report.events,
        sealed=report.sealed,
        checkpoints=report.checkpoints,
        logs=report.logs,
        rows=report.rows,
        contents=report.contents,
        gone=report.gone,
        lingering=report.lingering,
        unreadable=report.unreadable,
        findings=[
            FindingOut(what=one.what, kind=one.kind, position=one.position, detail=one.detail)
            for one in report.findings
        ],
    )


def _tell(report: Report) -> None:
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
        f"of {report.logs} logs; {report.rows} rows and {report.contents} texts compared"
    )
    if report.gone:
        err.print(f"{report.gone} of the texts expired or were erased, as events say")
    if report.lingering:
        err.print(
            f"{report.lingering} texts should be gone, as events say, and can still be read: "
            "run configtrail retention run",
            style="yellow",
        )
    if report.unreadable:
        err.print(f"{report.unreadable} events can't be read, and are in the log as they are")
    err.print(
        "everything is as it was signed" if report.ok else "this is NOT the history that was signed"
    )


COMMANDS: dict[str, Callable[..., Coroutine[Any, Any, int]]] = {
    "verify": verify_all,
    "reconstruct": reconstruct,
    "prove": prove,
    "prove-growth": prove_growth,
    "verify-proof": verify_proof,
    "export": export_bundle,
    "checkpoint": show_checkpoint,
    "keys": show_keys,
    "seal": seal_now,
    "rotate-key": rotate_key,
}
