"""Signed checkpoints on their way to witnesses: published bare first, and what witnesses say beside
the log's own notes, so that the log may grow meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct

from adapters.jetstream.checkpoints import CheckpointStore, Overtaken
from adapters.witness.client import Cosigned, Early
from domain.errors import NotVerified
from domain.tlog.checkpoint import Checkpoint, checkpoint_in
from domain.tlog.names import STREAM_LOG, cosigned_name
from domain.tlog.note import Note, Signature, parse_note

Cosign = Callable[[str, Checkpoint, Note, Early], Awaitable[Cosigned]]


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
        # Logs about which witnesses are being asked.
        self._asking: set[str] = set()

    @property
    def waiting(self) -> int:
        """Of how many logs it is."""
        return len(self._bare)

    @property
    def unasked(self) -> bool:
        """Whether there is a log about which nobody is being asked."""
        return not self._bare.keys() <= self._asking

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

    async def ask(self, cosign: Cosign) -> None:
        """Ask about all logs at the same time, but those that are being asked about, and publish
        what is said. Who does not answer is asked again the next time. Logs may be signed
        meanwhile: what is said of a former checkpoint is published too, for nobody else may ever
        be as fast as the log grows. Raises `Overtaken`, `Unavailable`.
        """
        rounds = [
            asyncio.create_task(self._round(name, bare, cosign), name=f"cosigning {name}")
            # Each witness hears of one log after another: first of what all others are part of.
            for name, bare in sorted(self._bare.items(), key=lambda it: it[0] != STREAM_LOG)
            if name not in self._asking
        ]
        if not rounds:
            return
        try:
            done, _ = await asyncio.wait(rounds, return_when=asyncio.FIRST_EXCEPTION)
            for one in done:
                one.result()
        finally:
            for one in rounds:
                one.cancel()
            await asyncio.wait(rounds)

    async def _round(self, name: str, bare: _Bare, cosign: Cosign) -> None:
        said = bare.note

        async def publish(note: Note) -> None:
            nonlocal said
            if note != said:
                await self._publish(bare, note)
                said = note

        self._asking.add(name)
        try:
            got = await cosign(name, bare.checkpoint, bare.note, publish)
            await publish(got.note)
        finally:
            self._asking.discard(name)
        if self._bare.get(name) is bare:  # else it was signed anew, and that one is to be asked of
            if got.complete:
                del self._bare[name]
            else:
                self._bare[name] = _Bare(bare.checkpoint, got.note, bare.position, bare.earlier)

    async def _publish(self, bare: _Bare, note: Note) -> None:
        origin, size = bare.checkpoint.origin, bare.checkpoint.size
        own = await self._checkpoints.last(origin)
        signed = _size_in(own.raw) if own is not None else 0
        if signed < size:
            raise Overtaken  # its notes were lost: what is said stands beside those that are there
        under = cosigned_name(origin)
        last = await self._checkpoints.last(under)
        # What is larger than the log is junk, or of a past that was lost.
        if last is not None and size < _size_in(last.raw) <= signed:
            return  # another sealer came further: sizes never go back
        cosigned = note.together(bare.earlier)
        if last is not None:
            cosigned = cosigned.together(_said_in(last.raw, note.text))
        await self._checkpoints.append(
            under,
            str(cosigned).encode(),
            after=last.sequence if last is not None else 0,
            position=bare.position,
        )


def _size_in(raw: bytes) -> int:
    """The size that a note tells; 0 for somebody else's message: `audit verify` names that one."""
    try:
        return checkpoint_in(raw).size
    except NotVerified:
        return 0


def _said_in(raw: bytes, text: str) -> tuple[Signature, ...]:
    """What a note says of the same checkpoint: what another sealer heard meanwhile is kept."""
    try:
        note = parse_note(raw)
    except NotVerified:
        return ()
    return note.signatures if note.text == text else ()
