"""Everything that is connected, for one program."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.access.authentication import Authenticator
from adapters.access.keys import ApiKeys
from adapters.access.refusals import Refusals
from adapters.collecting.collection import DeviceCollector
from adapters.collecting.credentials import CredentialStore
from adapters.collecting.schedule import Schedule
from adapters.composition.access import open_access
from adapters.composition.collecting import open_collecting
from adapters.composition.keeping import Keeping, open_keeping
from adapters.composition.rows import Rows, open_rows
from adapters.composition.stores import open_stores
from adapters.crypto.keys import KeyRing
from adapters.jetstream.checkpoints import CheckpointStore
from adapters.jetstream.content_store import JetStreamContentStore
from adapters.jetstream.dead_letters import DeadLetters
from adapters.jetstream.event_store import JetStreamEventStore
from adapters.jetstream.intake import IntakePublisher
from adapters.jetstream.leases import Leases
from adapters.jetstream.source import JetStreamSource
from adapters.jetstream.verbatim import RawFeed
from adapters.live import Live
from adapters.observability.metrics import Metrics
from adapters.policies import Policies, read_policies
from adapters.postgres.signed_marks import SignedMarks
from adapters.postgres.tiles import TileStore
from adapters.reading import ConfigReader
from adapters.redacting import SECONDS as REDACTING_SECONDS
from adapters.roles.devices import DeviceRepository
from adapters.roles.trigger import TriggerService
from adapters.roles.workers import Workers
from adapters.searching import Searcher
from adapters.settings import Settings
from adapters.uploading import KEPT_SECONDS, Uploads
from adapters.uploading import KEYS as UPLOAD_KEYS
from domain.errors import InvalidInput
from projections import ALL
from projections.builder import ProjectionBuilder
from projections.engine import ProjectionWorker
from projections.rows import Pool
from projections.shared import SharedSource
from projections.tenancy import TenantReader


@dataclass(frozen=True, slots=True)
class VerifiableLog:
    """The parts of the signed log: the streams to the byte, the checkpoints, the tiles, and what
    is known beside the streams to be signed."""

    events: RawFeed
    notes: RawFeed
    checkpoints: CheckpointStore
    tiles: TileStore
    marks: SignedMarks


@dataclass(frozen=True, slots=True)
class System:
    """Everything that is connected, for one program. Made by `open_system`."""

    settings: Settings
    nc: Client
    js: JetStreamContext
    pool: Pool
    rows: Rows
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
    differing: Workers
    keeping: Keeping
    log: VerifiableLog
    projections: tuple[ProjectionWorker, ...]
    policies: Policies
    builders: tuple[ProjectionBuilder, ...]

    def rows_of(self, tenant_id: str) -> TenantReader:
        """The read models' rows of one tenant. Whatever answers for a tenant reads by this, and
        never by `pool`, which sees all."""
        return self.rows.of(tenant_id)


@asynccontextmanager
async def open_system(settings: Settings, *, anew: bool = True) -> AsyncIterator[System]:
    """Connect everything; waits for NATS and Postgres and says so each few seconds.

    Needs `nats_url` and `postgres_dsn`. Makes what is absent (streams, buckets, a first master
    key) and raises `StreamMisconfigured` or `KeyUnavailable` when what is there is not right;
    without `anew` `StreamMissing` for a stream that was there before.
    """
    if settings.nats_url is None or settings.postgres_dsn is None:
        raise InvalidInput(
            "CONFIGTRAIL_NATS_URL and CONFIGTRAIL_POSTGRES_DSN", "must both be set, or neither"
        )
    policies = read_policies(settings.policy_file)
    master_key, former_keys = settings.given_master_keys
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(
            open_stores(
                settings.nats_url.get_secret_value(),
                replicas=settings.stream_replicas,
                intake_max_bytes=settings.intake_max_bytes,
                master_key=master_key,
                key_file=settings.key_file,
                former_keys=former_keys,
                anew=anew,
            )
        )
        rows = await stack.enter_async_context(open_rows(settings))
        shared = SharedSource(stores.source)
        live = Live(shared, stores.events, heartbeat=settings.live_heartbeat_seconds)
        stack.push_async_callback(live.stop)
        # Each starts its process when it is first used. What is slow for one holds up no other.
        differing, comparing, searching = (stack.enter_context(Workers(1)) for _ in range(3))
        redacting = stack.enter_context(Workers(1, seconds=REDACTING_SECONDS))
        metrics = Metrics()
        access = await open_access(settings, stores, rows.pool)
        collecting = await open_collecting(settings, stores)
        yield System(
            settings=settings,
            nc=stores.nc,
            js=stores.js,
            pool=rows.pool,
            rows=rows,
            events=stores.events,
            source=stores.source,
            content=stores.content,
            dead_letters=stores.dead_letters,
            keyring=stores.keyring,
            intake=stores.intake,
            devices=stores.devices,
            leases=stores.leases,
            trigger=TriggerService(
                stores.nc,
                devices=stores.devices,
                events=stores.events,
                leases=stores.leases,
                keyring=stores.keyring,
                metrics=metrics,
                schedule=collecting.schedule,
                timeout=settings.trigger_timeout_seconds,
            ),
            credentials=collecting.credentials,
            schedule=collecting.schedule,
            collecting=collecting.collector,
            reading=ConfigReader(
                rows.of,
                stores.content,
                stores.keyring,
                workers=comparing,
                redacting=redacting,
                policies=policies,
            ),
            keys=access.keys,
            refusals=access.refusals,
            authenticator=access.authenticator,
            searcher=Searcher(rows.of, stores.content, stores.keyring, searching),
            live=live,
            uploads=Uploads(
                stores.js,
                intake=stores.intake,
                source=stores.source,
                events=stores.events,
                keyring=stores.keyring,
                keys=await stores.bucket(UPLOAD_KEYS, kept_seconds=KEPT_SECONDS),
            ),
            metrics=metrics,
            differing=differing,
            keeping=await open_keeping(stores, metrics),
            log=VerifiableLog(
                events=stores.raw,
                notes=stores.notes,
                checkpoints=stores.checkpoints,
                tiles=TileStore(rows.pool),
                marks=SignedMarks(rows.pool),
            ),
            projections=tuple(ProjectionWorker(rows.pool, shared, one) for one in ALL),
            builders=tuple(ProjectionBuilder(rows.pool, stores.source, one, ALL) for one in ALL),
            policies=policies,
        )
        await stores.nc.flush()
