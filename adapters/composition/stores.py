"""What is kept in NATS, connected: the log, the texts, what failed, and the keys to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from nats.aio.client import Client
from nats.js import JetStreamContext

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
from adapters.jetstream.streams import ensure_streams
from adapters.jetstream.verbatim import RawFeed
from adapters.retention.explaining import Explanations
from adapters.roles.devices import DeviceRepository


@dataclass(frozen=True, slots=True)
class Stores:
    """One program's connection to NATS, and what it keeps there. `raw` and `notes` are the log and
    its checkpoints, to the byte."""

    nc: Client
    js: JetStreamContext
    replicas: int
    keyring: KeyRing
    content: JetStreamContentStore
    dead_letters: DeadLetters
    events: JetStreamEventStore
    source: JetStreamSource
    devices: DeviceRepository
    intake: IntakePublisher
    leases: Leases
    raw: RawFeed
    notes: RawFeed
    checkpoints: CheckpointStore

    async def bucket(self, name: str, *, kept_seconds: float | None = None) -> Bucket:
        """A bucket of values by key, made unless it is there."""
        found = Bucket(self.js, name, kept_seconds=kept_seconds)
        await found.ensure(self.replicas)
        return found


@asynccontextmanager
async def open_stores(
    url: str,
    *,
    name: str = "configtrail",
    replicas: int,
    intake_max_bytes: int,
    master_key: str | None,
    key_file: Path,
    anew: bool = True,
) -> AsyncIterator[Stores]:
    """Connect, waiting for NATS, and make what is absent (streams, buckets, a first master key).

    Raises `StreamMisconfigured` or `KeyUnavailable` when what is there is not right; without `anew`
    `StreamMissing` for a stream that is absent from where streams were made before.
    """
    nc = await connect(url, name=name)
    try:
        js = nc.jetstream(timeout=10)
        key_store = JetStreamKeyStore(js)
        # The keys are made after the streams.
        create = anew or not await key_store.is_made()
        await ensure_streams(
            js, replicas=replicas, intake_max_bytes=intake_max_bytes, create=create
        )
        checkpoints = CheckpointStore(js)
        await checkpoints.ensure(replicas)
        await key_store.ensure(replicas)
        leases = Leases(js)
        await leases.ensure(replicas)
        keyring = await open_keyring(key_store, master_key=master_key, key_file=key_file)
        events = JetStreamEventStore(nc, js)
        await wait_available(events)
        yield Stores(
            nc=nc,
            js=js,
            replicas=replicas,
            keyring=keyring,
            content=JetStreamContentStore(js, keyring, explains=Explanations(events)),
            dead_letters=DeadLetters(js, keyring),
            events=events,
            source=JetStreamSource(nc, js),
            devices=DeviceRepository(events),
            intake=IntakePublisher(nc),
            leases=leases,
            raw=RawFeed(nc, js),
            notes=RawFeed(nc, js, CHECKPOINTS),
            checkpoints=checkpoints,
        )
    finally:
        await nc.close()
