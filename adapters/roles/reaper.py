"""The reaper: records the end of manual backups whose program died before it could.

It watches every `ManualBackupTriggered` until its end is recorded. One that is overdue while its
device's lease is free belongs to nobody any more.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from functools import partial

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from adapters.jetstream.dead_letters import DeadLetters
from adapters.jetstream.leases import Leases
from adapters.jetstream.streams import EVENTS
from adapters.jetstream.wire import decode_delivery
from adapters.jetstream.work import Job, WorkConsumer, describe
from adapters.observability.metrics import Metrics
from adapters.roles.devices import DeviceRepository
from adapters.roles.trigger_endings import lease_name
from domain.decisions import finished
from domain.envelope import StoredEvent
from domain.events import ManualBackupTriggered

log = logging.getLogger(__name__)

CONSUMER = "trigger-reaper"
MESSAGE = "interrupted: the program that ran it ended"
WATCHED_AT_ONCE = 500
_LOOK_SECONDS = 1.0


def consumer_config(ack_wait: float) -> ConsumerConfig:
    """The consumer by which any number of these share their work."""
    return ConsumerConfig(
        durable_name=CONSUMER,
        filter_subject="configtrail.*.*.ManualBackupTriggered",
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ack_wait,
        max_ack_pending=2 * WATCHED_AT_ONCE,
    )


class TriggerReaper:
    """Any number of these may share the work. `overdue_after` is in seconds: longer than any
    manual backup and the recording of its end can take."""

    def __init__(
        self,
        nc: Client,
        js: JetStreamContext,
        *,
        devices: DeviceRepository,
        leases: Leases,
        dead_letters: DeadLetters,
        metrics: Metrics,
        overdue_after: float,
        ack_wait: float,
    ) -> None:
        self._devices = devices
        self._leases = leases
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._overdue_after = overdue_after
        self._work = WorkConsumer(
            nc,
            js,
            EVENTS,
            consumer_config(ack_wait),
            plan=self._plan,
            give_up=self._give_up,
            weight_limit=WATCHED_AT_ONCE,
            ordered=False,
        )

    async def run(self) -> None:
        """Watch until cancelled."""
        await self._work.run()

    def _plan(self, msg: Msg) -> Job:
        # The requests for one device are watched side by side: each has its own end.
        event_id = (msg.headers or {}).get("ce-id")
        work = partial(self._work_off, msg)
        return Job(msg.reply, work, party=msg.subject.split(".")[1], event_id=event_id)

    async def _work_off(self, msg: Msg) -> None:
        await self.watch(decode_delivery(msg))

    async def watch(self, stored: StoredEvent) -> None:
        """Wait for the end of a manual backup, and record it when nobody else can."""
        event = stored.event
        assert isinstance(event, ManualBackupTriggered)
        tenant_id, device_id = stored.tenant_id, stored.device_id
        while True:
            state = await self._devices.refresh(tenant_id, device_id)
            if event.trigger_id not in state.open_triggers:
                return
            now = datetime.now(UTC)
            overdue = (now - stored.stored_at).total_seconds() > self._overdue_after
            if overdue and await self._leases.holder(lease_name(tenant_id, device_id)) is None:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        decide = partial(
            finished,
            tenant_id=tenant_id,
            device_id=device_id,
            trigger_id=event.trigger_id,
            actor="system:reaper",
            outcome="interrupted",
            occurred_at=now,
            message=MESSAGE,
        )
        if await self._devices.record(tenant_id, device_id, decide) is not None:
            self._metrics.manual_backups.labels("interrupted").inc()
            log.warning("manual backup %s was interrupted; its end is recorded", event.trigger_id)

    async def _give_up(self, msg: Msg, error: Exception) -> None:
        await self._dead_letters.put(
            "reaper",
            msg.subject,
            msg.data,
            field="trigger",
            rule=f"its end could not be recorded: {describe(error)}",
            tenant_id=None,
            device_id=None,
            headers=dict(msg.headers or {}),
            dedupe_id=f"reaper.{msg.metadata.sequence.stream}",
        )
