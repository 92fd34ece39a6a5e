"""Manual backups: somebody asks for one now, and waits for how it ends.

The request is recorded before anybody is contacted, and every request ends in exactly one
`ManualBackupFinished`, whatever happens in between; when this program dies, `TriggerReaper`
records the end. A lease keeps two backups of one device apart across processes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

import nats.errors
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg

from adapters.collecting.schedule import Schedule
from adapters.crypto.keys import KeyRing
from adapters.jetstream.connection import cancellable
from adapters.jetstream.leases import Leases
from adapters.observability.logging import log_context
from adapters.observability.metrics import Metrics
from adapters.roles.devices import DeviceRepository
from adapters.roles.shielding import surely
from adapters.roles.trigger_endings import (
    NO_REASON,
    Ending,
    Endings,
    Request,
    lease_name,
)
from adapters.roles.trigger_reply import BadReply, clean, parse_reply
from domain.decisions import finished, triggered
from domain.envelope import StoredEvent
from domain.errors import (
    BackupFailed,
    BackupTimedOut,
    BackupUnderWay,
    InvalidInput,
    LeaseHeld,
    LeaseLost,
    Unavailable,
)
from domain.events import (
    ACTOR,
    BackupOutcome,
)
from domain.ids import check_device_id, check_tenant_id, to_token
from domain.ports import EventStore

log = logging.getLogger(__name__)

SUBJECT = "config.backup.trigger"
LEASE_SECONDS = 10
FINISH_SECONDS = 10.0
REASON_MAX = 500
_LOOK_SECONDS = 0.05


class TriggerResult(Struct, frozen=True):
    """How a backup ended that went well. `position` is that of the event that says so: a read
    model which has reached it shows the backup. `snapshot_id` was made or confirmed."""

    trigger_id: str
    status: str
    outcome: BackupOutcome
    sha256_hash: str | None
    message: str
    snapshot_id: str | None
    position: int


class TriggerService:
    """Asks whoever answers `config.backup.trigger`. `timeout` is in seconds, for all of it;
    `lease_seconds` is how long after this program's death the device stays locked."""

    def __init__(
        self,
        nc: Client,
        *,
        devices: DeviceRepository,
        events: EventStore,
        leases: Leases,
        keyring: KeyRing,
        metrics: Metrics,
        schedule: Schedule,
        timeout: float = 60.0,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._nc = nc
        self._devices = devices
        self._endings = Endings(nc.jetstream(), events, keyring, leases, schedule)
        self._leases = leases
        self._metrics = metrics
        self._timeout = timeout
        self._lease_seconds = lease_seconds

    async def run(
        self,
        tenant_id: str,
        device_id: str,
        *,
        actor: str,
        remote_address: str | None = None,
        reason: str | None = None,
        timeout: float | None = None,
        traceparent: str | None = None,
        join: bool = False,
    ) -> TriggerResult:
        """Back the device up now; returns when its observation is recorded.

        `timeout` can only shorten the service's. `join`: when a collection of the device is under
        way, its end is awaited and taken for this one's, instead of refusing. Raises
        `InvalidInput`, `BackupUnderWay`, `BackupFailed`, `BackupTimedOut`, or `Unavailable` when
        NATS is away. Cancelling it is recorded as a failure.
        """
        _check(tenant_id, device_id, actor, reason)
        trigger_id = str(uuid.uuid4())
        started = time.perf_counter()
        seconds = min(self._timeout, timeout if timeout is not None else self._timeout)
        deadline = asyncio.get_running_loop().time() + seconds
        event = triggered(
            tenant_id,
            device_id,
            trigger_id=trigger_id,
            actor=actor,
            occurred_at=datetime.now(UTC),
            remote_address=remote_address,
            reason=reason,
            traceparent=traceparent,
        )
        with log_context(trigger_id=trigger_id):
            try:
                # Not cut short: whether the request is recorded must be known afterwards.
                opened = await surely(self._devices.record(tenant_id, device_id, lambda _: event))
                assert opened is not None
            except asyncio.CancelledError:
                await surely(self._finish(event.tenant_id, device_id, trigger_id, actor, _STOPPED))
                raise
            request = Request(trigger_id, tenant_id, device_id, actor, deadline, opened, join)
            ending, position = await self._perform(request, seconds)
            self._metrics.manual_backups.labels(ending.outcome).inc()
            self._metrics.manual_backup_seconds.observe(time.perf_counter() - started)
            log.info("manual backup of %s/%s: %s", tenant_id, device_id, ending.outcome)
        return _result(request, ending, position)

    async def is_under_way(self, tenant_id: str, device_id: str, trigger_id: str) -> bool:
        """Whether a backup with that id is recorded, and being done now, here or elsewhere. Raises
        `Unavailable`."""
        # Its lease is taken after the request is recorded; a replica's log may lag behind that.
        held = await self._leases.held(lease_name(tenant_id, device_id))
        return held is not None and held.task == trigger_id

    async def _perform(self, request: Request, seconds: float) -> tuple[Ending, int]:
        """Do it, and record its end, under the lease. Every way out records an end."""
        told: list[tuple[Ending, int]] = []

        async def tell(ending: Ending) -> None:
            stored = await surely(
                self._finish(
                    request.tenant_id,
                    request.device_id,
                    request.trigger_id,
                    request.actor,
                    ending,
                )
            )
            told.append((ending, stored.position if stored else request.opened.position))

        try:
            while not told:
                ending = await self._alone(request, seconds, tell)
                if ending is not None:
                    await tell(ending)
        except LeaseLost as error:
            if not told:
                await tell(Ending("failed", f"interrupted: {error}"))
        except Unavailable as error:
            if not told:
                await tell(Ending("failed", f"{error}"))
                raise
        except asyncio.CancelledError:
            if not told:
                await tell(_STOPPED)
            raise
        except BaseException as error:
            if not told:
                await tell(Ending("failed", f"interrupted by an error: {type(error).__name__}"))
            raise
        return told[0]

    async def _alone(
        self, request: Request, seconds: float, tell: Callable[[Ending], Awaitable[None]]
    ) -> Ending | None:
        """Do it and tell its end under the lease. When somebody else is at it: how to end instead,
        None when it is to be tried anew."""
        try:
            async with self._leases.hold(
                lease_name(request.tenant_id, request.device_id),
                self._lease_seconds,
                task=request.trigger_id,
            ):
                ending = await self._ask(request, seconds)
                if not (request.join and ending.outcome == "locked"):
                    await tell(ending)
                    return None
        except LeaseHeld:
            ending = Ending("locked", "a backup of this device is under way")
        if not request.join:
            return ending
        return await self._endings.joined(request, seconds)

    async def _ask(self, request: Request, seconds: float) -> Ending:
        body = {
            "device_id": request.device_id,
            "tenant_id": request.tenant_id,
            "trigger_id": request.trigger_id,
        }
        try:
            msg = await self._answer(request, json.dumps(body).encode())
        except nats.errors.NoRespondersError:
            return Ending(
                "failed",
                f"no collector answers on {SUBJECT}: does one run, and is a device registered?",
            )
        except TimeoutError:
            return Ending("timed_out", f"the collector did not answer within {seconds:g} s")
        except nats.errors.Error as error:
            return Ending("failed", f"NATS does not answer: {type(error).__name__}")
        try:
            reply = parse_reply(msg.data)
        except BadReply as error:
            return Ending("failed", f"the collector's answer breaks the contract: {error}")
        match reply.status:
            case "success":
                return await self._endings.confirmed(request, reply, seconds)
            case "locked":
                return Ending("locked", clean(reply.message or reply.error or _LOCKED))
            case "failed":
                return Ending("failed", clean(reply.error or reply.message or NO_REASON))

    async def _answer(self, request: Request, body: bytes) -> Msg:
        """The answer of a poller in the tenant's own account; where none listens, of anybody."""
        try:
            with cancellable():
                return await self._nc.request(
                    f"{SUBJECT}.{to_token(request.tenant_id)}", body, timeout=_remaining(request)
                )
        except nats.errors.NoRespondersError:
            with cancellable():
                return await self._nc.request(SUBJECT, body, timeout=_remaining(request))

    async def _finish(
        self, tenant_id: str, device_id: str, trigger_id: str, actor: str, ending: Ending
    ) -> StoredEvent | None:
        """Record the end; None when it is told already. `Unavailable` after a bounded wait."""
        decide = partial(
            finished,
            tenant_id=tenant_id,
            device_id=device_id,
            trigger_id=trigger_id,
            actor=actor,
            outcome=ending.outcome,
            occurred_at=datetime.now(UTC),
            message=ending.message,
            snapshot=ending.snapshot_id,
        )
        said = False
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                while True:
                    try:
                        # A state from before the request would make its end look told already.
                        return await self._devices.change(tenant_id, device_id, decide)
                    except Unavailable as error:
                        if not said:
                            log.warning("the end of a manual backup is not recorded yet: %s", error)
                        said = True
                        await asyncio.sleep(_LOOK_SECONDS * 4)
        except TimeoutError as error:
            raise Unavailable(
                "NATS",
                f"the backup's end ({ending.outcome}) can't be recorded now; it will be recorded "
                "as failed when NATS is back",
            ) from error


_LOCKED = "a backup of this device is under way at the collector"
_STOPPED = Ending("failed", "interrupted: the program was stopped")


def _check(tenant_id: str, device_id: str, actor: str, reason: str | None) -> None:
    check_tenant_id(tenant_id)
    check_device_id(device_id)
    if not ACTOR.match(actor):
        raise InvalidInput("actor", "must be user:<id>, service:<name> or system:<role>")
    if reason is not None and (len(reason) > REASON_MAX or not reason.isprintable()):
        raise InvalidInput("reason", f"must be printable and at most {REASON_MAX} characters")


def _remaining(request: Request) -> float:
    return max(0.001, request.deadline - asyncio.get_running_loop().time())


def _result(request: Request, ending: Ending, position: int) -> TriggerResult:
    match ending.outcome:
        case "locked":
            raise BackupUnderWay(request.tenant_id, request.device_id)
        case "failed" | "interrupted":
            raise BackupFailed(request.tenant_id, request.device_id, ending.message)
        case "timed_out":
            raise BackupTimedOut(request.tenant_id, request.device_id, ending.message)
        case _:
            return TriggerResult(
                trigger_id=request.trigger_id,
                status="success",
                outcome=ending.outcome,
                sha256_hash=ending.sha256_hash,
                message=ending.message,
                snapshot_id=ending.snapshot_id,
                position=position,
            )
