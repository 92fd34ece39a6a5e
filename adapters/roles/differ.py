"""The differ: works out what changed for every new snapshot, and records it as `DiffGenerated`.

It reacts to recorded events and never holds up recording. A late snapshot has two differences: from
its predecessor, and to its successor.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from adapters.jetstream.dead_letters import DeadLetters
from adapters.jetstream.streams import EVENTS
from adapters.jetstream.wire import decode_delivery
from adapters.jetstream.work import Job, WorkConsumer, describe
from adapters.observability.metrics import Metrics
from adapters.roles.devices import DeviceRepository
from domain.canonical import canonicalise
from domain.decisions import diffed
from domain.device import DeviceState
from domain.diffing import section_changes, text_diff
from domain.envelope import NewEvent, StoredEvent
from domain.errors import ConfigtrailError
from domain.events import ContentRef, SectionChange, SnapshotCreated, SnapshotRef
from domain.ports import ContentStore

log = logging.getLogger(__name__)

CONSUMER = "differ"
AT_ONCE = 8
# Comparing up to this takes a few milliseconds; beyond it a worker process does it, because the
# comparison holds the interpreter's lock.
INLINE_BYTES = 128 * 1024


class Comparison(Struct, frozen=True):
    """What the comparison of two texts gives."""

    patch: bytes
    lines_added: int
    lines_removed: int
    coarse: bool
    sections: tuple[SectionChange, ...]


def compare(before: bytes, after: bytes, platform: str) -> Comparison:
    """Compare two texts, and their canonical forms section by section."""
    diff = text_diff(before, after, before_label="before", after_label="after")
    sections = section_changes(
        canonicalise(before.decode(), platform), canonicalise(after.decode(), platform)
    )
    return Comparison(diff.patch, diff.lines_added, diff.lines_removed, diff.coarse, sections)


class Differ:
    """Any number of these may share the work."""

    def __init__(
        self,
        nc: Client,
        js: JetStreamContext,
        *,
        devices: DeviceRepository,
        content: ContentStore,
        dead_letters: DeadLetters,
        metrics: Metrics,
        workers: ProcessPoolExecutor,
        ack_wait: float,
    ) -> None:
        self._devices = devices
        self._content = content
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._workers = workers
        self._work = WorkConsumer(
            nc,
            js,
            EVENTS,
            ConsumerConfig(
                durable_name=CONSUMER,
                filter_subject="configtrail.*.*.SnapshotCreated",
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ack_wait,
                max_ack_pending=500,
            ),
            plan=self._plan,
            give_up=self._give_up,
            batch=64,
            weight_limit=AT_ONCE,
        )

    async def run(self) -> None:
        """Compare until cancelled."""
        await self._work.run()

    def _plan(self, msg: Msg) -> Job:
        # Any device's comparisons may run in any order: a difference stands for itself.
        event_id = (msg.headers or {}).get("ce-id")
        return Job(msg.reply, partial(self._compare_neighbours, msg), event_id=event_id)

    async def _compare_neighbours(self, msg: Msg) -> None:
        stored = decode_delivery(msg)
        event = stored.event
        assert isinstance(event, SnapshotCreated)
        here = SnapshotRef(snapshot_id=event.snapshot_id, content=event.content)
        if event.predecessor is not None:
            await self._diff(stored, event.platform, event.predecessor, here)
        if event.successor is not None:
            await self._diff(stored, event.platform, here, event.successor)

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
        texts = [
            await self._content.get(tenant_id, device_id, "snapshot", ref.content)
            for ref in (before, after)
        ]
        found = await self._compare(texts[0], texts[1], platform)
        content = await self._content.put(tenant_id, device_id, "diff", found.patch)
        decide = partial(_decide, stored, before, after, content, found)
        if await self._devices.record(tenant_id, device_id, decide) is not None:
            self._metrics.diffs.inc()
            self._metrics.diff_seconds.observe(time.perf_counter() - started)

    async def _compare(self, before: bytes, after: bytes, platform: str) -> Comparison:
        if len(before) + len(after) <= INLINE_BYTES:
            return compare(before, after, platform)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, compare, before, after, platform)

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


def _decide(
    stored: StoredEvent,
    before: SnapshotRef,
    after: SnapshotRef,
    content: ContentRef,
    found: Comparison,
    state: DeviceState,
) -> NewEvent | None:
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
        occurred_at=stored.occurred_at,
        causation_id=stored.event_id,
        correlation_id=stored.correlation_id,
        traceparent=stored.traceparent,
    )
