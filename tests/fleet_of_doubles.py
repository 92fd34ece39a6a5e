"""Many doubles behind one address, registered as an inventory; and collectors that are killed."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from adapters.collecting.credentials import BUCKET as CREDENTIALS
from adapters.collecting.credentials import CredentialStore, Stored
from adapters.collecting.registering import Registrar
from adapters.collecting.schedule import BUCKET as SCHEDULE
from adapters.jetstream.buckets import Bucket
from adapters.jetstream.leases import Leases
from domain.events import DeviceSettings
from tests.rig import Rig

ROOT = Path(__file__).parent.parent
PASSWORD = "correct-horse"
TENANT = "acme"


async def register(
    parts: Rig, port: int, names: Sequence[str], *, interval_seconds: int = 86_400
) -> None:
    """Register the doubles behind a port; each logs in under its own name."""
    await Leases(parts.js).ensure()
    credentials = Bucket(parts.js, CREDENTIALS)
    await credentials.ensure()
    await Bucket(parts.js, SCHEDULE).ensure()
    store = CredentialStore(credentials, parts.keyring)
    await store.put(TENANT, "main", Stored(password=PASSWORD))
    registrar = Registrar(parts.devices)
    for name in names:
        settings = DeviceSettings(
            addresses=("127.0.0.1",),
            port=port,
            username=name,
            credential="store:main",
            interval_seconds=interval_seconds,
        )
        await registrar.configure(TENANT, name, settings, actor="user:tests")


class CollectorProcess:
    """A collector in a process of its own."""

    def __init__(self, url: str, *, at_once: int, lease_seconds: float) -> None:
        self._arguments = (url, str(at_once), str(lease_seconds))
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; it may take a while until it collects."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.collector_program", *self._arguments),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )

    async def at_work(self) -> None:
        """Wait until it knows the inventory, and takes part."""
        assert self._process is not None
        assert self._process.stdout is not None
        if await self._process.stdout.readline() != b"ready\n":
            raise AssertionError("the collector ended before it was at work")

    async def kill(self) -> None:
        """SIGKILL, as the kernel's out-of-memory killer would."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid


class Gaps:
    """When each device was logged in to, on one clock."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def note(self, name: str) -> None:
        """A login of now."""
        self.times.setdefault(name, []).append(time.monotonic())

    def longest(self, until: float) -> float:
        """The longest time that a device was left alone, up to `until`."""
        return max(
            later - earlier
            for times in self.times.values()
            for earlier, later in zip(times, [*times[1:], until], strict=True)
        )

    def longer_than(self, seconds: float) -> int:
        """How many gaps between two logins of a device were longer."""
        return sum(gap > seconds for gap in self._between())

    def count(self) -> int:
        """How many gaps there were."""
        return sum(1 for _ in self._between())

    def _between(self) -> Iterator[float]:
        for times in self.times.values():
            for earlier, later in pairwise(times):
                yield later - earlier
