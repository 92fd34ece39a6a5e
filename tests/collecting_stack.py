"""What collecting needs, on the servers of the tests: for tests of one program and of several."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from nats.js import JetStreamContext

from adapters.collecting.collection import Collected, DeviceCollector
from adapters.collecting.credentials import BUCKET as CREDENTIALS
from adapters.collecting.credentials import Credentials, CredentialStore, Stored
from adapters.collecting.registering import Registrar
from adapters.collecting.schedule import BUCKET as SCHEDULE
from adapters.collecting.schedule import Schedule
from adapters.collecting.targets import Inventory
from adapters.jetstream.buckets import Bucket
from adapters.jetstream.leases import Leases
from adapters.roles.collector import Collector
from adapters.roles.devices import DeviceRepository
from adapters.roles.supervisor import running
from adapters.roles.trigger import TriggerService
from adapters.ssh.jumping import JumpHosts
from domain.events import DeviceSettings, Source
from domain.ids import to_token
from tests.rig import Rig, rig

TENANT, DEVICE, ALICE = "acme", "r1", "user:alice"
PASSWORD = "correct horse"


@dataclass
class Stack:
    """A rig with what collecting needs on top."""

    rig: Rig
    store: CredentialStore
    schedule: Schedule
    leases: Leases
    folder: Path

    def collecting(
        self, lease_seconds: float = 20, jump_hosts: JumpHosts | None = None
    ) -> DeviceCollector:
        """A collector of another program."""
        return DeviceCollector(
            devices=DeviceRepository(self.rig.events),
            credentials=Credentials(self.store, None, self.folder),
            schedule=self.schedule,
            leases=self.leases,
            intake=self.rig.intake,
            keyring=self.rig.keyring,
            lease_seconds=lease_seconds,
            jump_hosts=jump_hosts,
        )

    def trigger(self, timeout: float = 20) -> TriggerService:
        return TriggerService(
            self.rig.nc,
            devices=DeviceRepository(self.rig.events),
            events=self.rig.events,
            leases=self.leases,
            keyring=self.rig.keyring,
            metrics=self.rig.metrics,
            schedule=self.schedule,
            timeout=timeout,
        )

    def role(self, at_once: int = 8) -> Collector:
        return Collector(
            self.rig.nc,
            self.rig.js,
            collecting=self.collecting(),
            schedule=self.schedule,
            trigger=self.trigger(),
            metrics=self.rig.metrics,
            at_once=at_once,
        )

    @property
    def registrar(self) -> Registrar:
        return Registrar(DeviceRepository(self.rig.events))

    async def unreadable(self, branch: str, name: str, version: int = 2) -> None:
        """An event of that type, of another version or (of version 1) a broken one."""
        await unreadable(self.rig.js, TENANT, branch, name, version)

    async def kinds(self, device: str = DEVICE) -> list[str]:
        """The device's events, by name."""
        return [type(one.event).__name__ for one in await self.rig.history(TENANT, device)]

    async def count(self, kind: type[object], device: str = DEVICE) -> int:
        found = await self.rig.history(TENANT, device)
        return sum(isinstance(one.event, kind) for one in found)


async def unreadable(
    js: JetStreamContext, tenant: str, branch: str, name: str, version: int = 2
) -> None:
    """An event that this program can't read: of another version or (of version 1) a broken one."""
    headers = {
        "ce-id": f"{tenant}-{branch}-{name}",
        "ce-type": f"configtrail.{name}.v{version}",
        "ce-time": "2026-01-01T00:00:00Z",
        "ce-sequence": "1",
    }
    subject = f"configtrail.{to_token(tenant)}.{to_token(branch)}.{name}"
    await js.publish(subject, b"{}", headers=headers)


@asynccontextmanager
async def opened_stack(url: str, folder: Path) -> AsyncIterator[Stack]:
    """The stack at a server, with the credential `store:main`."""
    async with rig(url) as parts:
        leases = Leases(parts.js)
        await leases.ensure()
        credentials, schedule = Bucket(parts.js, CREDENTIALS), Bucket(parts.js, SCHEDULE)
        await credentials.ensure()
        await schedule.ensure()
        store = CredentialStore(credentials, parts.keyring)
        await store.put(TENANT, "main", Stored(username="backup", password=PASSWORD))
        yield Stack(parts, store, Schedule(schedule), leases, folder)


def settings(port: int, **given: object) -> DeviceSettings:
    fields: dict[str, object] = {
        "addresses": ("127.0.0.1",),
        "port": port,
        "credential": "store:main",
    }
    return DeviceSettings(**{**fields, **given})  # type: ignore[arg-type]


def only(**known: DeviceSettings) -> Inventory:
    async def found(name: str) -> DeviceSettings | None:
        return known.get(name)

    return found


async def collect(
    stack: Stack, wanted: DeviceSettings, device: str = DEVICE, source: Source = "scheduled"
) -> Collected:
    """One collection by a program of its own."""
    return await stack.collecting().collect(TENANT, device, wanted, only(), source=source)


@asynccontextmanager
async def collecting(stack: Stack, *roles: Collector) -> AsyncIterator[None]:
    """Collectors at work beside a recorder."""
    named = {f"collector {number}": role.run for number, role in enumerate(roles)}
    async with stack.rig.recording(), running(named):
        yield
