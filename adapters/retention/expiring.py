"""Retention at work: judges every text of a tenant by its policy; what nothing keeps goes."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime

from msgspec import Struct
from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.retention.fleet import devices_with_texts
from adapters.retention.removing import Remover
from adapters.roles.devices import DeviceRepository
from domain.device import DeviceState
from domain.errors import AppendConflict, MalformedEvent, UnknownEventType
from domain.events import RetentionPolicy
from domain.ids import TENANT_BRANCH
from domain.keeping import expired
from domain.ports import EventStore
from domain.retention import Holdings, Verdict, gone_with, in_words, judge

log = logging.getLogger(__name__)

# What nobody set keeps everything.
EVERYTHING = RetentionPolicy()


class Judged(Struct, frozen=True):
    """A device and what is to become of each of its texts."""

    device_id: str
    verdicts: tuple[Verdict, ...]


class Retention:
    """The work of one tenant after another. Who runs it holds the lease `LEASE`; two at once would
    do each other's work, and no harm."""

    def __init__(
        self,
        nc: Client,
        js: JetStreamContext,
        events: EventStore,
        devices: DeviceRepository,
        remover: Remover,
    ) -> None:
        self._nc = nc
        self._js = js
        self._events = events
        self._devices = devices
        self._remover = remover

    async def plan(self, tenant_id: str, now: datetime) -> AsyncGenerator[Judged, None]:
        """What a run would do to each device now, and why. Nothing is changed."""
        for device_id in await devices_with_texts(self._nc, self._js, tenant_id):
            with _left_out_if_unreadable(tenant_id, device_id):
                _, verdicts = await self._judged(tenant_id, device_id, now)
                yield Judged(device_id, tuple(verdicts))

    async def run(self, tenant_id: str, now: datetime) -> AsyncGenerator[Judged, None]:
        """Let go what nothing keeps: first the events, then what they say is removed.

        Gives what was decided of each device whose history can be read. Broken off, do it again.
        Raises `Unavailable`.
        """
        run_id = str(uuid.uuid4())
        await self._remover.finish()
        for device_id in await devices_with_texts(self._nc, self._js, tenant_id):
            with _left_out_if_unreadable(tenant_id, device_id):
                yield await self._expire(tenant_id, device_id, run_id, now)
        await self._remover.finish()

    async def _expire(self, tenant_id: str, device_id: str, run_id: str, now: datetime) -> Judged:
        while True:
            state, verdicts = await self._judged(tenant_id, device_id, now)
            policy = (await self._devices.load(tenant_id, TENANT_BRANCH)).retention
            try:
                for one in verdicts:
                    if one.reasons:
                        continue
                    event = expired(
                        tenant_id,
                        device_id,
                        run_id=run_id,
                        occurred_at=datetime.now(UTC),
                        snapshot_id=one.kept.snapshot.snapshot_id,
                        contents=gone_with(one, verdicts),
                        reason=in_words(policy or EVERYTHING),
                    )
                    await self._devices.append(event, state)
                    state = await self._devices.load(tenant_id, device_id)
            except AppendConflict:
                # A reading, a hold or an erasure came in between: all is judged anew.
                continue
            return Judged(device_id, tuple(verdicts))

    async def _judged(
        self, tenant_id: str, device_id: str, now: datetime
    ) -> tuple[DeviceState, list[Verdict]]:
        """The device's state, and what is to become of its texts, as of the end of its history."""
        tenant = await self._devices.refresh(tenant_id, TENANT_BRANCH)
        while True:
            state = await self._devices.refresh(tenant_id, device_id)
            async with aclosing(self._events.read_branch(tenant_id, device_id)) as branch:
                events = [one async for one in branch]
            if not events or events[-1].version == state.head.version:
                break
        verdicts = judge(
            Holdings.of(events),
            tenant.retention or EVERYTHING,
            now,
            tenant_holds=tenant.holds,
            pending=state.pending_diffs,
        )
        return state, verdicts


@contextmanager
def _left_out_if_unreadable(tenant_id: str, device_id: str) -> Iterator[None]:
    """What can't be read may say what keeps the device's texts: they stay, and the others go on."""
    try:
        yield
    except (MalformedEvent, UnknownEventType) as error:
        log.error("retention leaves out %s/%s: %s", tenant_id, device_id, error)
