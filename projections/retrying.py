"""Trying parked events again: after a fix, or when they were skipped."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import asyncpg
from msgspec import Struct

from domain.errors import Unavailable
from projections import checkpoints, parking
from projections.lease import held_while_marked
from projections.parking import DeviceKey
from projections.poison import Careful
from projections.projection import Projection
from projections.rows import Pool
from projections.schema import LIVE, write_to
from projections.source import Delivered, EventSource
from projections.writer import lease_name

log = logging.getLogger(__name__)

CHUNK = 500
# Workers hold the checkpoint for a batch, a rebuild for the moment in which it takes the live
# one's place.
HELD_SECONDS = 10.0
IDLE_SECONDS = 20.0
MOST_OVERTAKEN = 20


class _ComesIn(Exception):
    """The first event comes in, so those that wait for it are worth reading."""


class Retried(Struct, frozen=True):
    """How many events of the device came in or were skipped, and how many of them stay parked."""

    done: int
    left: int


async def retry(
    pool: Pool, source: EventSource, projection: Projection[Any], device: DeviceKey
) -> Retried:
    """Try the device's parked events in their order, up to the first that still can't be taken in.

    Safe beside a running worker: it holds the checkpoint, as every writer does. Raises
    `Unavailable` when others don't let go of it, or always come first.
    """
    done = overtaken = 0
    size = 1  # where the first one still can't be taken in, those that wait for it need no reading
    while overtaken < MOST_OVERTAKEN:
        chain = await parking.chain(pool, projection.name, device, size)
        events = [await source.at(position) for position in chain]
        try:
            step = await _step(pool, source, projection, device, chain, events)
        except asyncpg.LockNotAvailableError as error:
            raise _busy(
                projection, f"its rows were held by others for {HELD_SECONDS:g} s"
            ) from error
        except _ComesIn:
            size = CHUNK
            continue
        if step is None:
            overtaken += 1
            continue
        done += step.done
        if step.done < len(chain) or not step.left:
            return Retried(done, step.left)
    raise _busy(projection, f"others were at these parked events {overtaken} times meanwhile")


async def _step(
    pool: Pool,
    source: EventSource,
    projection: Projection[Any],
    device: DeviceKey,
    chain: dict[int, bool],
    events: Sequence[Delivered],
) -> Retried | None:
    """Try the first parked events of the device, which were read before; None when they are
    others by now."""
    name = projection.name
    async with pool.acquire() as connection, connection.transaction():
        await write_to(connection, LIVE)
        await connection.execute(held_while_marked(lease_name(projection), IDLE_SECONDS))
        await connection.execute(f"SET LOCAL lock_timeout = '{HELD_SECONDS}s'")
        found = await checkpoints.load(connection, projection, LIVE, lock=True)
        if found is None or found.version != projection.version:
            return Retried(0, await parking.count(connection, name, device))
        if await parking.chain(connection, name, device, max(1, len(chain))) != chain:
            return None
        brought = await Careful(projection, source, LIVE).bring(connection, events, set())
        freed = [position for position in chain if position not in brought.parked]
        await parking.free(connection, name, device, freed)
        left = await parking.count(connection, name, device)
        if freed and left and len(chain) == 1:
            raise _ComesIn
    brought.tell(name, known=[position for position, tried in chain.items() if tried])
    return Retried(len(freed), left)


def _busy(projection: Projection[Any], reason: str) -> Unavailable:
    return Unavailable(f"projection {projection.name}", f"{reason}; try again")


async def retry_all(pool: Pool, source: EventSource, projection: Projection[Any]) -> None:
    """Try all parked events once: whoever begins to follow may know what the one before did not."""
    async with pool.acquire() as connection:
        devices = await parking.devices(connection, projection.name)
    for device in sorted(devices):
        found = await retry(pool, source, projection, device)
        if found.done:
            log.info(
                "projection %s: %d parked events of a device came in, %d stay parked",
                projection.name,
                found.done,
                found.left,
            )
