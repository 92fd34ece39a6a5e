"""Proofs: that an event is in the log, that a log only grew, and the check of either."""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from adapters.cli.arguments import Json, Position
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.log_keys import InStream, Keys, verifier_keys
from adapters.cli.session import Need, session
from adapters.crypto.signing import check_ed25519
from adapters.jetstream.raw import moment_of
from adapters.settings import Settings
from adapters.tlog.proving import prove_event, prover_of
from domain.errors import InvalidInput, NotVerified
from domain.tlog.checkpoint import Checkpoint, checkpoint_in
from domain.tlog.leaf import parse_leaf
from domain.tlog.merkle import leaf_hash
from domain.tlog.names import STREAM_LOG, tenant_log
from domain.tlog.proof import (
    MAX_PROOF,
    ConsistencyProof,
    InclusionProof,
    check_consistency,
    check_inclusion,
    parse_proof,
)

Kept = Annotated[
    list[Path] | None,
    typer.Option("--checkpoint", metavar="FILE", help="A checkpoint that was kept elsewhere."),
]


async def prove(
    settings: Settings,
    *,
    position: Position,
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
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A proof, as printed; - for stdin.")],
    keys: Keys = None,
    kept: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            metavar="FILE",
            help="What the log must have grown from, as kept.",
        ),
    ] = None,
    body: Annotated[
        Path | None, typer.Option(help="The event's body, to compare with what was logged.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Check a proof. Needs no server: only the proof, and the log's verifier key."""
    from_stdin = str(path) == "-"
    proof = parse_proof(sys.stdin.buffer.read(MAX_PROOF + 1) if from_stdin else read_file(path))
    origin = proof.note.text.partition("\n")[0]
    trusted = verifier_keys(settings, keys, origin)
    if isinstance(proof, InclusionProof):
        if kept is not None:
            raise InvalidInput("--checkpoint", "must be given with a proof of growth only")
        if proof.extra is None:
            raise NotVerified("the proof", "it does not hold the leaf that it is about")
        checkpoint = check_inclusion(proof, leaf_hash(proof.extra), trusted, check_ed25519)
        leaf = parse_leaf(proof.extra)
        if body is not None:
            content = read_file(body)
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
        if kept is not None:
            _check_kept(kept, proof, checkpoint)
        told = {
            "log": checkpoint.origin,
            "old_size": proof.old_size,
            "old_root": base64.b64encode(proof.old_root).decode(),
            "size": checkpoint.size,
        }
    if as_json:
        print_json({"ok": True, **told})
    else:
        for name, value in told.items():
            out.print(f"{name:15} {harmless(str(value))}", markup=False, soft_wrap=True)
        err.print("the proof holds")
    return 0


def read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(str(path), f"can't be read: {error.strerror}") from error


def kept_checkpoint(path: Path) -> bytes:
    """A file that a checkpoint was kept in. Raises `NotVerified` for one of another form: that says
    nothing about the history."""
    raw = read_file(path)
    try:
        checkpoint_in(raw)
    except NotVerified as error:
        raise NotVerified(str(path), error.reason) from error
    return raw


def _check_kept(path: Path, proof: ConsistencyProof, new: Checkpoint) -> None:
    """The older root in a proof is not signed: it has to be the one that the reader kept."""
    kept = checkpoint_in(kept_checkpoint(path))
    if kept.origin != new.origin:
        raise NotVerified(str(path), f"it is of the log {kept.origin}")
    if (kept.size, kept.root) != (proof.old_size, proof.old_root):
        raise NotVerified(
            "the proof", f"it is not from the checkpoint of size {kept.size} in {path} on"
        )


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
