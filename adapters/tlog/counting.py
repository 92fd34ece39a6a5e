"""Which checkpoints count: those that our own key signed, or one that handed over to it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from msgspec import Struct

from adapters.crypto.signing import SigningKey, check_ed25519
from adapters.jetstream.checkpoints import CheckpointStore
from adapters.postgres.signed_marks import Mark
from domain.errors import LogBroken, NotVerified, StreamMismatch
from domain.tlog.checkpoint import Checkpoint, parse_checkpoint
from domain.tlog.handover import Trust, handover_origin, parse_handover
from domain.tlog.names import LogNames
from domain.tlog.note import VerifierKey, parse_note, verified


class Accepted(Struct, frozen=True):
    """The public keys that count, and the sequence of the last hand-over, 0 without any. `retired`:
    our own was handed over from."""

    keys: tuple[bytes, ...]
    handed_over: int
    retired: bool


async def accepted(checkpoints: CheckpointStore, base: str, key: SigningKey) -> Accepted:
    """The keys that count beside our own. Raises `LogBroken`, `Unavailable`."""
    notes = await checkpoints.all_of(handover_origin(base))
    try:
        handovers = [parse_handover(base, one.raw, check_ed25519, one.sequence) for one in notes]
    except NotVerified as error:
        raise LogBroken(base, 0, error.reason) from error
    trust = Trust([key.public], handovers)
    last = notes[-1].sequence if notes else 0
    return Accepted(tuple(trust.at(0)), last, trust.retired(key.public))


def counted(mark: Mark, keys: Sequence[bytes]) -> Checkpoint:
    """What a mark says, by its signature alone: its row is anybody's. Raises `NotVerified`."""
    note = parse_note(mark.note.encode())
    checkpoint = parse_checkpoint(note.text)
    if (checkpoint.origin, checkpoint.size) != (mark.origin, mark.size):
        told = f"it is of {checkpoint.origin} at size {checkpoint.size}"
        raise NotVerified("the checkpoint", told)
    verified(note, [VerifierKey(mark.origin, public) for public in keys], check_ed25519)
    return checkpoint


async def refuse_another_streams(
    checkpoints: CheckpointStore, names: LogNames, keys: Sequence[bytes]
) -> None:
    """Raises `StreamMismatch` where the stream was made anew since one of the keys signed
    something. What others store under such a name holds up nothing."""
    for origin in await checkpoints.origins():
        if names.is_another_streams(origin):
            # One that counts is enough, wherever it stands among others' messages.
            async with aclosing(checkpoints.each_of(origin)) as notes:
                async for one in notes:
                    if _is_signed(one.raw, origin, keys):
                        raise made_anew(origin, names)


def _is_signed(raw: bytes, origin: str, keys: Sequence[bytes]) -> bool:
    try:
        note = parse_note(raw)
        verified(note, [VerifierKey(origin, public) for public in keys], check_ed25519)
        return parse_checkpoint(note.text).origin == origin
    except NotVerified:
        return False


def made_anew(origin: str, names: LogNames) -> StreamMismatch:
    """Something was signed under this name, and the stream is another one."""
    identity = names.identity
    return StreamMismatch(
        origin,
        f"it was signed over another stream than this {identity.name}, created at "
        f"{identity.created.isoformat()}, so that one was deleted, and this one made anew. Put "
        "that one back from a copy; if there is none and this one counts, give its signed logs a "
        "name of their own (CONFIGTRAIL_LOG_NAME; docs/operator.md, When something is gone)",
    )
