"""How a manual backup ended, told by the facts in its device's history."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace
from nats.js import JetStreamContext

from adapters.collecting.claiming import Claims
from adapters.collecting.schedule import Claim, Schedule
from adapters.crypto.keys import KeyRing
from adapters.jetstream.leases import Holder, Leases
from adapters.jetstream.progress import acknowledged, newest
from adapters.jetstream.streams import INTAKE, INTAKE_SUBJECT
from adapters.roles.recorder import CONSUMER as RECORDER
from adapters.roles.trigger_reply import Reply, clean
from domain.envelope import Head, StoredEvent
from domain.errors import Unavailable
from domain.events import (
    BackupOutcome,
    CollectionFailed,
    DuplicateSkipped,
    ManualBackupFinished,
    SnapshotCreated,
    Source,
)
from domain.ids import text_fingerprint, to_token
from domain.ports import EventStore

log = logging.getLogger(__name__)

NO_REASON = "the collector gives no reason"
_LOOK_SECONDS = 0.05
_JOINED_NEW = "a new configuration was recorded by the collection that was under way"
_JOINED_SAME = "the collection that was under way found the configuration unchanged"


class Request(Struct, frozen=True):
    """A backup that was asked for, and recorded so as `opened`; `deadline` by the loop's clock."""

    trigger_id: str
    tenant_id: str
    device_id: str
    actor: str
    deadline: float
    opened: StoredEvent
    join: bool


class Ending(Struct, frozen=True):
    """How a backup ended, in words for whoever asked."""

    outcome: BackupOutcome
    message: str
    sha256_hash: str | None = None
    snapshot_id: str | None = None


class UnderWay(Struct, frozen=True):
    """A collection that was joined: that of a manual backup, or else one that began then.
    `read_at` is when it read the device, or failed to, once a collector has said so."""

    trigger_id: str | None
    began: datetime
    read_at: datetime | None = None

    def has(self, source: Source, moment: datetime, trigger_id: str | None) -> bool:
        """Whether an attempt at reading the device, at a moment, is this collection's.

        What somebody sends or imports never is, whatever time it names. A reading that syslog set
        off looks like what is sent, but for its time.
        """
        if self.trigger_id is not None:
            return trigger_id == self.trigger_id
        if source == "pushed":
            return moment == self.read_at
        return source in ("scheduled", "manual") and moment >= self.began


def lease_name(tenant_id: str, device_id: str) -> str:
    """The lease that a backup of the device holds while it runs."""
    return f"backup.{to_token(tenant_id)}.{to_token(device_id)}"


