"""A collector as a program of its own: `python -m tests.collector_program URL AT_ONCE LEASE`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from adapters.collecting.collection import DeviceCollector
from adapters.collecting.credentials import BUCKET as CREDENTIALS
from adapters.collecting.credentials import Credentials, CredentialStore
from adapters.collecting.schedule import BUCKET as SCHEDULE
from adapters.collecting.schedule import Schedule
from adapters.jetstream.buckets import Bucket
from adapters.jetstream.leases import Leases
from adapters.roles.collector import Collector
from adapters.roles.trigger import TriggerService
from adapters.settling import settle_memory
from tests.rig import rig
from tests.support import eventually


async def collect(url: str, at_once: int, lease_seconds: float) -> None:
    """Collect until killed."""
    async with rig(url) as parts:
        leases = Leases(parts.js)
        schedule = Schedule(Bucket(parts.js, SCHEDULE))
        credentials = CredentialStore(Bucket(parts.js, CREDENTIALS), parts.keyring)
        collector = Collector(
            parts.nc,
            parts.js,
            collecting=DeviceCollector(
                devices=parts.devices,
                credentials=Credentials(credentials, None, Path()),
                schedule=schedule,
                leases=leases,
                intake=parts.intake,
                keyring=parts.keyring,
                lease_seconds=lease_seconds,
            ),
            schedule=schedule,
            trigger=TriggerService(
                parts.nc,
                devices=parts.devices,
                events=parts.events,
                leases=leases,
                keyring=parts.keyring,
                metrics=parts.metrics,
                schedule=schedule,
            ),
            metrics=parts.metrics,
            at_once=at_once,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(collector.run())
            await eventually(collector.settings_at, within=120)
            settle_memory()  # as the command does
            sys.stdout.write("ready\n")
            sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(collect(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
