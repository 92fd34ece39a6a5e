"""Made-up histories on a real stream, and sealers over them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from adapters.crypto.signing import SigningKey, check_ed25519
from adapters.jetstream.checkpoints import StoredNote, read_notes
from adapters.jetstream.leases import Leases
from adapters.postgres.signed_marks import SignedMarks
from adapters.postgres.tiles import TileStore
from adapters.roles.cosigning import Cosign
from adapters.roles.sealer import Sealer
from adapters.roles.sealing import Sealing, TilesWrong
from adapters.witness.client import Witnesses
from domain.envelope import Head, NewEvent
from domain.tlog.checkpoint import Checkpoint, parse_checkpoint
from domain.tlog.leaf import RawEvent, hash_of
from domain.tlog.merkle import root_of
from domain.tlog.names import LogNames, cosigned_origin
from domain.tlog.note import parse_note, verified
from projections.rows import Pool
from tests.generators import DEVICES, Fleet
from tests.rig import Rig

BASE = "configtrail.example/test"
KEY = SigningKey(bytes(range(32)))


class Story:
    """A fleet's events, appended to a real stream bit by bit."""

    def __init__(
        self, rig: Rig, seed: int = 1, devices: Sequence[tuple[str, str]] = DEVICES
    ) -> None:
        self._rig = rig
        self._seed = seed
        self._fleet = Fleet(seed, devices)
        self._told = 0
        self._heads: dict[tuple[str, str], Head] = {}

    async def tell(self, count: int) -> None:
        """Append at least so many more events."""
        while len(self._fleet.events) < self._told + count:
            self._fleet.step()
        for one in self._fleet.events[self._told :]:
            branch = (one.tenant_id, one.device_id)
            event = NewEvent(
                event_id=f"{self._seed}.{one.event_id}",
                tenant_id=one.tenant_id,
                device_id=one.device_id,
                occurred_at=one.occurred_at,
                event=one.event,
                correlation_id=one.correlation_id,
                causation_id=one.causation_id,
            )
            if branch not in self._heads:
                # Another story may have told of it, as of its tenant.
                known = await self._rig.history(*branch)
                self._heads[branch] = Head(len(known), known[-1].position) if known else Head()
            stored = await self._rig.events.append(event, self._heads[branch])
            self._heads[branch] = Head(stored.version, stored.position)
        self._told = len(self._fleet.events)

    @property
    def told(self) -> int:
        """How many events are in the stream."""
        return self._told


def sealing(rig: Rig, pool: Pool, key: SigningKey = KEY) -> Sealing:
    """A sealer's work, without its lease."""
    return Sealing(
        feed=rig.raw,
        checkpoints=rig.checkpoints,
        tiles=TileStore(pool),
        marks=SignedMarks(pool),
        key=key,
        base=BASE,
        report=_unexpected,
    )


async def _unexpected(event: RawEvent, reason: str) -> None:
    raise AssertionError(f"event {event.position}: {reason}")


async def take_in(work: Sealing, rig: Rig) -> None:
    """Into a sealer's work what the stream holds by now."""
    async with aclosing(rig.raw.read(work.position)) as batches:
        async for batch in batches:
            await work.apply(batch)


async def seal(rig: Rig, pool: Pool, key: SigningKey = KEY, cosign: Cosign | None = None) -> int:
    """Seal everything that the stream holds, once; how many checkpoints that made."""
    rebuild = False
    while True:
        work = sealing(rig, pool, key)
        try:
            await work.open(rebuild=rebuild)
            await take_in(work, rig)
            made = await work.seal()
            if cosign is not None:
                await work.ask(cosign)
            return made
        except TilesWrong:
            assert not rebuild
            rebuild = True


async def sealer_role(
    rig: Rig, pool: Pool, *, every: float = 0.1, witnesses: Witnesses | None = None
) -> Sealer:
    """The role."""
    leases = Leases(rig.js)
    await leases.ensure()
    return Sealer(
        rig.nc,
        feed=rig.raw,
        checkpoints=rig.checkpoints,
        tiles=TileStore(pool),
        marks=SignedMarks(pool),
        leases=leases,
        dead_letters=rig.dead_letters,
        metrics=rig.metrics,
        key=lambda first: KEY,
        base=BASE,
        every=every,
        lease_seconds=2,
        witnesses=witnesses,
    )


@asynccontextmanager
async def sealer(
    rig: Rig, pool: Pool, *, every: float = 0.1, witnesses: Witnesses | None = None
) -> AsyncIterator[None]:
    """The role, running while the block runs."""
    role = await sealer_role(rig, pool, every=every, witnesses=witnesses)
    task = asyncio.create_task(role.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


async def raw_events(rig: Rig) -> list[RawEvent]:
    """Everything that the stream holds."""
    async with aclosing(rig.raw.read()) as batches:
        return [event async for batch in batches for event in batch]


async def stored_notes(rig: Rig) -> list[StoredNote]:
    """All checkpoints' notes."""
    async with aclosing(read_notes(rig.notes)) as batches:
        return [note async for batch in batches for note in batch]


async def names(rig: Rig) -> LogNames:
    """The names of the logs over the stream."""
    return LogNames(BASE, await rig.raw.identity())


async def assert_truly_signed(rig: Rig) -> dict[str, list[Checkpoint]]:
    """Every checkpoint is what the stream gives, one root a size, and grows; by origin.
    What was cosigned is one of them."""
    known = await names(rig)
    leaves: dict[str, list[bytes]] = {}
    for event in await raw_events(rig):
        leaf = hash_of(rig.raw.stream, event)
        tenant = event.subject.split(".")[1]
        for log in ("stream", f"tenant/{tenant}"):
            leaves.setdefault(known.origin(log), []).append(leaf)
    found: dict[str, list[Checkpoint]] = {}
    cosigned: dict[str, list[int]] = {}
    for stored in await stored_notes(rig):
        note = parse_note(stored.raw)
        origin = cosigned_origin(stored.origin) or stored.origin
        assert verified(note, [KEY.verifier(origin)], check_ed25519)
        checkpoint = parse_checkpoint(note.text)
        assert checkpoint.origin == origin
        assert checkpoint.root == root_of(leaves[origin][: checkpoint.size])
        if stored.origin == origin:
            found.setdefault(origin, []).append(checkpoint)
        else:
            assert checkpoint in found[origin]
            cosigned.setdefault(origin, []).append(checkpoint.size)
    for checkpoints in found.values():
        sizes = [one.size for one in checkpoints]
        assert sizes == sorted(set(sizes)), "one checkpoint a size, and no way back"
    for again in cosigned.values():
        assert again == sorted(again)
    return found
