"""Sends readings through the intake and tells what became of each, from the log itself.

Importing again is harmless: a reading that has its fact already is counted as known.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct
from nats.js.errors import NotFoundError

from adapters.composition import System
from adapters.importing.reading import Reading
from adapters.jetstream.connection import outage_as_unavailable
from adapters.jetstream.intake import IntakeFull
from adapters.jetstream.streams import EVENTS, INTAKE
from adapters.roles import differ, recorder
from domain.errors import InvalidInput, Unavailable
from domain.events import DuplicateSkipped, SnapshotCreated
from domain.ids import observation_id

# Without any progress for this long, whoever should record or compare is not there.
STALLED_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.05
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
    reading: Reading
    sequence: int
    event_id: str


async def import_readings(
    system: System, tenant_id: str, readings: Sequence[Reading], told: Told
) -> Imported:
    """Send every reading, in order, and wait until each is recorded (or refused) and compared.

    A recorder and a differ must run somewhere. `told` hears of progress: the stage `sent`,
    `recorded` or `compared`, and how many are. Raises `IntakeFull`, `Unavailable`.
    """
    devices = sorted({one.device_id for one in readings})
    before = {device: set(await _facts(system, tenant_id, device)) for device in devices}
    key = (await system.keyring.tenant(tenant_id)).fingerprint_key
    sent: list[_Sent] = []
    refused: list[Refused] = []
    known = created = duplicates = 0
    for number, reading in enumerate(readings, 1):
        device = reading.device_id
        try:
            text = await asyncio.to_thread(reading.text)
            digest = hashlib.sha256(text.encode()).hexdigest()
            identity = observation_id(key, tenant_id, device, reading.collected_at, digest)
            event_id = f"observation.{identity}"
            if event_id in before[device]:
                known += 1
            else:
                sequence = await _publish(system, tenant_id, reading, text)
                sent.append(_Sent(reading, sequence, event_id))
                before[device].add(event_id)
        except InvalidInput as error:
            refused.append(Refused(reading.where, error.field, error.rule, None))
        told("sent", number)
    if sent:
        await wait_recorded(system, [one.sequence for one in sent], told)
    ours: dict[str, set[str]] = {}
    unaccounted: list[_Sent] = []
    by_device: dict[str, list[_Sent]] = defaultdict(list)
    for one in sent:
        by_device[one.reading.device_id].append(one)
    for device, of_device in by_device.items():
        facts = await _facts(system, tenant_id, device)
        unaccounted += [one for one in of_device if one.event_id not in facts]
        made = [facts[one.event_id] for one in of_device if one.event_id in facts]
        duplicates += sum(one is None for one in made)
        ours[device] = {one for one in made if one is not None}
        created += len(ours[device])
    refused += await _refusals(system, unaccounted)
    diffs, failed = await _compared(system, tenant_id, ours, told)
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


async def _publish(system: System, tenant_id: str, reading: Reading, text: str) -> int:
    """Send one reading; waits for room when the intake is full."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STALLED_SECONDS
    while True:
        try:
            return await system.intake.publish(
                tenant_id,
                reading.device_id,
                text,
                reading.collected_at,
                source="imported",
                author=reading.author,
            )
        except IntakeFull:
            if loop.time() > deadline:
                raise
            await asyncio.sleep(_LOOK_SECONDS * 10)


async def _facts(system: System, tenant_id: str, device_id: str) -> dict[str, str | None]:
    """The device's recorded observations: for the event's id the snapshot that it created, None
    when it confirmed one."""
    return {
        stored.event_id: stored.event.snapshot_id
        if isinstance(stored.event, SnapshotCreated)
        else None
        async for stored in system.events.read_branch(tenant_id, device_id)
        if isinstance(stored.event, SnapshotCreated | DuplicateSkipped)
    }


