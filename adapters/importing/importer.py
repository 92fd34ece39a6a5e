"""Sends readings through the intake and tells what became of each, from the log itself.

Importing again is harmless: a reading that has its fact already is counted as known.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Final

from msgspec import Struct

from adapters.composition import System
from adapters.importing.folder import FolderReading, text_of
from adapters.jetstream.dead_letters import DeadLetter
from adapters.jetstream.progress import STALLED_SECONDS, wait_acknowledged
from adapters.jetstream.streams import INTAKE
from adapters.roles import recorder
from domain.decisions import observed_event_id
from domain.envelope import StoredEvent
from domain.errors import InvalidInput, Unavailable
from domain.events import DuplicateSkipped, SnapshotCreated
from domain.ids import observation_id

log = logging.getLogger(__name__)

# After this long without a new difference, what is missing is looked for among the dead letters.
GIVEN_UP_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.05
_AGAIN_SECONDS: Final = 0.5
_LETTERS: Final = 200

Told = Callable[[str, int], None]


class Refused(Struct, frozen=True):
    """A reading that became no fact, and why. `letter` is its dead letter; None: never sent."""

    where: str
    field: str
    rule: str
    letter: int | None


class Imported(Struct, frozen=True, kw_only=True):
    """What became of the readings: `known` had their fact before; the others add up to all.

    `diffs` are the differences that belong to the new snapshots, `diffs_failed` those that could
    not be worked out (each is a dead letter).
    """

    devices: int
    readings: int
    created: int
    duplicates: int
    known: int
    refused: tuple[Refused, ...]
    diffs: int
    diffs_failed: int


class _Sent(Struct, frozen=True):
    reading: FolderReading
    sequence: int
    event_id: str


async def import_readings(
    system: System, tenant_id: str, readings: Sequence[FolderReading], told: Told
) -> Imported:
    """Send every reading, in order, and wait until each is recorded (or refused) and compared.

    A recorder and a differ must run somewhere. `told` hears of progress: the stage `sent`,
    `recorded` or `compared`, and how many are. Raises `IntakeFull`, `Unavailable`.
    """
    devices = sorted({one.device_id for one in readings})
    before = {device: await _facts(system, tenant_id, device) for device in devices}
    sent, refused = await _send(system, tenant_id, readings, told)
    if sent:
        await _recorded(system, sent, told)
    after = {device: await _facts(system, tenant_id, device) for device in devices}
    new: dict[str, list[StoredEvent]] = defaultdict(list)
    known = duplicates = 0
    unaccounted: list[_Sent] = []
    counted: set[tuple[str, str]] = set()
    for one in sent:
        device = one.reading.device_id
        stored = after[device].get(one.event_id)
        if stored is None:
            unaccounted.append(one)
        elif one.event_id in before[device] or (device, one.event_id) in counted:
            known += 1
        elif isinstance(stored.event, SnapshotCreated):
            new[device].append(stored)
        else:
            duplicates += 1
        counted.add((device, one.event_id))
    refused += await _refusals(system, unaccounted)
    diffs, failed = await _compared(system, tenant_id, new, told)
    return Imported(
        devices=len(devices),
        readings=len(readings),
        created=sum(map(len, new.values())),
        duplicates=duplicates,
        known=known,
        refused=tuple(refused),
        diffs=diffs,
        diffs_failed=failed,
    )


async def _send(
    system: System, tenant_id: str, readings: Sequence[FolderReading], told: Told
) -> tuple[list[_Sent], list[Refused]]:
    """Send each, in order; those that can't even be sent are refused here."""
    key = (await system.keyring.tenant(tenant_id)).fingerprint_key
    sent: list[_Sent] = []
    refused: list[Refused] = []
    for number, reading in enumerate(readings, 1):
        device_id, moment = reading.device_id, reading.collected_at
        try:
            text = await asyncio.to_thread(text_of, reading)
            sequence = await _publish(system, tenant_id, device_id, text, moment)
        except InvalidInput as error:
            refused.append(Refused(reading.where, error.field, error.rule, None))
        else:
            digest = hashlib.sha256(text.encode()).hexdigest()
            identity = observation_id(key, tenant_id, device_id, moment, digest)
            sent.append(_Sent(reading, sequence, observed_event_id(identity)))
        told("sent", number)
    return sent, refused


