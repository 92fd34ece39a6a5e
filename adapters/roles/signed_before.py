"""What is signed already: every log's last checkpoint, read back from the stream, and by whose key.

Checkpoints count that our own key signed, or one that handed over to it. Where Postgres keeps a
larger one than the stream has, that one counts: NATS was put back to an older copy, checkpoints and
all, and what was signed before stays signed.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from adapters.crypto.signing import SigningKey, check_ed25519
from adapters.jetstream.checkpoints import CheckpointStore, StoredNote
from adapters.jetstream.verbatim import RawFeed
from adapters.postgres.signed_marks import Mark, SignedMarks
from adapters.tlog.counting import accepted, counted, made_anew, refuse_another_streams
from domain.errors import KeyUnavailable, LogBroken, NotVerified, StreamGap
from domain.tlog.checkpoint import Checkpoint, parse_checkpoint
from domain.tlog.handover import handover_origin
from domain.tlog.names import STREAM_LOG, LogNames
from domain.tlog.note import VerifierKey, parse_note, verified

_WAY_OUT = (
    "; if what is missing is lost for good, `configtrail audit accept-loss` goes on without it, "
    "which stays on record"
)

_NOT_OURS = (
    "; if the stream is whole, put the key back that signed it, or, if it is of no key of yours, "
    "delete that row of configtrail_signed.marks"
)


class KeyRetired(KeyUnavailable):
    """The logs were handed over to another key: load that one, and open anew."""


class Signed(Struct, frozen=True):
    """A log's last checkpoint with its note, the sequence of the log's last note, and how far in
    the stream it was read. `lost`: that note is an older one, and this one is known from Postgres
    alone. `former`: our own key has not signed it."""

    checkpoint: Checkpoint
    note: str
    sequence: int
    position: int
    lost: bool = False
    former: bool = False

    @property
    def mark(self) -> Mark:
        """What Postgres is to keep of it."""
        origin, size = self.checkpoint.origin, self.checkpoint.size
        return Mark(origin, size, self.position, self.note)

    def broken(self, reason: str) -> LogBroken:
        """The stream is not what this says."""
        way_out = _WAY_OUT if self.lost else ""
        return LogBroken(self.checkpoint.origin, self.checkpoint.size, reason, way_out)


class SignedBefore:
    """The checkpoints of one deployment's logs, as one signer may go on from them."""

    def __init__(
        self,
        feed: RawFeed,
        checkpoints: CheckpointStore,
        marks: SignedMarks,
        key: SigningKey,
        base: str,
    ) -> None:
        self._feed = feed
        self._checkpoints = checkpoints
        self._kept = marks
        self._marks: dict[str, Mark] = {}
        self._key = key
        self._base = base
        self._accepted: tuple[bytes, ...] = ()
        self._handed_over = 0
        self._head = 0

    async def open(self) -> None:
        """Find that they are about this stream, which begins at its beginning.

        Raises `StreamMismatch`, `StreamGap`, `LogBroken` and `KeyRetired`.
        """
        self.identity = await self._feed.identity()
        self.names = LogNames(self._base, self.identity)
        await self._kept.ensure()
        self._marks = await self._kept.all_of(self._base)
        await self._learn_keys()
        await refuse_another_streams(self._checkpoints, self.names, self._accepted)
        for origin, mark in self._marks.items():
            if self.names.is_another_streams(origin):
                self._counted(mark)
                raise made_anew(origin, self.names)
        first, self._head = await self._feed.ends()
        if first != 1:
            raise StreamGap(self.identity.name, 1, first)

    async def logs(self) -> list[str]:
        """The logs that have a checkpoint."""
        origins = {*await self._checkpoints.origins(), *self._marks}
        found = [self.names.log(origin) for origin in sorted(origins)]
        return [name for name in found if name is not None]

    async def keep(self, marks: Sequence[Mark]) -> None:
        """Keep in Postgres what was published."""
        await self._kept.keep(marks)
        self._marks |= {one.origin: one for one in marks}

    async def keep_lacking(self) -> list[str]:
        """Keep in Postgres what it lacks of what was published: its tables are gone, or whoever
        published was killed before it kept that, or the logs were handed over to our key since.
        Returns the logs whose last checkpoint in the stream our key has not signed. Raises as
        `last`."""
        origin = self.names.origin(STREAM_LOG)
        stream = await self.last(STREAM_LOG)
        kept = self._marks.get(origin)
        # The stream's is published last in a round, and kept together with all others.
        whole = stream is None or (kept is not None and kept.size >= stream.checkpoint.size)
        found: list[Mark] = []
        former: list[str] = []
        for name in await self.logs():
            mark = self._marks.get(self.names.origin(name))
            if not whole or mark is None or self._is_of_a_former_key(mark):
                signed = await self.last(name)
                if signed is not None and not signed.lost:
                    found.append(signed.mark)
                    if signed.former:
                        former.append(name)
        await self.keep(found)
        return former

    def _is_of_a_former_key(self, mark: Mark) -> bool:
        """Whether it counts only as long as the hand-over to our key is there."""
        keys = [VerifierKey(mark.origin, public) for public in self._accepted]
        try:
            signers = verified(parse_note(mark.note.encode()), keys, check_ed25519)
        except NotVerified:
            return False  # it is judged where it counts
        return VerifierKey(mark.origin, self._key.public) not in signers

    async def check_key(self) -> None:
        """Raises `KeyRetired` when the logs were handed over since."""
        handover = await self._checkpoints.last(handover_origin(self._base))
        if (handover.sequence if handover else 0) != self._handed_over:
            raise KeyRetired("the log key", "the logs were just handed over to another key")

    async def last(self, name: str) -> Signed | None:
        """The log's last checkpoint, read back from the stream and verified with our own key or
        with those that handed over to it; or the one that Postgres keeps, where that goes further.
        """
        origin = self.names.origin(name)
        stored = await self._checkpoints.last(origin)
        signed = self.opened(stored) if stored is not None else None
        mark = self._marks.get(origin)
        if mark is not None:
            signed = self._further(signed, mark)
        if signed is None:
            return None
        reached = signed.checkpoint.size if name == STREAM_LOG else signed.position
        if reached > self._head:
            _, self._head = await self._feed.ends()
            if reached > self._head:
                raise signed.broken(
                    f"it was signed up to position {reached}, and the stream ends at {self._head}"
                )
        return signed

    def opened(self, stored: StoredNote) -> Signed:
        """What a note says, when a key signed it that counts. Raises `KeyUnavailable`."""
        try:
            note = parse_note(stored.raw)
            checkpoint = parse_checkpoint(note.text)
            if checkpoint.origin != stored.origin:
                raise NotVerified("the checkpoint", f"it is of {checkpoint.origin}")
            keys = [VerifierKey(stored.origin, public) for public in self._accepted]
            signers = verified(note, keys, check_ed25519)
        except NotVerified as error:
            raise KeyUnavailable(
                "the log key",
                f"the last checkpoint of {stored.origin} is not of this key ({error.reason}); "
                "put the key back that signed it, or rotate with a hand-over",
            ) from error
        former = VerifierKey(stored.origin, self._key.public) not in signers
        return Signed(
            checkpoint, stored.raw.decode(), stored.sequence, stored.position, former=former
        )

    def _further(self, signed: Signed | None, mark: Mark) -> Signed | None:
        """What goes further: the last checkpoint of the stream, or what Postgres keeps; that counts
        by its signature alone. Raises `LogBroken`."""
        size = signed.checkpoint.size if signed is not None else 0
        if mark.size < size:
            return signed
        checkpoint = self._counted(mark)
        sequence = signed.sequence if signed else 0
        kept = Signed(checkpoint, mark.note, sequence, mark.position, lost=True)
        if mark.size > size:
            return kept
        if signed is not None and signed.checkpoint.root != checkpoint.root:
            raise kept.broken("Postgres keeps another root of that size, which was signed before")
        return signed

    def _counted(self, mark: Mark) -> Checkpoint:
        """What a mark says, when a key signed it that counts. Raises `LogBroken`."""
        try:
            return counted(mark, self._accepted)
        except NotVerified as error:
            raise LogBroken(
                mark.origin,
                mark.size,
                f"what Postgres keeps of it is no checkpoint of this key: {error.reason}",
                _NOT_OURS,
            ) from error

    async def _learn_keys(self) -> None:
        """Which keys' checkpoints are ours to go on from. Raises `KeyRetired`."""
        found = await accepted(self._checkpoints, self._base, self._key)
        if found.retired:
            raise KeyRetired(
                "the log key", "the logs were handed over to another key; put that one in place"
            )
        self._accepted = found.keys
        self._handed_over = found.handed_over
