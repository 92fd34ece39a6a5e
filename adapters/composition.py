"""The composition root: the one place where settings become connected parts, and parts roles."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import asyncpg
from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.crypto.keys import KeyRing, open_keyring
from adapters.jetstream.connection import connect
from adapters.jetstream.content_store import JetStreamContentStore
from adapters.jetstream.dead_letters import DeadLetters
from adapters.jetstream.event_store import JetStreamEventStore, wait_available
from adapters.jetstream.intake import IntakePublisher
from adapters.jetstream.key_store import JetStreamKeyStore
from adapters.jetstream.leases import Leases
from adapters.jetstream.source import JetStreamSource
from adapters.jetstream.streams import ensure_streams, wanted_streams
from adapters.observability.metrics import Metrics
from adapters.postgres.pool import open_pool
from adapters.reading import ConfigReader
from adapters.roles.devices import DeviceRepository
from adapters.roles.differ import Differ
from adapters.roles.reaper import TriggerReaper
from adapters.roles.recorder import Recorder
from adapters.roles.stream_watch import StreamWatch
from adapters.roles.supervisor import Role
from adapters.roles.trigger import TriggerService
from adapters.roles.workers import worker_pool
from adapters.settings import Settings
from domain.errors import InvalidInput
from projections import ALL
from projections.builder import ProjectionBuilder
from projections.engine import ProjectionWorker

log = logging.getLogger(__name__)

# How much longer than a manual backup's bound it may take until its end is recorded.
_OVERDUE_MARGIN_SECONDS = 30.0
# Each projection's worker holds one session for its lease, and writes through another.
POOL_SIZE = 24


@dataclass(frozen=True, slots=True)
class System:
    """Everything that is connected, for one program. Made by `open_system`."""

    settings: Settings
    nc: Client
    js: JetStreamContext
    pool: asyncpg.Pool[asyncpg.Record]
    events: JetStreamEventStore
    source: JetStreamSource
    content: JetStreamContentStore
    dead_letters: DeadLetters
    keyring: KeyRing
    intake: IntakePublisher
    devices: DeviceRepository
    leases: Leases
    trigger: TriggerService
    reading: ConfigReader
    metrics: Metrics
    workers: ProcessPoolExecutor
    projections: tuple[ProjectionWorker, ...]
    builders: tuple[ProjectionBuilder, ...]


@asynccontextmanager
async def open_system(settings: Settings) -> AsyncIterator[System]:
    """Connect everything; waits for NATS and Postgres and says so each few seconds.

    Needs `nats_url` and `postgres_dsn`. Makes what is absent (streams, buckets, a first master
    key) and raises `StreamMisconfigured` or `KeyUnavailable` when what is there is not right.
    """
    if settings.nats_url is None or settings.postgres_dsn is None:
        raise InvalidInput(
            "CONFIGTRAIL_NATS_URL and CONFIGTRAIL_POSTGRES_DSN", "must both be set, or neither"
        )
    async with AsyncExitStack() as stack:
        nc = await connect(settings.nats_url.get_secret_value(), name="configtrail")
        stack.push_async_callback(nc.close)
        js = nc.jetstream(timeout=10)
        await ensure_streams(
            js, replicas=settings.stream_replicas, intake_max_bytes=settings.intake_max_bytes
        )
        key_store = JetStreamKeyStore(js)
        await key_store.ensure(settings.stream_replicas)
        leases = Leases(js)
        await leases.ensure(settings.stream_replicas)
        given = settings.master_key
        keyring = await open_keyring(
            key_store,
            master_key=given.get_secret_value() if given else None,
            key_file=settings.key_file,
        )
        events = JetStreamEventStore(nc, js)
        await wait_available(events)
        source = JetStreamSource(nc, js)
        pool = await stack.enter_async_context(
            open_pool(settings.postgres_dsn.get_secret_value(), max_size=POOL_SIZE)
        )
        workers = stack.enter_context(worker_pool(1))
        devices = DeviceRepository(events)
        content = JetStreamContentStore(js, keyring)
        metrics = Metrics()
        yield System(
            settings=settings,
            nc=nc,
            js=js,
            pool=pool,
            events=events,
            source=source,
            content=content,
            dead_letters=DeadLetters(js, keyring),
            keyring=keyring,
            intake=IntakePublisher(nc, js),
            devices=devices,
            leases=leases,
            trigger=TriggerService(
                nc,
                devices=devices,
                events=events,
                leases=leases,
                keyring=keyring,
                metrics=metrics,
                timeout=settings.trigger_timeout_seconds,
            ),
            reading=ConfigReader(pool, content),
            metrics=metrics,
            workers=workers,
            projections=tuple(ProjectionWorker(pool, source, one) for one in ALL),
            builders=tuple(ProjectionBuilder(pool, source, one) for one in ALL),
        )
        await nc.flush()


def roles(system: System) -> dict[str, Role]:
    """Every role but the API, by name, for `adapters.roles.supervisor.running`."""
    settings = system.settings
    found: dict[str, Role] = {
        "stream watch": StreamWatch(
            system.js, wanted_streams(settings.stream_replicas, settings.intake_max_bytes)
        ).run,
        "recorder": Recorder(
            system.nc,
            system.js,
            devices=system.devices,
            content=system.content,
            keyring=system.keyring,
            dead_letters=system.dead_letters,
            metrics=system.metrics,
            ack_wait=settings.ack_wait_seconds,
        ).run,
        "differ": Differ(
            system.nc,
            system.js,
            devices=system.devices,
            content=system.content,
            dead_letters=system.dead_letters,
            metrics=system.metrics,
            workers=system.workers,
            ack_wait=settings.ack_wait_seconds,
        ).run,
        "reaper": TriggerReaper(
            system.nc,
            system.js,
            devices=system.devices,
            leases=system.leases,
            dead_letters=system.dead_letters,
            metrics=system.metrics,
            overdue_after=settings.trigger_timeout_seconds + _OVERDUE_MARGIN_SECONDS,
            ack_wait=settings.ack_wait_seconds,
        ).run,
    }
    for worker in system.projections:
        found[f"projection {worker.name}"] = worker.run
    for builder in system.builders:
        found[f"projection rebuild {builder.name}"] = builder.run
    return found