async def wait_recorded(system: System, sent: Sequence[int], told: Told) -> None:
    """Return when the recorder has acknowledged all these of the intake, whatever else is on it.

    It acknowledges after the effect is durable; below its floor nothing is open any more.
    """
    sequences = sorted(sent)
    loop = asyncio.get_running_loop()
    floor, moved = -1, loop.time()
    while True:
        with outage_as_unavailable("asking how far the recorder is"):
            try:
                info = await system.js.consumer_info(INTAKE, recorder.CONSUMER)
            except NotFoundError:  # the recorder has just started
                reached = 0
            else:
                assert info.ack_floor is not None
                reached = info.ack_floor.stream_seq or 0
        if reached != floor:
            floor, moved = reached, loop.time()
            told("recorded", sum(one <= floor for one in sequences))
        if floor >= sequences[-1]:
            return
        if loop.time() - moved > STALLED_SECONDS:
            raise Unavailable(
                "the recorder",
                f"it has not moved for {STALLED_SECONDS:g} s; what was sent is safe on the intake "
                "and will be recorded when one runs",
            )
        await asyncio.sleep(_LOOK_SECONDS)


async def _refusals(system: System, sent: Sequence[_Sent]) -> list[Refused]:
    """The reasons why messages became no facts, from their dead letters."""
    waiting = {f"intake.{one.sequence}": one for one in sent}
    found: list[Refused] = []
    before: int | None = None
    while waiting and (page := await system.dead_letters.list(_LETTERS, before)):
        before = page[-1].sequence
        for letter in page:
            one = waiting.pop(letter.letter_id or "", None)
            if one is not None:
                found.append(Refused(one.reading.where, letter.field, letter.rule, letter.sequence))
    # Somebody may have retried or removed a letter meanwhile.
    found += [
        Refused(one.reading.where, "message", "it is neither a fact nor a dead letter", None)
        for one in waiting.values()
    ]
    return sorted(found, key=lambda one: one.letter or 0)


async def _compared(
    system: System, tenant_id: str, ours: dict[str, set[str]], told: Told
) -> tuple[int, int]:
    """Wait for the differences of the new snapshots; how many there are, how many failed."""
    loop = asyncio.get_running_loop()
    pairs = {
        device: {pair for pair in await _pairs(system, tenant_id, device) if snapshots & set(pair)}
        for device, snapshots in ours.items()
    }
    total = sum(len(found) for found in pairs.values())

    async def open_ones() -> int:
        found = 0
        for device, wanted in pairs.items():
            state = await system.devices.refresh(tenant_id, device)
            found += len(wanted.intersection(state.pending_diffs))
        return found

    last, moved = -1, loop.time()
    while True:
        # Asked first: what an idle differ has left open stays open.
        idle = await _differ_idle(system)
        asked = loop.time()
        left = await open_ones()
        if left != last:
            last, moved = left, loop.time()
            told("compared", total - left)
        if idle or not left:
            return total - left, left
        if loop.time() - moved > STALLED_SECONDS:
            raise Unavailable("the differ", f"it has not moved for {STALLED_SECONDS:g} s")
        # Of many devices it is a long question, which must not keep the differ from its work.
        await asyncio.sleep(max(_LOOK_SECONDS, 4 * (loop.time() - asked)))


async def _differ_idle(system: System) -> bool:
    """Whether the differ has nothing left, neither waiting nor in work."""
    with outage_as_unavailable("asking how far the differ is"):
        try:
            info = await system.js.consumer_info(EVENTS, differ.CONSUMER)
        except NotFoundError:  # the differ has just started
            return False
    return not info.num_pending and not info.num_ack_pending


async def _pairs(system: System, tenant_id: str, device_id: str) -> set[tuple[str, str]]:
    """All pairs of snapshots of a device that have, or wait for, a difference."""
    found = set()
    async for stored in system.events.read_branch(tenant_id, device_id):
        fact = stored.event
        if isinstance(fact, SnapshotCreated):
            if fact.predecessor is not None:
                found.add((fact.predecessor.snapshot_id, fact.snapshot_id))
            if fact.successor is not None:
                found.add((fact.snapshot_id, fact.successor.snapshot_id))
    return found
