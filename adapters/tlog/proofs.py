"""Proofs from the tiles, checked before they are given out: tiles are only a read model."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from adapters.jetstream.checkpoints import CheckpointStore
from adapters.postgres.tiles import TileStore
from domain.errors import NotFound, NotVerified
from domain.tlog.checkpoint import Checkpoint, parse_checkpoint
from domain.tlog.merkle import consistency_holds, inclusion_holds
from domain.tlog.names import LogNames
from domain.tlog.note import Note, parse_note
from domain.tlog.proof import ConsistencyProof, InclusionProof
from domain.tlog.ranges import after_plan, before_plan
from domain.tlog.tiles import Node, TileReader, consistency_plan, inclusion_plan, places, root_plan


class Sealed(Struct, frozen=True):
    """A log's checkpoint with the note that says it."""

    checkpoint: Checkpoint
    note: Note


class Around(Struct, frozen=True):
    """The subtrees around leaves that stand one after the other in a log, from `start` on."""

    start: int
    before: tuple[bytes, ...]
    after: tuple[bytes, ...]


async def root_at(tiles: TileStore, log: str, size: int) -> bytes:
    """The log's root at a size, as the tiles have it. Raises `NotVerified` when they lack it."""
    plan = [root_plan(size)]
    return (await _hashes(tiles, log, plan))[0]


class Prover:
    """Proofs about the logs over one stream."""

    def __init__(self, tiles: TileStore, checkpoints: CheckpointStore, names: LogNames) -> None:
        self._tiles = tiles
        self._checkpoints = checkpoints
        self._names = names

    async def sealed(self, log: str, size: int | None = None) -> Sealed:
        """The log's last checkpoint, with what witnesses say of it, or the one of a size.

        Raises `NotFound`, `NotVerified`, `Unavailable`.
        """
        origin = self._names.origin(log)
        if size is None:
            stored = await self._checkpoints.newest(origin)
        else:
            stored = await self._checkpoints.of_size(origin, size)
        if stored is None:
            at = "" if size is None else f" at size {size}"
            raise NotFound("checkpoint of", f"{origin}{at}")
        note = parse_note(stored.raw)
        return Sealed(parse_checkpoint(note.text), note)

    async def inclusion(
        self, log: str, position: int, sealed: Sealed | None = None
    ) -> InclusionProof:
        """That the event at a position of the stream is in the log's last checkpoint.

        Raises `NotFound` for an event that is not in the log or not sealed yet, and `NotVerified`
        when the tiles don't agree with the checkpoint.
        """
        sealed = sealed or await self.sealed(log)
        index = await self._tiles.index(log, position)
        size, root = sealed.checkpoint.size, sealed.checkpoint.root
        if index is None or index >= size:
            raise NotFound("sealed event at position", str(position))
        hashes = await _hashes(self._tiles, log, inclusion_plan(index, size))
        (leaf,) = await self._tiles.leaves(log, index, 1)
        if not inclusion_holds(leaf, index, size, hashes, root):
            raise NotVerified("the tiles", "their proof does not lead to the checkpoint's root")
        return InclusionProof(index, tuple(hashes), sealed.note)

    async def consistency(
        self, log: str, old_size: int, sealed: Sealed | None = None
    ) -> ConsistencyProof:
        """That the log's last checkpoint extends what it was at an older size.

        Raises `NotFound` for a size that the log never had, `NotVerified` as above.
        """
        sealed = sealed or await self.sealed(log)
        size, root = sealed.checkpoint.size, sealed.checkpoint.root
        if not 0 < old_size <= size:
            raise NotFound("sealed size", str(old_size))
        hashes = await _hashes(self._tiles, log, consistency_plan(old_size, size))
        old_root = await root_at(self._tiles, log, old_size)
        if not consistency_holds(old_size, old_root, size, root, hashes):
            raise NotVerified("the tiles", "their proof does not lead to the checkpoint's root")
        return ConsistencyProof(old_size, old_root, tuple(hashes), sealed.note)

    async def around(self, log: str, start: int, end: int, sealed: Sealed) -> Around:
        """What stands around the leaves from `start` to before `end`: see `domain.tlog.ranges`.
        Whoever has the leaves checks that together they give the checkpoint's root.

        Raises `NotVerified` when the tiles lack something.
        """
        left = [[node] for node in before_plan(start)]
        right = [[node] for node in after_plan(end, sealed.checkpoint.size)]
        hashes = await _hashes(self._tiles, log, left + right)
        return Around(start, tuple(hashes[: len(left)]), tuple(hashes[len(left) :]))


async def _hashes(tiles: TileStore, log: str, plan: Sequence[Sequence[Node]]) -> list[bytes]:
    reader = TileReader(await tiles.tiles(log, places(plan)))
    try:
        return [reader.join(nodes) for nodes in plan]
    except KeyError as error:
        raise NotVerified("the tiles", "some that are needed are not there (yet)") from error
