"""What is signed already: every log's last checkpoint, read back from the stream, and by whose key.

Checkpoints count that our own key signed, or one that handed over to it.
"""

from __future__ import annotations

from msgspec import Struct

from adapters.crypto.signing import SigningKey, check_ed25519
from adapters.jetstream.checkpoints import CheckpointStore, StoredNote
from adapters.jetstream.verbatim import RawFeed
from domain.errors import KeyUnavailable, LogBroken, NotVerified, StreamGap, StreamMismatch
from domain.tlog.checkpoint import Checkpoint, parse_checkpoint
from domain.tlog.handover import Trust, handover_origin, parse_handover
from domain.tlog.names import STREAM_LOG, LogNames
from domain.tlog.note import VerifierKey, parse_note, verified


class KeyRetired(KeyUnavailable):
    """The logs were handed over to another key: load that one, and open anew."""


class Signed(Struct, frozen=True):
    """A log's last checkpoint, its note's sequence, and how far in the stream it was read."""

    checkpoint: Checkpoint
    sequence: int
    position: int


class SignedBefore:
    """The checkpoints of one deployment's logs, as one signer may go on from them."""

    def __init__(
        self, feed: RawFeed, checkpoints: CheckpointStore, key: SigningKey, base: str
    ) -> None:
        self._feed = feed
        self._checkpoints = checkpoints
        self._key = key
        self._base = base
        self._accepted: list[bytes] = []
        self._handed_over = 0
        self._head = 0

    async def open(self) -> None:
        """Find that they are about this stream, which begins at its beginning.

        Raises `StreamMismatch`, `StreamGap`, `LogBroken` and `KeyRetired`.
        """
        self.identity = await self._feed.identity()
        self.names = LogNames(self._base, self.identity)
        for origin in await self._checkpoints.origins():
            if self.names.is_another_streams(origin):
                raise StreamMismatch(
                    origin,
                    f"it was signed over another stream than this {self.identity.name}, created "
                    f"at {self.identity.created.isoformat()}: restore that one",
                )
        await self._learn_keys()
        first, self._head = await self._feed.ends()
        if first != 1:
            raise StreamGap(self.identity.name, 1, first)

    async def logs(self) -> list[str]:
        """The logs that have a checkpoint."""
        found = [self.names.log(origin) for origin in await self._checkpoints.origins()]
        return [name for name in found if name is not None]

    async def check_key(self) -> None:
        """Raises `KeyRetired` when the logs were handed over since."""
        handover = await self._checkpoints.last(handover_origin(self._base))
        if (handover.sequence if handover else 0) != self._handed_over:
            raise KeyRetired("the log key", "the logs were just handed over to another key")

    async def last(self, name: str) -> Signed | None:
        """The log's last checkpoint, read back from the stream and verified with our own key or
        with those that handed over to it."""
        stored = await self._checkpoints.last(self.names.origin(name))
        if stored is None:
            return None
        signed = self.opened(stored)
        reached = signed.checkpoint.size if name == STREAM_LOG else signed.position
        if reached > self._head:
            _, self._head = await self._feed.ends()
            if reached > self._head:
                raise LogBroken(
                    stored.origin,
                    signed.checkpoint.size,
                    f"it was signed up to position {reached}, and the stream ends at {self._head}",
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
            verified(note, keys, check_ed25519)
        except NotVerified as error:
            raise KeyUnavailable(
                "the log key",
                f"the last checkpoint of {stored.origin} is not of this key ({error.reason}); "
                "put the key back that signed it, or rotate with a hand-over",
            ) from error
        return Signed(checkpoint, stored.sequence, stored.position)

    async def _learn_keys(self) -> None:
        """Which keys' checkpoints are ours to go on from. Raises `KeyRetired`."""
        notes = await self._checkpoints.all_of(handover_origin(self._base))
        try:
            handovers = [
                parse_handover(self._base, one.raw, check_ed25519, one.sequence) for one in notes
            ]
        except NotVerified as error:
            raise LogBroken(self._base, 0, error.reason) from error
        trust = Trust([self._key.public], handovers)
        if trust.retired(self._key.public):
            raise KeyRetired(
                "the log key", "the logs were handed over to another key; put that one in place"
            )
        self._accepted = trust.at(0)
        self._handed_over = notes[-1].sequence if notes else 0
