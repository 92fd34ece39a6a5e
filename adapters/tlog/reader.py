"""What an auditor needs of a deployment: NATS and the keys to the texts. No Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct

from adapters.crypto.keys import KeyRing, MasterKeys
from adapters.jetstream.branch import BranchReader
from adapters.jetstream.checkpoints import CheckpointStore
from adapters.jetstream.connection import connect, missing_as_unavailable
from adapters.jetstream.content_store import JetStreamContentStore
from adapters.jetstream.event_store import JetStreamEventStore
from adapters.jetstream.key_store import JetStreamKeyStore
from adapters.jetstream.source import JetStreamSource
from adapters.jetstream.streams import EVENTS
from adapters.jetstream.verbatim import RawFeed
from adapters.retention.explaining import Explanations
from adapters.settings import Settings
from domain.errors import InvalidInput
from domain.tlog.names import LogNames


class StreamReader(Struct, frozen=True):
    """The streams of a deployment, for reading. `source` and `branches` give also what can't be
    read."""

    events: JetStreamEventStore
    source: JetStreamSource
    branches: BranchReader
    raw: RawFeed
    checkpoints: CheckpointStore
    content: JetStreamContentStore
    names: LogNames


@asynccontextmanager
async def open_reader(settings: Settings) -> AsyncIterator[StreamReader]:
    """Connect; waits for NATS. Makes nothing: raises when streams or keys are not there."""
    if settings.nats_url is None:
        raise InvalidInput("CONFIGTRAIL_NATS_URL", "must be set")
    url = settings.nats_url.get_secret_value()
    async with AsyncExitStack() as stack:
        nc = await connect(url, name="configtrail reader")
        stack.push_async_callback(nc.close)
        js = nc.jetstream(timeout=10)
        given, former = settings.given_master_keys
        masters = MasterKeys.load(given, settings.key_file, former)
        keyring = KeyRing(masters, JetStreamKeyStore(js))
        raw = RawFeed(nc, js)
        with missing_as_unavailable(EVENTS):
            names = LogNames(settings.log_name, await raw.identity())
        events = JetStreamEventStore(nc, js)
        yield StreamReader(
            events=events,
            source=JetStreamSource(nc, js),
            branches=BranchReader(nc, js, EVENTS),
            raw=raw,
            checkpoints=CheckpointStore(js),
            content=JetStreamContentStore(js, keyring, explains=Explanations(events)),
            names=names,
        )
