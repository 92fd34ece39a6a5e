"""Trying parked events again: after a fix, or when they were skipped."""

from __future__ import annotations

import logging
from typing import Any

from msgspec import Struct

from projections import checkpoints, parking
from projections.parking import DeviceKey
from projections.poison import Careful
from projections.projection import Projection
from projections.rows import Pool
from projections.schema import LIVE, write_to
from projections.source import EventSource

log = logging.getLogger(__name__)

CHUNK = 500


class Retried(Struct, frozen=True):
    """How many events of the device came in or were skipped, and how many of them stay parked."""

    done: int
    left: int


async def retry(
    pool: Pool, source: EventSource, projection: Projection[Any], device: DeviceKey
) -> Retried:
    """Try the device's parked events in their order, up to the first that still can't be taken in.

    Safe beside a running worker: it holds the checkpoint, as every writer does.
    """
    done = 0
    while True:
        positions = await parking.chain(pool, projection.name, device, CHUNK)
        events = [await source.at(position) for position in positions]
        async with pool.acquire() as connection, connection.transaction():
            await write_to(connection, LIVE)
            found = await checkpoints.load(connection, projection, LIVE, lock=True)
            if found is None or found.version != projection.version:
                return Retried(done, len(positions))
            if await parking.chain(connection, projection.name, device, CHUNK) != positions:
                continue  # somebody else was at it
            parked = await Careful(projection, source, LIVE).bring(connection, events, set())
            freed = [position for position in positions if position not in parked]
            await parking.free(connection, projection.name, device, freed)
        done += len(freed)
        if parked or len(positions) < CHUNK:
            return Retried(done, len(parked))


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
