"""A bundle's older checkpoints, with the proofs that the log only grew since."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from adapters.crypto.signing import check_ed25519
from adapters.jetstream.checkpoints import StoredNote, read_notes
from adapters.tlog.proofs import Prover, Sealed
from adapters.tlog.stretch import encoded
from domain.errors import InvalidInput, NotVerified
from domain.tlog.checkpoint import checkpoint_in
from domain.tlog.names import cosigned_name
from domain.tlog.note import VerifierKey, parse_note, verified

if TYPE_CHECKING:
    from adapters.composition import System

MOST_CHECKPOINTS = 20


async def older(
    system: System,
    prover: Prover,
    log: str,
    sealed: Sealed,
    keys: tuple[VerifierKey, ...],
    kept: Sequence[bytes],
) -> list[tuple[str, bytes]]:
    """Older checkpoints, those that were kept and others spread over the log's life, and that it
    only grew since each."""
    origin = sealed.checkpoint.origin
    own = [key for key in keys if key.name == origin]
    wanted: dict[int, bytes | None] = {}
    for size, note in (await _spread(system, origin, sealed.checkpoint.size)).items():
        # Others are of the time of another key, which the bundle's reader does not have.
        with suppress(NotVerified):
            verified(parse_note(note.raw), own, check_ed25519)
            wanted[size] = note.raw
    for told in kept:
        checkpoint = checkpoint_in(told)
        if checkpoint.origin != origin:
            raise InvalidInput("--checkpoint", f"must be of {origin}, is of {checkpoint.origin}")
        if 0 < checkpoint.size < sealed.checkpoint.size:
            wanted.setdefault(checkpoint.size, None)
    files: list[tuple[str, bytes]] = []
    for size, raw in sorted(wanted.items()):
        proof = await prover.consistency(log, size, sealed)
        lines = "".join(f"{encoded(one)}\n" for one in proof.hashes)
        # One that was kept may be of an older key: its reader has it, the proof is all that lacks.
        if raw is not None:
            files.append((f"checkpoints/{size:012d}.note", raw))
        files.append((f"checkpoints/{size:012d}.proof", lines.encode()))
    return files


async def _spread(system: System, origin: str, below: int) -> dict[int, StoredNote]:
    """Checkpoints of a log with a size below that, by size: at most `MOST_CHECKPOINTS`, spread over
    its life."""
    found: dict[int, StoredNote] = {}
    step = count = 0
    async with aclosing(read_notes(system.log.notes)) as batches:
        async for batch in batches:
            for one in batch:
                if one.origin not in (origin, cosigned_name(origin)):
                    continue
                if one.origin != origin:
                    # What is no checkpoint there is somebody else's message.
                    with suppress(NotVerified):
                        if (size := checkpoint_in(one.raw).size) in found:
                            found[size] = one
                    continue
                size = checkpoint_in(one.raw).size
                if size in found or (0 < size < below and count % (1 << step) == 0):
                    found[size] = one  # of those with one size the last
                count += 1
                if len(found) > MOST_CHECKPOINTS:
                    step += 1
                    found = dict(list(found.items())[::2])
    return found