async def _publish(
    system: System, tenant_id: str, device_id: str, text: str, moment: datetime
) -> int:
    """Send one reading, over outages: sent twice it is the same observation."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STALLED_SECONDS
    while True:
        try:
            return await system.intake.publish(
                tenant_id, device_id, text, moment, source="imported"
            )
        except Unavailable as error:
            if loop.time() > deadline:
                raise
            log.warning("sending again: %s", error)
        await asyncio.sleep(_AGAIN_SECONDS)


async def _facts(system: System, tenant_id: str, device_id: str) -> dict[str, StoredEvent]:
    """The device's recorded observations by event id."""
    async with aclosing(system.events.read_branch(tenant_id, device_id)) as branch:
        return {
            stored.event_id: stored
            async for stored in branch
            if isinstance(stored.event, SnapshotCreated | DuplicateSkipped)
        }


async def _recorded(system: System, sent: Sequence[_Sent], told: Told) -> None:
    """Return when the recorder has acknowledged all that was sent, whatever else is on the intake.

    It acknowledges after the effect is durable.
    """
    sequences = sorted(one.sequence for one in sent)
    await wait_acknowledged(
        system.js,
        INTAKE,
        recorder.CONSUMER,
        sequences[-1],
        told=lambda floor: told("recorded", bisect_right(sequences, floor)),
    )


async def _refusals(system: System, sent: Sequence[_Sent]) -> list[Refused]:
    """The reasons why messages became no facts, from their dead letters."""
    letters = await _letters(system, {f"intake.{one.sequence}" for one in sent})
    found = []
    for one in sent:
        letter = letters.get(f"intake.{one.sequence}")
        if letter is None:
            # Somebody has retried it meanwhile.
            why = Refused(one.reading.where, "message", "it is neither a fact nor a letter", None)
        else:
            why = Refused(one.reading.where, letter.field, letter.rule, letter.sequence)
        found.append(why)
    return found


async def _letters(system: System, wanted: set[str]) -> dict[str, DeadLetter]:
    """The dead letters that their origins call so."""
    found: dict[str, DeadLetter] = {}
    before: int | None = None
    while len(found) < len(wanted) and (page := await system.dead_letters.list(_LETTERS, before)):
        before = page[-1].sequence
        found |= {one.letter_id: one for one in page if one.letter_id in wanted and one.letter_id}
    return found


async def _compared(
    system: System, tenant_id: str, new: Mapping[str, Sequence[StoredEvent]], told: Told
) -> tuple[int, int]:
    """Wait for the differences of the new snapshots; how many there are, how many failed."""
    waiting = {
        device: {pair: stored.position for stored in events for pair in _pairs(stored)}
        for device, events in new.items()
    }
    total = sum(len(pairs) for pairs in waiting.values())
    loop = asyncio.get_running_loop()
    last, moved = -1, loop.time()
    while True:
        left = [
            waiting[device][pair]
            for device in new
            for pair in (await system.devices.refresh(tenant_id, device)).pending_diffs
            if pair in waiting[device]
        ]
        if len(left) != last:
            last, moved = len(left), loop.time()
            told("compared", total - len(left))
        if not left:
            return total, 0
        if loop.time() - moved > GIVEN_UP_SECONDS:
            # Nothing moves: either what is left has failed, or nobody works.
            letters = await _letters(system, {f"differ.{position}" for position in left})
            if len(letters) == len(set(left)):
                return total - len(left), len(left)
        if loop.time() - moved > STALLED_SECONDS:
            raise Unavailable("the differ", f"it has not moved for {STALLED_SECONDS:g} s")
        await asyncio.sleep(_LOOK_SECONDS)


def _pairs(stored: StoredEvent) -> list[tuple[str, str]]:
    """The pairs of snapshots whose difference a new snapshot asks for."""
    event = stored.event
    assert isinstance(event, SnapshotCreated)
    pairs = []
    if event.predecessor is not None:
        pairs.append((event.predecessor.snapshot_id, event.snapshot_id))
    if event.successor is not None:
        pairs.append((event.snapshot_id, event.successor.snapshot_id))
    return pairs
