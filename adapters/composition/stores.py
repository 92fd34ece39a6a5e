"""What is kept in NATS, connected: the log, the texts, what failed, and the keys to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.collecting.credentials import BUCKET as CREDENTIALS
from adapters.crypto.keys import KeyRing, open_keyring
from adapters.jetstream.buckets import Bucket
from adapters.jetstream.checkpoints import CHECKPOINTS, CheckpointStore
from adapters.jetstream.connection import close, connect
from adapters.jetstream.content_store import CONTENT, JetStreamContentStore
from adapters.jetstream.dead_letters import DEAD_LETTERS, DeadLetters
from adapters.jetstream.event_store import JetStreamEventStore, wait_available
from adapters.jetstream.intake import IntakePublisher
from adapters.jetstream.key_store import DEVICE_KEYS, KEYS, JetStreamKeyStore
from adapters.jetstream.leases import Leases
from adapters.jetstream.source import JetStreamSource
from adapters.jetstream.streams import EVENTS, ensure_streams, held_anything, is_there
from adapters.jetstream.verbatim import RawFeed
from adapters.retention.explaining import Explanations
from adapters.roles.devices import DeviceRepository
from domain.errors import StreamMissing

# What is written to only after all of them were made, the keys last.
_WRITTEN = (EVENTS, CONTENT, DEAD_LETTERS, CHECKPOINTS, DEVICE_KEYS, f"KV_{CREDENTIALS}")


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


async def _was_made(js: JetStreamContext, key_store: JetStreamKeyStore) -> bool:
    """Whether everything was made before. Raises `StreamMissing` where the tenants' keys are gone
    and something was written since they were made: all texts and credentials are under them, and
    what came after would be under others."""
    written = [one for one in _WRITTEN if await held_anything(js, one)]
    if await key_store.is_made():
        return True
    if written:
        raise StreamMissing(KEYS)
    return False


@asynccontextmanager
async def open_stores(
    url: str,
    *,
    name: str = "configtrail",
    replicas: int,
    intake_max_bytes: int,
    master_key: str | None,
    key_file: Path,
    former_keys: str | None = None,
    anew: bool = True,
) -> AsyncIterator[Stores]:
    """Connect, waiting for NATS, and make what is absent (streams, buckets, a first master key).

    Raises `StreamMisconfigured` or `KeyUnavailable` when what is there is not right;
    `StreamMissing` for keys that are absent, where something is kept under them, and without `anew`
    for whatever can't be made again and is absent from where it was made before.
    """
    nc = await connect(url, name=name)
    try:
        js = nc.jetstream(timeout=10)
        key_store = JetStreamKeyStore(js)
        made = await _was_made(js, key_store)
        create = anew or not made
        await ensure_streams(
            js, replicas=replicas, intake_max_bytes=intake_max_bytes, create=create
        )
        checkpoints = CheckpointStore(js)
        await checkpoints.ensure(replicas, create=create)
        await Bucket(js, CREDENTIALS).ensure(replicas, create=create)
        if not made:
            await key_store.ensure_devices(replicas)
        # The last of those that can't be made again: where it is, all of them were made.
        await key_store.ensure_tenants(replicas)
        leases = Leases(js)
        await leases.ensure(replicas)
        keyring = await open_keyring(
            key_store, master_key=master_key, key_file=key_file, former=former_keys
        )
        events = JetStreamEventStore(nc, js)
        content = JetStreamContentStore(js, keyring, explains=Explanations(events))
        if not await is_there(js, DEVICE_KEYS):
            # It came later than the others. Made anew, it would get other keys of the same names,
            # and the texts under the former ones could not be read when those are put back.
            create = anew and not await content.needs_device_keys()
        await key_store.ensure_devices(replicas, create=create)
        await wait_available(events)
        yield Stores(
            nc=nc,
            js=js,
            replicas=replicas,
            keyring=keyring,
            content=content,
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
        await close(nc)
