"""Plays the fleet's history through the real intake, and waits until all of it is known.

Playing again is harmless. A reading that is sent again is the same observation, which has its fact
already. The intake knows no such thing for a message that breaks its rules: each one that comes is
a dead letter of its own. So the broken one is only sent while no letter holds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from adapters.composition import System
from adapters.demo.fleet import TENANT, Broken, Delivery, Fleet, Reading, fleet
from adapters.jetstream.connection import outage_as_unavailable
from adapters.jetstream.dead_letters import DeadLetter
from adapters.jetstream.intake import CREATE
from adapters.jetstream.streams import INTAKE, INTAKE_SUBJECT
from domain.errors import Unavailable

SETTLE_SECONDS = 180.0
_LOOK_SECONDS = 0.05
_PAGE = 100


async def play(system: System, fleet: Fleet, told: Callable[[Delivery], None]) -> None:
    """Send every message in the order of arrival; `told` hears of each once it is durable.

    Raises `IntakeFull`, `Unavailable`.
    """
    # What an earlier play left on the intake may be the broken message.
    await settled(system)
    for delivery in fleet.deliveries:
        match delivery:
            case Reading():
                await system.intake.publish(
                    TENANT,
                    delivery.device_id,
                    delivery.text,
                    delivery.collected_at,
                    source="scheduled",
                )
            case Broken():
                if not await letters_of(system, delivery):
                    await system.intake.publish_raw(CREATE, delivery.body)
        told(delivery)


async def settled(system: System) -> None:
    """Return when everything on the intake is recorded, compared and in the read models.

    The roles must be running. Raises `Unavailable` when that takes longer than `SETTLE_SECONDS`.
    """
    doing = "the recorder"
    try:
        async with asyncio.timeout(SETTLE_SECONDS):
            await _nothing_left(partial(_on_the_intake, system))
            doing = "the differ"
            await _nothing_left(partial(_to_be_compared, system))
            head = await system.events.head()
            for worker in system.projections:
                doing = f"the projection {worker.name}"
                await worker.wait(head)
    except TimeoutError as error:
        raise Unavailable(doing, f"it has not finished after {SETTLE_SECONDS:g} s") from error


async def letters_of(system: System, broken: Broken) -> list[DeadLetter]:
    """The dead letters that hold this very message."""
    found: list[DeadLetter] = []
    before: int | None = None
    while page := await system.dead_letters.list(_PAGE, before):
        before = page[-1].sequence
        found += [
            letter
            for letter in page
            if letter.size_bytes == len(broken.body)
            and await system.dead_letters.original(letter.sequence) == broken.body
        ]
    return found


async def _nothing_left(count: Callable[[], Awaitable[int]]) -> None:
    while True:
        if not await count():
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _on_the_intake(system: System) -> int:
    """How many messages are not worked off: an acknowledged one is gone."""
    with outage_as_unavailable("looking at the intake"):
        info = await system.js.stream_info(INTAKE, subjects_filter=INTAKE_SUBJECT)
    return sum((info.state.subjects or {}).values())


async def _to_be_compared(system: System) -> int:
    """How many differences of the fleet's devices nobody has told yet."""
    states = [await system.devices.refresh(TENANT, one.device_id) for one in fleet().expected]
    return sum(len(state.pending_diffs) for state in states)
