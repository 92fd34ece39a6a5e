"""A sealer that ends between any two of its steps, or right after one that it does not hear of: the
next one goes on from there, and no size of a log ever has two roots."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from pathlib import Path

import pytest

from adapters.jetstream.checkpoints import CheckpointStore
from adapters.postgres.signed_marks import SignedMarks
from adapters.postgres.tiles import LogTree, TileStore
from adapters.roles.sealing import Sealing
from domain.envelope import StreamIdentity
from domain.tlog.leaf import RawEvent
from domain.tlog.names import STREAM_LOG
from projections.rows import Pool
from tests.logs import BASE, KEY, Story, assert_truly_signed, names, seal
from tests.rig import Rig
from tests.witnessing import Party


class Ended(BaseException):
    """The program is gone."""


class Steps:
    """Counts what a sealer makes durable, and ends it before or after one of them."""

    def __init__(self, ends_at: int = -1, *, after: bool = False) -> None:
        self.taken = 0
        self._ends_at = ends_at
        self._after = after

    def before(self) -> None:
        if self.taken == self._ends_at and not self._after:
            raise Ended

    def after(self) -> None:
        self.taken += 1
        if self.taken == self._ends_at + 1 and self._after:
            raise Ended


class SteppedCheckpoints(CheckpointStore):
    """The checkpoints, each a step."""

    def __init__(self, rig: Rig, steps: Steps) -> None:
        super().__init__(rig.js)
        self._steps = steps

    async def append(self, origin: str, raw: bytes, *, after: int, position: int = 0) -> int:
        self._steps.before()
        sequence = await super().append(origin, raw, after=after, position=position)
        self._steps.after()
        return sequence


class SteppedTiles(TileStore):
    """The tiles, each round of them a step."""

    def __init__(self, pool: Pool, steps: Steps) -> None:
        super().__init__(pool)
        self._steps = steps

    async def save(
        self, identity: StreamIdentity, trees: Iterable[LogTree], *, old: int, new: int
    ) -> bool:
        self._steps.before()
        saved = await super().save(identity, trees, old=old, new=new)
        self._steps.after()
        return saved


async def one_round(rig: Rig, pool: Pool, party: Party, steps: Steps) -> None:
    """As the role does: what came, tiles, checkpoints, and then what witnesses say."""
    work = Sealing(
        feed=rig.raw,
        checkpoints=SteppedCheckpoints(rig, steps),
        tiles=SteppedTiles(pool, steps),
        marks=SignedMarks(pool),
        key=KEY,
        base=BASE,
        report=_unexpected,
    )
    await work.open()
    # In one go, however they came: each go is a step.
    async with aclosing(rig.raw.read(work.position)) as batches:
        await work.apply([event async for batch in batches for event in batch])
    await work.seal()
    await work.ask(await party.cosign(rig, pool))


async def _unexpected(event: RawEvent, reason: str) -> None:
    raise AssertionError(reason)


async def test_whichever_step_was_the_last_the_next_sealer_goes_on_from_it(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    story, party = Story(connected, seed=5), Party(tmp_path)
    devices = 25
    await story.tell(devices)
    counted = Steps()
    await one_round(connected, pool, party, counted)
    # Tiles; two tenants and the stream; and all three once more, cosigned.
    assert counted.taken == 1 + 3 + 3
    for after in (False, True):
        for step in range(counted.taken):
            await story.tell(devices)
            with pytest.raises(Ended):
                await one_round(connected, pool, party, Steps(step, after=after))
            await assert_truly_signed(connected)
            # It is not the last one's memory that the next one works from.
            await seal(connected, pool, cosign=await party.cosign(connected, pool))
            signed = await assert_truly_signed(connected)
            stream = signed[(await names(connected)).origin(STREAM_LOG)]
            assert stream[-1].size == story.told, (step, after)
