"""Sends readings through the intake and tells what became of each, from the log itself.

Importing again is harmless: a reading that has its fact already is counted as known.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from msgspec import Struct

from adapters.composition import System
from adapters.importing.reading import Reading
from adapters.importing.sending import Refused, Sender, Sent
from adapters.jetstream.dead_letters import DeadLetter
from adapters.jetstream.progress import STALLED_SECONDS, wait_acknowledged
from adapters.jetstream.streams import INTAKE
from adapters.roles import recorder
from domain.envelope import StoredEvent
from domain.errors import Unavailable
from domain.events import DuplicateSkipped, SnapshotCreated

# After this long without a new difference, what is missing is looked for among the dead letters.
GIVEN_UP_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.05
_LETTERS: Final = 200

Told = Callable[[str, int], None]
# Ids of two snapshots whose difference is told.
_Pair = tuple[str, str]


class Imported(Struct, frozen=True, kw_only=True):
    """What became of the readings: `known` had their fact before; the others add up to all, but for
    files that were `refused` before they were any.

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


async def import_readings(
    system: System,
    tenant_id: str,
    readings: Sequence[Reading],
    told: Told,
    *,
    platform: str | None = None,
) -> Imported:
    """Send every reading, in order, and wait until each is recorded (or refused) and compared.

    A recorder and a differ must run somewhere. `told` hears of progress: the stage `sent`,
    `recorded` or `compared`, and how many are. `platform` is that of readings
    which name none; without it RouterOS is told by their texts.
    Raises `IntakeFull`, `Unavailable`.
    """
    devices = sorted({one.device_id for one in readings})
    before = {device: set(await _facts(system, tenant_id, device)) for device in devices}
    sender = Sender(system.intake, system.keyring, tenant_id, platform)
    sent, refused = await sender.send(readings, before, lambda number: told("sent", number))
    known = len(readings) - len(sent) - len(refused)
    if sent:
        await wait_recorded(system, [one.sequence for one in sent], told)
    by_device: dict[str, list[Sent]] = defaultdict(list)
    for one in sent:
        by_device[one.reading.device_id].append(one)
    created = duplicates = 0
    waiting: dict[str, dict[_Pair, int]] = {}
    unaccounted: list[Sent] = []
    # Device by device: all facts of a long history at once would take much memory.
    for device, of_device in by_device.items():
        facts = await _facts(system, tenant_id, device)
        unaccounted += [one for one in of_device if one.event_id not in facts]
        made = [facts[one.event_id] for one in of_device if one.event_id in facts]
        new = [stored for stored in made if isinstance(stored.event, SnapshotCreated)]
        created += len(new)
        duplicates += len(made) - len(new)
        waiting[device] = {pair: stored.position for stored in new for pair in _pairs(stored)}
    refused += await _refusals(system, unaccounted)
    diffs, failed = await _compared(system, tenant_id, waiting, told)
    return Imported(
        devices=len(devices),
        readings=len(readings),
        created=created,
        duplicates=duplicates,
        known=known,
        refused=tuple(refused),
        diffs=diffs,
        diffs_failed=failed,
    )


async def _facts(system: System, tenant_id: str, device_id: str) -> dict[str, StoredEvent]:
    """The device's recorded observations by event id."""
    async with aclosing(system.events.read_branch(tenant_id, device_id)) as branch:
        return {
            stored.event_id: stored
            async for stored in branch
            if isinstance(stored.event, SnapshotCreated | DuplicateSkipped)
        }


async def wait_recorded(system: System, sent: Sequence[int], told: Told) -> None:
    """Return when the recorder has acknowledged all these of the intake, whatever else is on it.

    It acknowledges after the effect is durable.
    """
    sequences = sorted(sent)
    await wait_acknowledged(
        system.js,
        INTAKE,
        recorder.CONSUMER,
        sequences[-1],
        told=lambda floor: told("recorded", bisect_right(sequences, floor)),
    )


async def _refusals(system: System, sent: Sequence[Sent]) -> list[Refused]:
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
    system: System, tenant_id: str, waiting: Mapping[str, Mapping[_Pair, int]], told: Told
) -> tuple[int, int]:
    """Wait for the differences of the new snapshots; how many there are, how many failed."""
    total = sum(len(pairs) for pairs in waiting.values())
    loop = asyncio.get_running_loop()
    last, moved = -1, loop.time()
    while True:
        asked = loop.time()
        left = [
            waiting[device][pair]
            for device in waiting
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
        # Of many devices it is a long question, which must not keep the differ from its work.
        await asyncio.sleep(max(_LOOK_SECONDS, 4 * (loop.time() - asked)))


def _pairs(stored: StoredEvent) -> list[_Pair]:
    """The pairs of snapshots whose difference a new snapshot asks for."""
    event = stored.event
    assert isinstance(event, SnapshotCreated)
    pairs = []
    if event.predecessor is not None:
        pairs.append((event.predecessor.snapshot_id, event.snapshot_id))
    if event.successor is not None:
        pairs.append((event.snapshot_id, event.successor.snapshot_id))
    return pairs
