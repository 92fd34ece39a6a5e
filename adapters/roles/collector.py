"""The collector: every device of the inventory in its turn, and those that somebody asks for.

A due queue: each device has its own next time. Any number of collectors may run; each knows all
devices, and a lease with the record of the last attempt decides which of them reads one. What a
dead one held is free again when its lease ends.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext

from adapters.collecting.collection import DeviceCollector, Failed, NotDue
from adapters.collecting.places import NoPlace, Places, Way
from adapters.collecting.planned import Planned, now_utc
from adapters.collecting.registered import TYPES as INVENTORY
from adapters.collecting.registered import Registry
from adapters.collecting.reported import ReportedChanges
from adapters.collecting.schedule import Attempt, Record, Schedule, mark_of
from adapters.jetstream.intake import IntakeFull
from adapters.jetstream.latest import LatestEvents, LeftOut, Told
from adapters.observability.metrics import Metrics
from adapters.roles.answering import Answering
from adapters.roles.trigger import SUBJECT, TriggerService
from domain.credentials import credential_of
from domain.errors import (
    LeaseHeld,
    LeaseLost,
    MalformedEvent,
    MasterKeyUnknown,
    Unavailable,
    UnknownEventType,
)
from domain.events import (
    CredentialSet,
    DeviceSettings,
    HostKeyChanged,
    HostKeyReleased,
    Source,
)
from domain.fields import JUMP_PLATFORM

log = logging.getLogger(__name__)

QUEUE: Final = "configtrail-collector"
TYPES: Final = (*INVENTORY, HostKeyChanged, HostKeyReleased)
_INVENTORY_NAMES: Final = frozenset(one.__name__ for one in INVENTORY)
# Something of ours is away: look again soon.
AGAIN_SECONDS: Final = 10.0
# A device that waits for a person is looked at again: another collector may know better.
LOOK_SECONDS: Final = 300.0
# So often, and for so much, it is looked whether the clock was set back.
MIND_SECONDS: Final = 60.0

Key = tuple[str, str]


class Collector:
    """Collects on a schedule, and when asked on `config.backup.trigger`."""

    def __init__(
        self,
        nc: Client,
        js: JetStreamContext,
        *,
        collecting: DeviceCollector,
        schedule: Schedule,
        trigger: TriggerService,
        metrics: Metrics,
        at_once: int,
        clock: Callable[[], datetime] = now_utc,
    ) -> None:
        self._clock = clock
        self._ahead = self._clock().timestamp() - time.monotonic()
        self._nc = nc
        self._collecting = collecting
        self._schedule = schedule
        self._metrics = metrics
        self._latest = LatestEvents(nc, js, TYPES)
        self._answering = Answering(
            collecting, trigger, self._settings_of, self._secret_of, at_once
        )
        self._registry = Registry()
        self._reported = ReportedChanges(schedule, clock)
        self._planned: dict[Key, Planned] = {}
        # What all devices' records said when this began; those that it does not know have none.
        self._records: dict[Key, Record] | None = None
        self._queue: list[tuple[float, int, Key, int]] = []
        self._order = itertools.count()
        self._changed = asyncio.Event()
        self._places = Places(at_once)

    async def run(self) -> None:
        """Collect until cancelled; what is under way is stopped then."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(group))
            await self._work(group)

    def settings_at(self) -> dict[Key, DeviceSettings]:
        """The devices that are collected now."""
        return {key: one.settings for key, one in self._planned.items() if one.settings}

    def hear(self, tenant_id: str, device_id: str) -> None:
        """A device says that it changes: it will be hurried once it came to rest."""
        if self._is_collected((tenant_id, device_id)):
            self._reported.note((tenant_id, device_id))

    def hurry(self, tenant_id: str, device_id: str) -> bool:
        """Collect a device as soon as there is room, because it said that it changed; False when
        it is not collected here."""
        key = (tenant_id, device_id)
        if not self._is_collected(key):
            self._reported.settle(key, self._reported.newest(key))
            return False
        self._reported.note(key)
        planned = self._planned[key]
        planned.source = "pushed"
        self._place(key, planned, self._clock())
        return True

    def _is_collected(self, key: Key) -> bool:
        planned = self._planned.get(key)
        return planned is not None and planned.settings is not None and planned.settings.enabled

    async def _settings_of(self, tenant_id: str, device_id: str) -> DeviceSettings | None:
        planned = self._planned.get((tenant_id, device_id))
        return None if planned is None else planned.settings

    def _secret_of(self, tenant_id: str, device_id: str) -> str:
        planned = self._planned.get((tenant_id, device_id))
        return "" if planned is None else planned.secret

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        """Keep up with the inventory. Requests are answered only while there is a device: who has
        collectors of their own, and no inventory here, is not disturbed."""
        subscription: Subscription | None = None
        told = False

        async def on_request(msg: Msg) -> None:
            group.create_task(self._answering.answer(msg))

        try:
            self._records = await self._first_records()
            async with aclosing(self._latest.follow()) as changes:
                async for newest in changes:
                    for stored in newest.events:
                        self._apply(stored)
                    if newest.complete and not told:
                        self._records = None
                        group.create_task(self._reported.run(self.hurry))
                        told = True
                    has_devices = bool(self.settings_at())
                    if has_devices and subscription is None:
                        subscription = await self._nc.subscribe(SUBJECT, queue=QUEUE, cb=on_request)
                    elif not has_devices and subscription is not None:
                        await subscription.unsubscribe()
                        subscription = None
        finally:
            if subscription is not None and self._nc.is_connected:
                await subscription.unsubscribe()

    async def _first_records(self) -> dict[Key, Record] | None:
        """All at once: each on its own would be a request a device. None when they can't be had."""
        try:
            return await self._schedule.records()
        except Unavailable as error:
            log.warning("what was read when is asked for device by device: %s", error)
            return None

    def _apply(self, stored: Told) -> None:
        if isinstance(stored, LeftOut):
            self._leave_out(stored)
            return
        if isinstance(stored.event, INVENTORY):
            if isinstance(stored.event, CredentialSet):
                self._collecting.credential_set(stored.tenant_id, stored.event.name)
            self._take_over(self._registry.apply(stored))
            return
        key = (stored.tenant_id, stored.device_id)
        planned = self._planned.setdefault(key, Planned())
        if stored.position <= planned.position:
            return
        planned.position = stored.position
        match stored.event:
            case HostKeyChanged() as event:
                planned.refused = event.fingerprint
            case HostKeyReleased():
                planned.refused = ""
                planned.forget()
        self._plan(key, planned)

    def _leave_out(self, event: LeftOut) -> None:
        """What an event is about that can't be read is not collected; told once."""
        branch = (event.tenant_id, event.device_id)
        if event.kind not in _INVENTORY_NAMES:
            return  # of a host key: each turn of the device finds, and tells, that it can't be read
        credential = credential_of(event.device_id)
        if credential is not None:
            self._collecting.credential_set(event.tenant_id, credential)
        known, doubted = self._registry.left_out.get(branch), self._registry.doubted.get(branch)
        self._take_over(self._registry.apply(event))
        if self._registry.doubted.get(branch) != doubted:
            log.error(
                "%s: the newest event of the credential %s can't be read, and what is stored is "
                "used: %s",
                event.tenant_id,
                credential,
                event.reason,
            )
        if self._registry.left_out.get(branch) != known:
            self._metrics.collections.labels("unreadable_event").inc()
            log.error("%s/%s is left out of what is collected: %s", *branch, event.reason)

    def _take_over(self, keys: Sequence[Key]) -> None:
        """Plan the devices anew of which the registry has something else."""
        for key in keys:
            planned = self._planned.setdefault(key, Planned())
            before = planned.settings, planned.secret
            planned.settings = self._registry.settings(key)
            planned.secret = self._registry.secret_of(key)
            if (planned.settings, planned.secret) != before:
                planned.forget()
                if self._records is not None:
                    planned.learn(self._records.get(key, Record()))
                self._plan(key, planned)

    def _plan(self, key: Key, planned: Planned) -> None:
        """Give the device its next place in the queue."""
        settings = planned.settings
        if settings is None or settings.platform == JUMP_PLATFORM or not settings.enabled:
            planned.turn += 1
            planned.source = "scheduled"
            return
        now = self._clock()
        if planned.source == "pushed":
            self._place(key, planned, now)  # it said that it changed, and was not read since
            return
        mark = mark_of(settings, planned.refused, planned.secret)
        due = planned.due(key[1], settings, planned.last, mark, now)
        if due is None:
            planned.known = False
            due = now + timedelta(seconds=LOOK_SECONDS)
        elif due <= now and not planned.forgiven:
            # By chance among those that were not read here yet: a collector that is killed again
            # and again would always begin with the same ones, and never come to the last.
            due -= timedelta(seconds=random.random() * settings.interval_seconds)
        self._place(key, planned, due)

    def _place(self, key: Key, planned: Planned, at: datetime) -> None:
        planned.turn += 1
        planned.at = at
        heapq.heappush(self._queue, (at.timestamp(), next(self._order), key, planned.turn))
        self._changed.set()

    async def _work(self, group: asyncio.TaskGroup) -> None:
        while True:
            way = await self._places.begin()
            key, planned = await self._next()
            planned.running = True
            group.create_task(self._turn(key, planned, way), name=f"collect {key[1]}")

    async def _next(self) -> tuple[Key, Planned]:
        """The next device whose time has come."""
        while True:
            self._changed.clear()
            self._mind_the_clock()
            wait: float | None = None
            while self._queue:
                at, _, key, turn = self._queue[0]
                planned = self._planned[key]
                if turn != planned.turn or planned.running:
                    heapq.heappop(self._queue)
                    continue
                wait = at - self._clock().timestamp()
                if wait > 0:
                    break
                heapq.heappop(self._queue)
                return key, planned
            try:
                async with asyncio.timeout(None if wait is None else min(wait, MIND_SECONDS)):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _mind_the_clock(self) -> None:
        """What was planned by a clock that is set back now would wait for that long."""
        ahead = self._clock().timestamp() - time.monotonic()
        back, self._ahead = self._ahead - ahead, ahead
        if back < MIND_SECONDS:
            return
        log.warning("the clock was set back by %.0f s: all devices are planned anew", back)
        for key, planned in self._planned.items():
            planned.known = planned.forgiven = False
            self._plan(key, planned)

    async def _turn(self, key: Key, planned: Planned, way: Way) -> None:
        before = planned.turn
        again: float | None = None
        source, planned.source = planned.source, "scheduled"
        reported = self._reported.newest(key) if source == "pushed" else None
        try:
            again = await self._collect(key, planned, source, way)
            self._reported.settle(key, reported)
        except NoPlace:
            # In its old place: behind all others that are due it might never have a turn.
            again = (planned.at - self._clock()).total_seconds()
            planned.source = source
            planned.forget()  # it was claimed and given back
        except (LeaseHeld, LeaseLost, IntakeFull, MasterKeyUnknown, Unavailable) as error:
            log.info("%s/%s is not collected now: %s", *key, error)
            # Who holds it may be dead: looked at again twice in the time that its lease lasts.
            held = isinstance(error, LeaseHeld)
            again = self._collecting.lease_seconds / 4 if held else AGAIN_SECONDS
            again *= 1 + random.random()
            planned.source = source
        except (MalformedEvent, UnknownEventType) as error:
            log.warning("%s/%s is not collected: %s", *key, error)
            self._metrics.collections.labels("unreadable_event").inc()
            again = LOOK_SECONDS
        except Exception as error:
            # Whatever it is, the other devices go on; it is logged, counted and tried again.
            log.error("collecting %s/%s failed", *key, exc_info=error)
            self._metrics.collections.labels("error").inc()
            again = 6 * AGAIN_SECONDS
        finally:
            planned.running = False
            way.leave()
        if again is not None and planned.turn == before:
            self._place(key, planned, self._clock() + timedelta(seconds=again))
        else:
            self._plan(key, planned)

    async def _collect(self, key: Key, planned: Planned, source: Source, way: Way) -> float | None:
        """One turn of a device; in how many seconds it is to be looked at again, when that is not
        what the schedule says."""
        settings = planned.settings
        if settings is None:
            return None

        def is_due(last: Attempt | None, mark: str) -> bool:
            """One that said that it changed is always due, unless it waits for a person."""
            now = self._clock()
            due = planned.due(key[1], settings, last, mark, now)
            return due is not None and (due <= now or source == "pushed")

        if not planned.known:
            # What others did meanwhile; asked without a claim, which costs more.
            planned.learn(await self._schedule.record(*key))
            if not is_due(planned.last, mark_of(settings, planned.refused, planned.secret)):
                return None
        try:
            done = await self._collecting.collect(
                *key,
                settings,
                partial(self._settings_of, key[0]),
                source=source,
                is_due=is_due,
                record=planned.record,
                secret=planned.secret,
                registered=True,
                way=way,
            )
        except NotDue as found:
            planned.learn(found.record)
            return None
        except Failed as failure:
            planned.learn(failure.record)
            planned.forgiven = True
            self._metrics.collections.labels(failure.kind).inc()
            log.info("%s/%s could not be read (%s): %s", *key, failure.kind, failure.reason)
            # The event of a refused key is on its way to us, and plans the device anew.
            return LOOK_SECONDS if failure.kind == "host_key_changed" else None
        planned.learn(done.record)
        planned.forgiven = True
        self._metrics.collections.labels("read").inc()
        self._metrics.collection_seconds.observe(done.seconds)
        return None
