"""The composition root: the one place where settings become connected parts, and parts roles."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import asyncpg
from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.access.authentication import Authenticator
from adapters.access.jwks import SigningKeys
from adapters.access.keys import BUCKET as KEY_USE
from adapters.access.keys import ApiKeys
from adapters.access.refusals import AccessJournal, Refusals
from adapters.access.tokens import Tokens
from adapters.collecting.collection import DeviceCollector
from adapters.collecting.credentials import BUCKET as CREDENTIALS
from adapters.collecting.credentials import Credentials, CredentialStore
from adapters.collecting.schedule import BUCKET as SCHEDULE
from adapters.collecting.schedule import Schedule
from adapters.collecting.vault import Vault
from adapters.crypto.keys import KeyRing, open_keyring
from adapters.jetstream.buckets import Bucket
from adapters.jetstream.checkpoints import CHECKPOINTS, CheckpointStore
from adapters.jetstream.connection import connect
from adapters.jetstream.content_store import JetStreamContentStore
from adapters.jetstream.dead_letters import DeadLetters
from adapters.jetstream.event_store import JetStreamEventStore, wait_available
from adapters.jetstream.intake import IntakePublisher
from adapters.jetstream.key_store import JetStreamKeyStore
from adapters.jetstream.leases import Leases
from adapters.jetstream.source import JetStreamSource
from adapters.jetstream.streams import ensure_streams, wanted_streams
from adapters.jetstream.verbatim import RawFeed
from adapters.live import Live
from adapters.observability.metrics import Metrics
from adapters.policies import Policies, read_policies
from adapters.postgres.pool import open_pool
from adapters.postgres.tiles import TileStore
from adapters.reading import ConfigReader
from adapters.retention.deciding import Keeper
from adapters.retention.erasing import Eraser
from adapters.retention.expiring import Retention
from adapters.retention.explaining import Explanations
from adapters.retention.orphans import Orphans
from adapters.retention.removing import BUCKET as RETENTION
from adapters.retention.removing import Remover
from adapters.roles.collector import Collector
from adapters.roles.devices import DeviceRepository
from adapters.roles.differ import Differ
from adapters.roles.keeper import RetentionKeeper
from adapters.roles.reaper import TriggerReaper
from adapters.roles.recorder import Recorder
from adapters.roles.sealer import Sealer, key_loader
from adapters.roles.stream_watch import StreamWatch
from adapters.roles.supervisor import Role
from adapters.roles.syslog import SyslogListener, relay_networks
from adapters.roles.trigger import TriggerService
from adapters.roles.workers import Workers
from adapters.searching import Searcher
from adapters.settings import Settings
from adapters.syslog.senders import Senders
from adapters.uploading import KEPT_SECONDS, Uploads
from adapters.uploading import KEYS as UPLOAD_KEYS
from adapters.witness.client import Witnesses, parse_witnesses
from domain.errors import InvalidInput
from projections import ALL
from projections.builder import ProjectionBuilder
from projections.engine import ProjectionWorker
from projections.schema import lock_schemas
from projections.shared import SharedSource
from projections.tenancy import READER, TenantReader

log = logging.getLogger(__name__)

# How much longer than a manual backup's bound it may take until its end is recorded.
_OVERDUE_MARGIN_SECONDS = 30.0
# Each projection's worker holds one session for its lease, and writes through another.
POOL_SIZE = 24
# Sessions that answer for tenants.
READING_SIZE = 12


@dataclass(frozen=True, slots=True)
class VerifiableLog:
    """The parts of the signed log: the streams to the byte, the checkpoints and the tiles."""

    events: RawFeed
    notes: RawFeed
    checkpoints: CheckpointStore
    tiles: TileStore


@dataclass(frozen=True, slots=True)
class Keeping:
    """What decides, and carries out, how long texts are kept."""

    keeper: Keeper
    retention: Retention
    eraser: Eraser
    remover: Remover
    orphans: Orphans


@dataclass(frozen=True, slots=True)
class System:
    """Everything that is connected, for one program. Made by `open_system`."""

    settings: Settings
    nc: Client
    js: JetStreamContext
    pool: asyncpg.Pool[asyncpg.Record]
    readers: asyncpg.Pool[asyncpg.Record]
    events: JetStreamEventStore
    source: JetStreamSource
    content: JetStreamContentStore
    dead_letters: DeadLetters
    keyring: KeyRing
    intake: IntakePublisher
    devices: DeviceRepository
    leases: Leases
    trigger: TriggerService
    credentials: CredentialStore
    schedule: Schedule
    collecting: DeviceCollector
    reading: ConfigReader
    keys: ApiKeys
    refusals: Refusals
    authenticator: Authenticator
    searcher: Searcher
    live: Live
    uploads: Uploads
    metrics: Metrics
    workers: Workers
    keeping: Keeping
    log: VerifiableLog
    projections: tuple[ProjectionWorker, ...]
    policies: Policies
    builders: tuple[ProjectionBuilder, ...]

    def rows_of(self, tenant_id: str) -> TenantReader:
        """The read models' rows of one tenant. Whatever answers for a tenant reads by this, and
        never by `pool`, which sees all."""
        return TenantReader(self.readers, tenant_id)


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
    policies = read_policies(settings.policy_file)
    async with AsyncExitStack() as stack:
        nc = await connect(settings.nats_url.get_secret_value(), name="configtrail")
        stack.push_async_callback(nc.close)
        js = nc.jetstream(timeout=10)
        await ensure_streams(
            js, replicas=settings.stream_replicas, intake_max_bytes=settings.intake_max_bytes
        )
        checkpoints = CheckpointStore(js)
        await checkpoints.ensure(settings.stream_replicas)
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
        credential_bucket = Bucket(js, CREDENTIALS)
        await credential_bucket.ensure(settings.stream_replicas)
        schedule_bucket = Bucket(js, SCHEDULE)
        await schedule_bucket.ensure(settings.stream_replicas)
        upload_keys = Bucket(js, UPLOAD_KEYS, kept_seconds=KEPT_SECONDS)
        await upload_keys.ensure(settings.stream_replicas)
        events = JetStreamEventStore(nc, js)
        await wait_available(events)
        source = JetStreamSource(nc, js)
        shared = SharedSource(source)
        pool = await stack.enter_async_context(
            open_pool(settings.postgres_dsn.get_secret_value(), max_size=POOL_SIZE)
        )
        async with pool.acquire() as session, session.transaction():
            await lock_schemas(session)
        reading = settings.postgres_reader_dsn or settings.postgres_dsn
        readers = await stack.enter_async_context(
            open_pool(
                reading.get_secret_value(),
                application_name="configtrail-reader",
                max_size=READING_SIZE,
                role=None if settings.postgres_reader_dsn else READER,
            )
        )
        uses = Bucket(js, KEY_USE)
        await uses.ensure(settings.stream_replicas)
        keys = ApiKeys(events, pool, uses)
        live = Live(shared, events, heartbeat=settings.live_heartbeat_seconds)
        stack.push_async_callback(live.stop)
        workers = stack.enter_context(Workers(1))
        devices = DeviceRepository(events)
        content = JetStreamContentStore(js, keyring, explains=Explanations(events))
        retention_bucket = Bucket(js, RETENTION)
        await retention_bucket.ensure(settings.stream_replicas)
        dead_letters = DeadLetters(js, keyring)
        remover = Remover(events, content, keyring, dead_letters, retention_bucket)
        metrics = Metrics()
        intake = IntakePublisher(nc, js)
        credentials = CredentialStore(credential_bucket, keyring)
        schedule = Schedule(schedule_bucket)
        yield System(
            settings=settings,
            nc=nc,
            js=js,
            pool=pool,
            readers=readers,
            events=events,
            source=source,
            content=content,
            dead_letters=dead_letters,
            keyring=keyring,
            intake=intake,
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
            credentials=credentials,
            schedule=schedule,
            collecting=DeviceCollector(
                devices=devices,
                credentials=Credentials(credentials, _vault(settings), settings.credentials_folder),
                schedule=schedule,
                leases=leases,
                intake=intake,
                keyring=keyring,
            ),
            reading=ConfigReader(
                partial(TenantReader, readers), content, keyring, workers=workers, policies=policies
            ),
            keys=keys,
            refusals=Refusals(events),
            authenticator=Authenticator(keys, _tokens(settings), required=settings.auth == "on"),
            searcher=Searcher(partial(TenantReader, readers), content, keyring, workers),
            live=live,
            uploads=Uploads(
                js,
                intake=intake,
                source=source,
                events=events,
                keyring=keyring,
                keys=upload_keys,
            ),
            metrics=metrics,
            workers=workers,
            keeping=Keeping(
                keeper=Keeper(devices),
                retention=Retention(nc, js, events, devices, remover),
                eraser=Eraser(nc, js, devices, content, keyring, remover),
                remover=remover,
                orphans=Orphans(events, devices, content, retention_bucket),
            ),
            log=VerifiableLog(
                events=RawFeed(nc, js),
                notes=RawFeed(nc, js, CHECKPOINTS),
                checkpoints=checkpoints,
                tiles=TileStore(pool),
            ),
            projections=tuple(ProjectionWorker(pool, shared, one) for one in ALL),
            builders=tuple(ProjectionBuilder(pool, source, one) for one in ALL),
            policies=policies,
        )
        await nc.flush()


def _tokens(settings: Settings) -> Tokens | None:
    if settings.oidc_issuer is None:
        return None
    return Tokens(settings, SigningKeys(settings.oidc_issuer, settings.oidc_jwks_url))


def _vault(settings: Settings) -> Vault | None:
    if settings.vault_addr is None or settings.vault_token is None:
        return None
    return Vault(
        settings.vault_addr, settings.vault_token.get_secret_value(), settings.vault_namespace
    )


def collecting_roles(system: System) -> dict[str, Role]:
    """The collector, and the syslog listener when there is to be one."""
    settings = system.settings
    collector = Collector(
        system.nc,
        system.js,
        collecting=system.collecting,
        schedule=system.schedule,
        trigger=system.trigger,
        metrics=system.metrics,
        at_once=settings.collect_at_once,
    )
    found: dict[str, Role] = {"collector": collector.run}
    if settings.syslog_listen is not None:
        found["syslog"] = SyslogListener(
            settings.syslog_listen,
            senders=Senders(collector.settings_at, relay_networks(settings.syslog_relays)),
            hurry=collector.hurry,
            metrics=system.metrics,
        ).run
    return found


def differ(system: System) -> Differ:
    """What works out differences: as a role, or for one that had failed."""
    settings = system.settings
    return Differ(
        system.nc,
        system.js,
        devices=system.devices,
        content=system.content,
        keyring=system.keyring,
        dead_letters=system.dead_letters,
        metrics=system.metrics,
        workers=system.workers,
        ack_wait=settings.ack_wait_seconds,
        policies=system.policies,
    )


def reaper(system: System) -> TriggerReaper:
    """What ends interrupted backups: as a role, or for one that had failed."""
    settings = system.settings
    return TriggerReaper(
        system.nc,
        system.js,
        devices=system.devices,
        leases=system.leases,
        dead_letters=system.dead_letters,
        metrics=system.metrics,
        overdue_after=settings.trigger_timeout_seconds + _OVERDUE_MARGIN_SECONDS,
        ack_wait=settings.ack_wait_seconds,
    )


def roles(system: System) -> dict[str, Role]:
    """Every role but the API, by name, for `adapters.roles.supervisor.running`."""
    settings = system.settings
    witnesses = parse_witnesses(settings.witnesses)
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
        "differ": differ(system).run,
        "reaper": reaper(system).run,
        "sealer": Sealer(
            system.nc,
            feed=system.log.events,
            checkpoints=system.log.checkpoints,
            tiles=system.log.tiles,
            leases=system.leases,
            dead_letters=system.dead_letters,
            metrics=system.metrics,
            key=key_loader(
                settings.log_key.get_secret_value() if settings.log_key else None,
                settings.signing_key_file,
            ),
            base=settings.log_name,
            every=settings.seal_seconds,
            witnesses=Witnesses(witnesses) if witnesses else None,
            witness_every=settings.witness_seconds,
        ).run,
        "retention": RetentionKeeper(
            system.nc,
            system.js,
            retention=system.keeping.retention,
            remover=system.keeping.remover,
            orphans=system.keeping.orphans,
            leases=system.leases,
            every=settings.retention_seconds,
        ).run,
    }
    journal = AccessJournal(system.refusals, system.keys, every=settings.refusals_told_seconds)
    found["access journal"] = journal.run
    if settings.collector:
        found |= collecting_roles(system)
    for worker in system.projections:
        found[f"projection {worker.name}"] = worker.run
    for builder in system.builders:
        found[f"projection rebuild {builder.name}"] = builder.run
    return found
