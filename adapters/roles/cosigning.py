"""Signed checkpoints on their way to witnesses: published bare first, and once more as cosigned."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct
from msgspec.structs import replace

from adapters.jetstream.checkpoints import CheckpointStore
from adapters.witness.client import Cosigned
from domain.tlog.checkpoint import Checkpoint
from domain.tlog.note import Note, Signature

Cosign = Callable[[str, Checkpoint, Note], Awaitable[Cosigned]]


class _Bare(Struct, frozen=True):
    """`note` has the cosignatures of this round, as far as they came; `earlier` ones stay where no
    newer one can be had."""

    checkpoint: Checkpoint
    note: Note
    position: int
    earlier: tuple[Signature, ...]


class Cosigning:
    """The last checkpoint of each log that lacks a witness, or is to have them anew."""

    def __init__(self, checkpoints: CheckpointStore) -> None:
        self._checkpoints = checkpoints
        self._bare: dict[str, _Bare] = {}
        # Held over whatever appends to a log's notes: both who signs and who asks do.
        self.publishing = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """Of how many logs it is."""
        return len(self._bare)

    def add(self, name: str, checkpoint: Checkpoint, note: Note, position: int) -> None:
        """A checkpoint that was just published, or is published already: then with whatever
        cosignatures it has."""
        own = tuple(one for one in note.signatures if one.name == checkpoint.origin)
        earlier = tuple(one for one in note.signatures if one.name != checkpoint.origin)
        self._bare[name] = _Bare(checkpoint, Note(note.text, own), position, earlier)

    def add_lacking(self, name: str, checkpoint: Checkpoint, note: Note, position: int) -> None:
        """One that is published, and lacks some witness: only that one is asked."""
        self._bare[name] = _Bare(checkpoint, note, position, ())

    def forget(self) -> None:
        """There are no witnesses."""
        self._bare.clear()

    async def ask(self, cosign: Cosign, agreed: dict[str, int]) -> None:
        """Publish again, with what witnesses say to it, after the notes that are `agreed` to be the
        last. Who does not answer is asked again the next time. Logs may be signed meanwhile: then
        what was said of a former checkpoint is let go. Raises `Overtaken`, `Unavailable`.
        """
        for name, bare in list(self._bare.items()):
            if self._bare.get(name) is bare:
                got = await cosign(name, bare.checkpoint, bare.note)
                async with self.publishing:
                    if self._bare.get(name) is bare:
                        await self._publish(name, bare, got, agreed)

    async def _publish(self, name: str, bare: _Bare, got: Cosigned, agreed: dict[str, int]) -> None:
        if got.note != bare.note:
            there = {(one.name, one.key_id) for one in got.note.signatures}
            kept = [one for one in bare.earlier if (one.name, one.key_id) not in there]
            cosigned = Note(bare.note.text, (*got.note.signatures, *kept))
            agreed[name] = await self._checkpoints.append(
                bare.checkpoint.origin,
                str(cosigned).encode(),
                after=agreed[name],
                position=bare.position,
            )
        if got.complete:
            del self._bare[name]
        else:
            self._bare[name] = replace(bare, note=got.note)