class Endings:
    """Finds the ends of backups in the log."""

    def __init__(
        self,
        js: JetStreamContext,
        events: EventStore,
        keyring: KeyRing,
        leases: Leases,
        schedule: Schedule,
    ) -> None:
        self._js = js
        self._events = events
        self._keyring = keyring
        self._leases = leases
        self._schedule = schedule
        self._claims = Claims(schedule, leases)

    async def confirmed(self, request: Request, reply: Reply, seconds: float) -> Ending:
        """Wait until the collector's observation is a fact in the device's history."""
        fingerprint: str | None = None
        if reply.sha256_hash is not None:
            keys = await self._keyring.tenant(request.tenant_id)
            fingerprint = text_fingerprint(keys.fingerprint_key, reply.sha256_hash)
        head = Head(request.opened.version, request.opened.position)
        loop = asyncio.get_running_loop()
        while True:
            branch = self._events.read_branch(request.tenant_id, request.device_id, head)
            try:
                async with aclosing(branch) as events:
                    async for stored in events:
                        head = Head(stored.version, stored.position)
                        ending = _recognised(stored, request.trigger_id, fingerprint, reply)
                        if ending is not None:
                            return ending
            except Unavailable as error:
                log.warning("waiting for the backup to be recorded: %s", error)
            if loop.time() >= request.deadline:
                return Ending(
                    "timed_out",
                    f"the collector reports success, but no new reading was recorded within "
                    f"{seconds:g} s: look at the recorder and at the dead letters, and whether the "
                    "collector sent an old reading again (the same collected_at)",
                )
            await asyncio.sleep(_LOOK_SECONDS)

    async def joined(self, request: Request, seconds: float) -> Ending | None:
        """The end of the collection that is under way; None when it ended without a fact."""
        under_way = await self._under_way(request)
        loop = asyncio.get_running_loop()
        # What was read is on the intake before its lease is free: at this sequence or before.
        sent: int | None = None
        while True:
            if sent is None and await self._reader(request) is None:
                sent = await newest(self._js, INTAKE, INTAKE_SUBJECT)
                under_way = await self._ended(request, under_way)
            worked_off = sent is not None and await self._worked_off(sent)
            branch = self._events.read_branch(
                request.tenant_id,
                request.device_id,
                Head(request.opened.version, request.opened.position),
            )
            async with aclosing(branch) as events:
                async for stored in events:
                    ending = _of_another(stored, under_way)
                    if ending is not None:
                        return ending
            if loop.time() >= request.deadline:
                return Ending(
                    "timed_out", f"the collection that is under way did not end in {seconds:g} s"
                )
            # Only then: what is still on the intake would be read a second time.
            if worked_off:
                return None
            await asyncio.sleep(_LOOK_SECONDS)

    async def _under_way(self, request: Request) -> UnderWay:
        reader = await self._reader(request)
        began = request.opened.occurred_at
        if reader is None:
            return UnderWay(None, began)
        return UnderWay(reader.task, reader.began or began)

    async def _reader(self, request: Request) -> Claim | Holder | None:
        """Who reads the device, or has somebody asked to. Who has a backup only may be about to
        find out that somebody else reads the device."""
        claim = await self._claims.of(request.tenant_id, request.device_id)
        if claim is not None:
            return claim
        return await self._leases.held(lease_name(request.tenant_id, request.device_id))

    async def _ended(self, request: Request, under_way: UnderWay) -> UnderWay:
        """A collection that has ended, as its collector noted it before its lease was free."""
        last = await self._schedule.last(request.tenant_id, request.device_id)
        if last is None or last.at < under_way.began:
            return under_way
        return replace(under_way, read_at=last.at)

    async def _worked_off(self, sequence: int) -> bool:
        return await acknowledged(self._js, INTAKE, RECORDER) >= sequence


def _recognised(
    stored: StoredEvent, trigger_id: str, fingerprint: str | None, reply: Reply
) -> Ending | None:
    event = stored.event
    if not isinstance(event, SnapshotCreated | DuplicateSkipped):
        return None
    if trigger_id != event.trigger_id and fingerprint != event.text_fingerprint:
        return None
    if isinstance(event, SnapshotCreated):
        outcome: BackupOutcome = "succeeded"
        usual = "a new configuration was recorded"
    else:
        outcome = "duplicate"
        usual = "the configuration is unchanged"
    return Ending(outcome, clean(reply.message or usual), reply.sha256_hash, event.snapshot_id)


def _of_another(stored: StoredEvent, joined: UnderWay) -> Ending | None:
    """The end that an event after the request gives it, when it joined another collection."""
    match stored.event:
        case SnapshotCreated() as event:
            if joined.has(event.source, event.collected_at, event.trigger_id):
                return Ending("succeeded", _JOINED_NEW, None, event.snapshot_id)
        case DuplicateSkipped() as event:
            if joined.has(event.source, event.collected_at, event.trigger_id):
                return Ending("duplicate", _JOINED_SAME, None, event.snapshot_id)
        case CollectionFailed() as event:
            if joined.has(event.source, event.attempted_at, event.trigger_id):
                return Ending("failed", clean(event.message))
        case ManualBackupFinished() as event if event.trigger_id == joined.trigger_id:
            # A collector's observation need not name the backup: its end does.
            match event.outcome:
                case "succeeded":
                    return Ending("succeeded", _JOINED_NEW, None, event.snapshot_id)
                case "duplicate":
                    return Ending("duplicate", _JOINED_SAME, None, event.snapshot_id)
                case "failed" | "timed_out":
                    return Ending("failed", clean(event.message or NO_REASON))
    return None
