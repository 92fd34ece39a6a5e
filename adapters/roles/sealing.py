"""The sealer's work: extend the logs with what the stream holds, and sign where they stand.

Invariants
- Nothing is signed before the log's last checkpoint was read back from the stream and found to be
  what our tree begins with; nor where Postgres keeps a larger one. So no size of a log ever gets
  two roots, also when NATS was put back with its checkpoints.
- Our tree never comes from Postgres beyond what a signature covers: tiles are taken up at the size
  of the last checkpoint, whose root they must have, and the rest is read from the stream again.
- The stream's checkpoint is signed last in a round: when it is there, every tenant's events up to
  it are signed in the tenant's log. So a restart goes on from it, and knows of no other place.
- Positions are contiguous, or the work ends with `StreamGap`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from msgspec.structs import replace

from adapters.crypto.signing import SigningKey
from adapters.jetstream.checkpoints import CheckpointStore, Overtaken
from adapters.jetstream.verbatim import RawFeed
from adapters.postgres.signed_marks import Mark, SignedMarks
from adapters.postgres.tiles import LogTree, TileStore
from adapters.roles.cosigning import Cosign, Cosigning
from adapters.roles.signed_before import Signed, SignedBefore
from adapters.tlog.proofs import root_at
from domain.errors import NotVerified, StreamGap
from domain.tlog.checkpoint import Checkpoint
from domain.tlog.leaf import RawEvent, duplicate_header, hash_of
from domain.tlog.names import STREAM_LOG, tenant_log, tenant_of_subject
from domain.tlog.note import Note, parse_note

log = logging.getLogger(__name__)

# How many of the last signed events are compared at the start.
_RECENT = 256
# Trees that are signed to their end are kept in memory up to this many.
_KEPT_TREES = 256
Report = Callable[[RawEvent, str], Awaitable[None]]


class TilesWrong(Exception):
    """The tiles are not what was signed. They are a read model: they are built anew."""


class Sealing:
    """One sealer's state. Made anew for every hold of the lease."""

    def __init__(
        self,
        *,
        feed: RawFeed,
        checkpoints: CheckpointStore,
        tiles: TileStore,
        marks: SignedMarks,
        key: SigningKey,
        base: str,
        report: Report,
    ) -> None:
        self._feed = feed
        self._checkpoints = checkpoints
        self._tiles = tiles
        self._key = key
        self._signed = SignedBefore(feed, checkpoints, marks, key, base)
        self._report = report
        self._trees: dict[str, LogTree] = {}
        # Of each log: the sequence of the note that our tree was found to begin with, and up to
        # which position of the stream the tree held events when it was taken up.
        self._agreed: dict[str, int] = {}
        self._held_to: dict[str, int] = {}
        self._dirty: set[str] = set()
        self._published: dict[str, Mark] = {}
        # Whether Postgres keeps all that was published before us.
        self._complete = False
        self._cosigning = Cosigning(checkpoints)
        self._rebuilding = False
        self._sealed_to = 0
        self.position = 0
        self.checkpoints_made = 0

    async def open(self, *, rebuild: bool = False) -> None:
        """Take up where the last checkpoint of the stream's log stands. `rebuild`: with new tiles.

        Raises `StreamMismatch`, `StreamGap`, `LogBroken` and `KeyUnavailable`: then nothing may be
        signed.
        """
        await self._signed.open()
        self.identity, self.names = self._signed.identity, self._signed.names
        signed = await self._signed.last(STREAM_LOG)
        self._sealed_to = signed.checkpoint.size if signed else 0
        if not rebuild and await self._tiles.resume(self.identity, self._sealed_to):
            self.position = self._sealed_to
            try:
                await self._tree(STREAM_LOG)
                await self._compare_recent()
            except TilesWrong:
                log.warning("tiles or stream are not what was signed; building the tiles again")
            else:
                if signed is not None and signed.lost:
                    self._dirty |= set(await self._signed.logs())
                return
        await self._rebuild()

    async def _compare_recent(self) -> None:
        """Whether the stream's last signed events are still those. After a return to an older copy
        others have their positions, and then all of them differ."""
        first = max(0, self._sealed_to - _RECENT)
        kept = await self._tiles.leaves(STREAM_LOG, first, self._sealed_to - first)
        found: list[bytes] = []
        async with aclosing(self._feed.read(first)) as batches:
            async for batch in batches:
                found += [hash_of(self.identity.name, one) for one in batch]
                if len(found) >= len(kept):
                    break
        if found[: len(kept)] != kept:
            raise TilesWrong  # or the stream: building them anew tells

    async def _rebuild(self) -> None:
        await self._tiles.rebuild(self.identity)
        self._trees.clear()
        self._held_to.clear()
        self._agreed.clear()
        self._dirty.clear()
        self.position, self._rebuilding = 0, True

    @property
    def dirty(self) -> bool:
        """Whether there is something new to sign."""
        return bool(self._dirty)

    @property
    def rebuilding(self) -> bool:
        """Whether the tiles do not hold yet all that is signed."""
        return self._rebuilding and self.position < self._sealed_to

    @property
    def unwitnessed(self) -> int:
        """Of how many logs the last checkpoint lacks a witness."""
        return self._cosigning.waiting

    @property
    def unasked(self) -> bool:
        """Whether one of them is there about which nobody is being asked."""
        return self._cosigning.unasked

    def follow(self) -> AsyncGenerator[list[RawEvent], None]:
        """The events after where we stand. Give their batches to `apply`."""
        return self._feed.follow(self.position)

    async def apply(self, batch: list[RawEvent]) -> None:
        """Extend the logs, and keep the tiles. What has been signed before is compared on the way.

        Raises `StreamGap`, `LogBroken`; and `Overtaken` or `TilesWrong`: then open anew, for the
        latter with new tiles.
        """
        cut = self._sealed_to - self.position
        if self._rebuilding and 0 < cut < len(batch):
            await self.apply(batch[:cut])
            batch = batch[cut:]
        for expected, event in enumerate(batch, self.position + 1):
            if event.position != expected:
                raise StreamGap(self.identity.name, expected, event.position)
        grown: dict[str, tuple[list[bytes], list[int]]] = {STREAM_LOG: ([], [])}
        for event in batch:
            leaf = hash_of(self.identity.name, event)
            names = [STREAM_LOG]
            tenant = tenant_of_subject(event.subject)
            if tenant is not None:
                names.append(tenant_log(tenant))
            for name in names:
                leaves, positions = grown.setdefault(name, ([], []))
                leaves.append(leaf)
                positions.append(event.position)
            if duplicate_header(event.block) is not None:
                await self._report(event, "a header is there twice: readers may take either")
        for name, (leaves, positions) in grown.items():
            await self._extend(name, leaves, positions)
        old, self.position = self.position, batch[-1].position
        trees = [self._trees[name] for name in grown]
        if not await self._tiles.save(self.identity, trees, old=old, new=self.position):
            raise Overtaken
        if self._rebuilding and self.position == self._sealed_to:
            await self._check_rebuilt()

    async def _extend(self, name: str, leaves: list[bytes], positions: list[int]) -> None:
        tree = await self._tree(name)
        # A tenant's log may be signed beyond the stream's: a round was broken off there.
        held = sum(1 for position in positions if position <= self._held_to.get(name, 0))
        leaves, positions = leaves[held:], positions[held:]
        if leaves:
            tree.extend(leaves, positions)
            self._dirty.add(name)

    async def _check_rebuilt(self) -> None:
        """All trees stand where the stream's checkpoint does: each must be what was signed."""
        self._rebuilding = False
        for name in await self._signed.logs():
            signed = await self._signed.last(name)
            if signed is None or signed.position > self._sealed_to:
                continue  # the latter is compared when its next leaf comes
            tree = self._trees.get(name) or LogTree(name)
            made = (tree.size, tree.root())
            if made != (signed.checkpoint.size, signed.checkpoint.root):
                raise signed.broken("the stream no longer has the signed root")
            self._agreed[name] = signed.sequence
            if not signed.lost:
                self._dirty.discard(name)

    async def _tree(self, name: str) -> LogTree:
        tree = self._trees.get(name)
        if tree is not None:
            return tree
        if self._rebuilding:
            tree = LogTree(name)
        else:
            signed = await self._signed.last(name)
            size = signed.checkpoint.size if signed else 0
            try:
                tree = await self._tiles.load(name, size)
            except ValueError as error:
                raise TilesWrong from error
            if signed is not None:
                if tree.root() != signed.checkpoint.root:
                    raise TilesWrong
                self._agreed[name] = signed.sequence
                self._held_to[name] = signed.position
                if signed.position > self._sealed_to and not signed.lost:
                    self._published[name] = signed.mark  # a round was broken off after it
        self._trees[name] = tree
        return tree

    async def seal(self) -> int:
        """Sign every log that grew, the stream's last; returns how many were signed. No witness is
        waited for: see `ask`.

        Raises `Overtaken` when another sealer was faster, `TilesWrong`, `LogBroken` and
        `KeyUnavailable`.
        """
        if self.rebuilding:
            return 0
        await self._signed.check_key()
        self._rebuilding = False
        if not self._complete:
            self._dirty |= set(await self._signed.keep_lacking())
            self._complete = True
        made = 0
        for name in sorted(self._dirty - {STREAM_LOG}) + [STREAM_LOG] * (STREAM_LOG in self._dirty):
            made += await self._sign(name)
            self._dirty.discard(name)
        published, self._published = self._published, {}
        await self._signed.keep(list(published.values()))
        self._evict()
        self.checkpoints_made += made
        return made

    async def _sign(self, name: str) -> int:
        tree = await self._tree(name)
        origin = self.names.origin(name)
        last = await self._signed.last(name)
        after, position = 0, self.position
        if last is not None:
            if last.checkpoint.size > tree.size:
                return 0  # an earlier sealer came further: we only repeat its work so far
            if last.sequence != self._agreed.get(name):
                await self._compare(name, last)
            if last.former and not last.lost:
                last = await self._sign_too(name, last)
            if last.checkpoint.size == tree.size and not last.lost:
                self._published[name] = last.mark  # a round was broken off after it
                return 0
            after = last.sequence
            if last.checkpoint.size == tree.size:
                position = max(position, last.position)  # what it covers may go beyond us
        checkpoint = Checkpoint(origin, tree.size, tree.root())
        note = self._key.note(checkpoint)
        after = await self._checkpoints.append(
            origin, str(note).encode(), after=after, position=position
        )
        self._agreed[name] = after
        self._published[name] = Mark(origin, tree.size, position, str(note))
        self._cosigning.add(name, checkpoint, note, position)
        return 1

    async def _sign_too(self, name: str, last: Signed) -> Signed:
        """Publish once more, with our own signature too, what the key before ours signed: that was
        handed over in the middle of its round, and what it signed after that counts only so."""
        origin = last.checkpoint.origin
        note = parse_note(last.note.encode())
        both = str(note.also(self._key.sign_text(origin, note.text)))
        sequence = await self._checkpoints.append(
            origin, both.encode(), after=last.sequence, position=last.position
        )
        self._agreed[name] = sequence
        return replace(last, note=both, sequence=sequence, former=False)

    async def ask(self, cosign: Cosign) -> None:
        """Ask witnesses about the last checkpoints that lack one, but those about which they are
        being asked, and publish what they say. Logs may be sealed meanwhile. Raises `Overtaken` and
        `Unavailable`."""
        await self._cosigning.ask(cosign)

    def ask_nobody(self) -> None:
        """There are no witnesses."""
        self._cosigning.forget()

    async def renew(self, lacking: Callable[[Note], bool] | None = None) -> None:
        """Have witnesses asked anew about every log's last checkpoint: so a log in which nothing
        happens is seen to be the same, now. With `lacking` only about those whose note is, and only
        those that it lacks. Not while tiles are built. Raises as `seal`."""
        for name in await self._signed.logs():
            stored = await self._checkpoints.newest(self.names.origin(name))
            if stored is None:
                continue
            note = parse_note(stored.raw)
            if lacking is not None and not lacking(note):
                continue
            last = self._signed.opened(stored)
            if last.sequence != self._agreed.get(name):
                await self._compare(name, last)
            add = self._cosigning.add if lacking is None else self._cosigning.add_lacking
            add(name, last.checkpoint, note, last.position)

    async def _compare(self, name: str, last: Signed) -> None:
        """Whether our tree begins with what was signed. When the tiles say no, only building them
        anew tells whether the stream does."""
        try:
            root = await root_at(self._tiles, name, last.checkpoint.size)
        except NotVerified as error:
            raise TilesWrong from error
        if root != last.checkpoint.root:
            raise TilesWrong
        self._agreed[name] = last.sequence

    def _evict(self) -> None:
        """Forget trees that are signed to their end: their next leaf loads and compares them."""
        for name in list(self._trees):
            if len(self._trees) <= _KEPT_TREES:
                return
            if name != STREAM_LOG and name not in self._dirty:
                del self._trees[name]
