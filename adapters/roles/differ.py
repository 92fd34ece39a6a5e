"""The differ: works out what changed for every new snapshot, and records it as `DiffGenerated`.

It reacts to recorded events and never holds up recording. A late snapshot has two differences: from
its predecessor, and to its successor.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from adapters.comparing import Comparison, Job, compared, summed_up
from adapters.crypto.keys import KeyRing
from adapters.jetstream.dead_letters import DeadLetters
from adapters.jetstream.streams import EVENTS
from adapters.jetstream.wire import decode_delivery
from adapters.jetstream.work import Budget, WorkConsumer, describe
from adapters.jetstream.work import Job as WorkJob
from adapters.observability.metrics import Metrics
from adapters.policies import Policies
from adapters.roles.devices import DeviceRepository
from adapters.turns import Turns
from domain.decisions import diffed
from domain.device import DeviceState
from domain.envelope import NewEvent, StoredEvent
from domain.errors import ConfigtrailError, ContentGone, KeyDestroyed, Unavailable
from domain.events import ContentRef, DiffGenerated, SnapshotCreated, SnapshotRef
from domain.ports import REFERRED_WITHIN, ContentStore
from domain.semantic.told import encode

log = logging.getLogger(__name__)

CONSUMER = "differ"
AT_ONCE = 32
# Of texts that are compared at once; a pair that is larger is compared alone.
BYTES_AT_ONCE = 32 * 1024 * 1024

# One that is compared, and the next one.
_WITH_WORKERS = 2


def consumer_config(ack_wait: float) -> ConsumerConfig:
    """The consumer by which any number of these share their work."""
    return ConsumerConfig(
        durable_name=CONSUMER,
        filter_subject="configtrail.*.*.SnapshotCreated",
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ack_wait,
        max_ack_pending=500,
    )


class Differ:
    """Any number of these may share the work."""

    def __init__(
        self,
        nc: Client,
        js: JetStreamContext,
        *,
        devices: DeviceRepository,
        content: ContentStore,
        keyring: KeyRing,
        dead_letters: DeadLetters,
        metrics: Metrics,
        workers: Executor,
        ack_wait: float,
        policies: Policies | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._devices = devices
        self._content = content
        self._keyring = keyring
        self._policies = policies or Policies()
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._workers = workers
        self._clock = clock
        self._room = Budget(BYTES_AT_ONCE)
        # Of what is under way only so much waits at the process itself, which knows no tenants.
        self._turns = Turns("the comparison", _WITH_WORKERS, waiting=AT_ONCE, seconds=math.inf)
        self._work = WorkConsumer(
            nc,
            js,
            EVENTS,
            consumer_config(ack_wait),
            plan=self._plan,
            give_up=self._give_up,
            batch=64,
            weight_limit=AT_ONCE,
            ordered=False,
        )

    async def run(self) -> None:
        """Compare until cancelled."""
        await self._work.run()

    def _plan(self, msg: Msg) -> WorkJob:
        # Any device's comparisons may run in any order: a difference stands for itself.
        event_id = (msg.headers or {}).get("ce-id")
        work = partial(self._work_off, msg)
        return WorkJob(msg.reply, work, party=msg.subject.split(".")[1], event_id=event_id)

    async def _work_off(self, msg: Msg) -> None:
        await self.compare_neighbours(decode_delivery(msg))

    async def compare_neighbours(self, stored: StoredEvent) -> None:
        """Record the differences of a new snapshot that nobody has told yet."""
        event = stored.event
        assert isinstance(event, SnapshotCreated)
        here = SnapshotRef(snapshot_id=event.snapshot_id, content=event.content)
        # What it is compared with is taken to be of about its size.
        size = 2 * event.size_bytes
        await self._room.take(size)
        try:
            if event.predecessor is not None:
                await self._diff(stored, event.platform, event.predecessor, here)
            if event.successor is not None:
                await self._diff(stored, event.platform, here, event.successor)
        finally:
            self._room.give_back(size)

    async def _diff(
        self, stored: StoredEvent, platform: str, before: SnapshotRef, after: SnapshotRef
    ) -> None:
        started = time.perf_counter()
        tenant_id, device_id = stored.tenant_id, stored.device_id
        state = await self._devices.load(tenant_id, device_id)
        if state.head.version < stored.version:
            state = await self._devices.refresh(tenant_id, device_id)
        if (before.snapshot_id, after.snapshot_id) not in state.pending_diffs:
            return
        try:
            texts = [
                await self._content.get(tenant_id, device_id, "snapshot", ref.content)
                for ref in (before, after)
            ]
        except ContentGone as error:
            # What is not kept any more can't be compared, and nobody is to be told of it.
            log.info("%s: no difference of it is told", error)
            return
        tenant = await self._keyring.tenant(tenant_id)
        job = Job(
            texts[0],
            texts[1],
            platform,
            tenant.fingerprint_key,
            device_id,
            self._policies.of(tenant_id),
        )
        async with self._turns.turn(tenant_id):
            found = await compared(job, self._workers)
        begun = self._clock()
        put = partial(self._content.put, tenant_id, device_id, era=state.era)
        try:
            content = await put("diff", found.patch)
            told = await put("changes", encode(found.told)) if found.told is not None else None
        except KeyDestroyed:
            # The device's texts were erased meanwhile. If not, this raises once more.
            if (await self._devices.refresh(tenant_id, device_id)).era == state.era:
                raise
            return

        def decide(state: DeviceState) -> NewEvent | None:
            if self._clock() - begun > REFERRED_WITHIN.total_seconds():
                # By now they may be taken for texts that nothing refers to: all over again.
                raise Unavailable("the difference", "it took too long to be recorded")
            return _decide(stored, platform, before, after, content, found, told, state)

        recorded = await self._devices.record(tenant_id, device_id, decide)
        if recorded is None or not _tells(recorded, content):
            # Told by another one, or not to be told any more: then nothing of it may stay behind.
            for unused in (content, told):
                if unused is not None:
                    await self._content.remove(unused.sequence)
        if recorded is not None:
            self._metrics.diffs.inc()
            self._metrics.diff_seconds.observe(time.perf_counter() - started)

    async def _give_up(self, msg: Msg, error: Exception) -> None:
        kind = error.__class__.__name__
        reason = str(error) if isinstance(error, ConfigtrailError) else describe(error)
        await self._dead_letters.put(
            "differ",
            msg.subject,
            msg.data,
            field="snapshot",
            rule=f"its difference could not be worked out: {reason}",
            tenant_id=None,
            device_id=None,
            headers=dict(msg.headers or {}),
            dedupe_id=f"differ.{msg.metadata.sequence.stream}",
        )
        self._metrics.diff_errors.labels(kind).inc()


def _tells(stored: StoredEvent, content: ContentRef) -> bool:
    return isinstance(stored.event, DiffGenerated) and stored.event.content == content


def _decide(
    stored: StoredEvent,
    platform: str,
    before: SnapshotRef,
    after: SnapshotRef,
    content: ContentRef,
    found: Comparison,
    told: ContentRef | None,
    state: DeviceState,
) -> NewEvent | None:
    changes, more = summed_up(found.told, platform) if found.told else ((), 0)
    return diffed(
        state,
        stored.tenant_id,
        stored.device_id,
        from_snapshot_id=before.snapshot_id,
        to_snapshot_id=after.snapshot_id,
        content=content,
        lines_added=found.lines_added,
        lines_removed=found.lines_removed,
        sections=found.sections,
        coarse=found.coarse,
        changes=changes,
        changes_more=more,
        changes_content=told,
        occurred_at=stored.occurred_at,
        causation_id=stored.event_id,
        correlation_id=stored.correlation_id,
        traceparent=stored.traceparent,
    )
