"""The parts of a manual backup on a NATS server, with a collector that says what a test wants."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime

from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg

from adapters.collecting.schedule import BUCKET as SCHEDULE
from adapters.collecting.schedule import Schedule
from adapters.crypto.keys import KeyRing, MasterKey
from adapters.jetstream.buckets import Bucket
from adapters.jetstream.content_store import JetStreamContentStore
from adapters.jetstream.dead_letters import DeadLetters
from adapters.jetstream.event_store import JetStreamEventStore
from adapters.jetstream.intake import IntakePublisher
from adapters.jetstream.key_store import JetStreamKeyStore
from adapters.jetstream.leases import Leases
from adapters.jetstream.streams import ensure_streams
from adapters.observability.metrics import Metrics
from adapters.roles.devices import DeviceRepository
from adapters.roles.reaper import TriggerReaper
from adapters.roles.recorder import Recorder
from adapters.roles.trigger import SUBJECT, TriggerService
from domain.events import (
    BackupOutcome,
    ManualBackupFinished,
    ManualBackupTriggered,
)

TENANT, DEVICE = "acme", "router.1"
ALICE = "user:alice"
CONFIG = "# 2026-03-01 12:00:00 by RouterOS 7.14\n/system identity\nset name=r1\n"
OTHER = CONFIG.replace("r1", "r2")
MASTER = MasterKey(bytes(range(32)))

Answer = Callable[[dict[str, str]], Awaitable[object]]


class TriggerStack(Struct, frozen=True):
    """What a manual backup needs, on a real server, without a recorder."""

    nc: Client
    devices: DeviceRepository
    events: JetStreamEventStore
    leases: Leases
    keyring: KeyRing
    content: JetStreamContentStore
    dead_letters: DeadLetters
    intake: IntakePublisher
    metrics: Metrics
    service: TriggerService

    def another(self, *, timeout: float = 20) -> TriggerService:
        """The service of another program."""
        return TriggerService(
            self.nc,
            devices=DeviceRepository(self.events),
            events=self.events,
            leases=self.leases,
            keyring=self.keyring,
            metrics=self.metrics,
            schedule=Schedule(Bucket(self.nc.jetstream(), SCHEDULE)),
            timeout=timeout,
        )

    def recorder(self) -> Recorder:
        """A recorder for the intake."""
        return Recorder(
            self.nc,
            self.nc.jetstream(),
            devices=self.devices,
            content=self.content,
            keyring=self.keyring,
            dead_letters=self.dead_letters,
            metrics=self.metrics,
            ack_wait=5,
        )

    def reaper(self, *, overdue_after: float) -> TriggerReaper:
        """A reaper of abandoned requests."""
        return TriggerReaper(
            self.nc,
            self.nc.jetstream(),
            devices=DeviceRepository(self.events),
            leases=self.leases,
            dead_letters=self.dead_letters,
            metrics=self.metrics,
            overdue_after=overdue_after,
            ack_wait=5,
        )

    async def ends(self) -> list[BackupOutcome]:
        """How the device's manual backups ended; each has been asked for, and ends once."""
        asked: list[str] = []
        ended: dict[str, BackupOutcome] = {}
        async with aclosing(self.events.read_branch(TENANT, DEVICE)) as branch:
            async for stored in branch:
                match stored.event:
                    case ManualBackupTriggered() as event:
                        asked.append(event.trigger_id)
                    case ManualBackupFinished() as event:
                        assert event.trigger_id in asked
                        assert event.trigger_id not in ended
                        ended[event.trigger_id] = event.outcome
        assert len(set(asked)) == len(asked)
        assert set(ended) == set(asked)
        return list(ended.values())

    async def last_end(self) -> ManualBackupFinished:
        """The newest end of a backup of the device."""
        async with aclosing(self.events.read_branch(TENANT, DEVICE)) as branch:
            found = [one.event async for one in branch]
        return [one for one in found if isinstance(one, ManualBackupFinished)][-1]


async def build(nc: Client, *, lease_seconds: float = 10) -> TriggerStack:
    js = nc.jetstream(timeout=10)
    await ensure_streams(js, replicas=1, intake_max_bytes=1 << 28)
    key_store = JetStreamKeyStore(js)
    await key_store.ensure(1)
    keyring = KeyRing(MASTER, key_store)
    leases = Leases(js)
    await leases.ensure()
    schedule = Bucket(js, SCHEDULE)
    await schedule.ensure()
    events = JetStreamEventStore(nc, js)
    devices = DeviceRepository(events)
    metrics = Metrics()
    return TriggerStack(
        nc,
        devices,
        events,
        leases,
        keyring,
        JetStreamContentStore(js, keyring),
        DeadLetters(js, keyring),
        IntakePublisher(nc),
        metrics,
        TriggerService(
            nc,
            devices=devices,
            events=events,
            leases=leases,
            keyring=keyring,
            metrics=metrics,
            schedule=Schedule(schedule),
            timeout=20,
            lease_seconds=lease_seconds,
        ),
    )


@asynccontextmanager
async def collector(stack: TriggerStack, answer: Answer) -> AsyncIterator[None]:
    """Somebody who answers on the subject; an answer that is no bytes is sent as JSON."""

    async def on_request(msg: Msg) -> None:
        found = await answer(json.loads(msg.data))
        await msg.respond(found if isinstance(found, bytes) else json.dumps(found).encode())

    subscription = await stack.nc.subscribe(SUBJECT, cb=on_request)
    await stack.nc.flush()
    yield
    await subscription.unsubscribe()


class Gate(Struct, frozen=True):
    """`reached`: the collector was asked; it answers when it is `released`."""

    reached: asyncio.Event
    released: asyncio.Event


@asynccontextmanager
async def held_up(stack: TriggerStack, answer: Answer) -> AsyncIterator[Gate]:
    """A collector that answers when it is released."""
    gate = Gate(asyncio.Event(), asyncio.Event())

    async def late(request: dict[str, str]) -> object:
        gate.reached.set()
        await gate.released.wait()
        return await answer(request)

    async with collector(stack, late):
        yield gate


def collecting(
    stack: TriggerStack, text: str, *, name_trigger: bool = True, said: str | None = None
) -> Answer:
    """A collector that reads `text` from the device and publishes it."""

    async def answer(request: dict[str, str]) -> object:
        await stack.intake.publish(
            request["tenant_id"],
            request["device_id"],
            text,
            datetime.now(UTC),
            source="manual",
            trigger_id=request["trigger_id"] if name_trigger else None,
        )
        return {"status": "success", "sha256_hash": said or sha256(text), "message": "done"}

    return answer


def saying(**reply: object) -> Answer:
    async def answer(request: dict[str, str]) -> object:
        return reply

    return answer


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def asked(stack: TriggerStack) -> bool:
    async with aclosing(stack.events.read_branch(TENANT, DEVICE)) as branch:
        return any([isinstance(one.event, ManualBackupTriggered) async for one in branch])


async def is_recorded(stack: TriggerStack, kind: type[object]) -> bool:
    async with aclosing(stack.events.read_branch(TENANT, DEVICE)) as branch:
        return any([isinstance(one.event, kind) async for one in branch])
