"""Handing the logs over to a new key: the note first, then the files, so that a crash between them
leaves a key that is told to be retired and never two that sign.

In between, every log's last checkpoint is published once more, with the new key's signature beside
the old one's: whoever was given only one of the two can check where one ends and the other begins.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from adapters.crypto.signing import SigningKey, check_ed25519
from adapters.jetstream.checkpoints import CheckpointStore, Overtaken, StoredNote
from domain.errors import KeyUnavailable, LogBroken, NotVerified
from domain.tlog.checkpoint import parse_checkpoint
from domain.tlog.handover import handover_origin, handover_text, parse_handover
from domain.tlog.names import cosigned_name, cosigned_origin
from domain.tlog.note import Note, parse_note, verified

_WAY_OUT = (
    "; put back the key that signed it. If the streams were put back to a copy of before a key was "
    "handed over, and that one is gone: docs/audit.md, When history is lost"
)


async def hand_over(checkpoints: CheckpointStore, base: str, path: Path) -> Path:
    """Make a new key, publish the hand-over, and put the new key in the old one's place. Called
    again after a crash, it goes on. Returns where the old key is now.

    Before anything is published, the key must have signed every log's last checkpoint.

    Raises `KeyUnavailable`, `Overtaken` when somebody else hands over, `LogBroken` when a last
    checkpoint is not of the old key, and `Unavailable`.
    """
    coming = path.with_name(f"{path.name}.next")
    old = await asyncio.to_thread(SigningKey.from_file, path)
    new = await asyncio.to_thread(_made, coming)
    origin = handover_origin(base)
    last = await checkpoints.last(origin)
    done = None if last is None else parse_handover(base, last.raw, check_ed25519)
    if done is None or (done.old, done.new) != (old.public, new.public):
        if done is not None and done.new != old.public:
            raise KeyUnavailable(f"the log key in {path}", "it is not the one that signs now")
        await _unsigned_by(checkpoints, base, old, new)
        text = handover_text(base, old.public, new.public)
        note = Note(text, (old.sign_text(base, text), new.sign_text(base, text)))
        after = last.sequence if last else 0
        await checkpoints.append(origin, str(note).encode(), after=after)
    await _sign_too(checkpoints, base, old, new)
    retired = path.with_name(f"{path.name}.{old.public.hex()[:8]}.retired")
    await asyncio.to_thread(path.rename, retired)
    await asyncio.to_thread(coming.rename, path)
    return retired


async def _sign_too(
    checkpoints: CheckpointStore, base: str, old: SigningKey, new: SigningKey
) -> None:
    """Add the new key's signature to the last checkpoint of every log, where it is missing. What
    a sealer publishes meanwhile is signed too: it stops by itself, for it is told of the hand-over.
    """
    overtaken = True
    while overtaken:
        overtaken = False
        for last in await _unsigned_by(checkpoints, base, old, new):
            note = parse_note(last.raw)
            both = note.also(new.sign_text(_log_of(last), note.text))
            try:
                await checkpoints.append(
                    last.origin, str(both).encode(), after=last.sequence, position=last.position
                )
            except Overtaken:
                overtaken = True


async def _unsigned_by(
    checkpoints: CheckpointStore, base: str, old: SigningKey, new: SigningKey
) -> list[StoredNote]:
    """The last checkpoints that lack the new key's signature. Raises `LogBroken` when one of them
    is not of the old key: whoever trusts that one could not be led on from there."""
    found: list[StoredNote] = []
    logs = [
        one
        for one in await checkpoints.origins()
        if one != handover_origin(base) and one.startswith(f"{base}/")
    ]
    for name in (*logs, *map(cosigned_name, logs)):
        last = await checkpoints.last(name)
        if last is None:
            continue
        origin = _log_of(last)
        try:
            note = parse_note(last.raw)
            if new.sign_text(origin, note.text) in note.signatures:
                continue
            if parse_checkpoint(note.text).origin != origin:
                raise NotVerified("the checkpoint", "it is of another log")
            verified(note, [old.verifier(origin)], check_ed25519)
        except NotVerified as error:
            if origin != name:
                continue  # it only repeats what the log's own notes say: nobody is led on from it
            raise LogBroken(origin, 0, error.reason, _WAY_OUT) from error
        found.append(last)
    return found


def _log_of(stored: StoredNote) -> str:
    """The name that a note's signatures are under."""
    return cosigned_origin(stored.origin) or stored.origin


def _made(path: Path) -> SigningKey:
    try:
        return SigningKey.generate_file(path)
    except FileExistsError:  # of a hand-over that was broken off
        return SigningKey.from_file(path)
