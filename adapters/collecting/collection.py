"""One collection of one device, whole: alone, read, proven to be ours, sent, and told.

A claim keeps two collections of a device apart across all programs. Right before the reading is
sent, it is confirmed: a program that was stopped while another took over sends nothing.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import time
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial

import nats.errors
from msgspec import Struct

from adapters.collecting.claiming import LEASE_SECONDS, Claiming, Claims
from adapters.collecting.credentials import Credentials
from adapters.collecting.places import Way
from adapters.collecting.schedule import Attempt, Record, Schedule, mark_of
from adapters.collecting.targets import Inventory, Targets
from adapters.crypto.keys import KeyRing
from adapters.jetstream.intake import IntakePublisher
from adapters.jetstream.leases import Leases
from adapters.lengths import by_length, fingerprint_under
from adapters.roles.devices import DeviceRepository
from adapters.roles.shielding import surely
from adapters.ssh.connecting import Seen
from adapters.ssh.failures import DeviceUnread, JumpHostRefused
from adapters.ssh.jumping import JumpHosts, Jumping
from adapters.ssh.reading import Reading, read_device
from adapters.ssh.target import Target
from domain.collecting import failure_told, host_key_shown, is_gone, recovered
from domain.device import DeviceState
from domain.errors import ConfigtrailError, InvalidInput
from domain.events import DeviceSettings, Source
from domain.groups import group_branch, settings_now
from domain.ids import observation_id
from domain.intake import check_text

log = logging.getLogger(__name__)

IsDue = Callable[[Attempt | None, str], bool]


class NotDue(ConfigtrailError):
    """Another program has read the device meanwhile, as its `record` tells."""

    def __init__(self, record: Record, mark: str) -> None:
        super().__init__("the device is not due (any more)")
        self.record = record
        self.mark = mark


class Collected(Struct, frozen=True, kw_only=True):
    """A reading that is durable on the intake. `event_id` is that of the fact it becomes, `record`
    what stands of the device now."""

    device_id: str
    sha256_hash: str
    size_bytes: int
    sequence: int
    event_id: str
    record: Record
    seconds: float


class Failed(DeviceUnread):
    """A collection that failed and is told, as the device's `record` has it now."""

    def __init__(self, failure: DeviceUnread, record: Record) -> None:
        super().__init__(failure.kind, failure.reason)
        self.record = record


class DeviceCollector:
    """Collects devices, one call each. Any number may run at once, here and elsewhere."""

    def __init__(
        self,
        *,
        devices: DeviceRepository,
        credentials: Credentials,
        schedule: Schedule,
        leases: Leases,
        intake: IntakePublisher,
        keyring: KeyRing,
        lease_seconds: float = LEASE_SECONDS,
        jump_hosts: JumpHosts | None = None,
    ) -> None:
        self._devices = devices
        self._targets = Targets(devices, credentials)
        self._claims = Claims(schedule, leases, lease_seconds)
        self._intake = intake
        self._keyring = keyring
        self._jump_hosts = JumpHosts() if jump_hosts is None else jump_hosts

    def trusting(self) -> DeviceCollector:
        """The same for an inventory of whoever runs this program."""
        trusting = copy.copy(self)
        trusting._targets = self._targets.trusting()
        return trusting

    @property
    def lease_seconds(self) -> float:
        """How long after this program's death what it reads stays claimed."""
        return self._claims.seconds

    async def registered(self, tenant_id: str, device_id: str) -> DeviceSettings | None:
        """The device's settings as the log has them now; None when it is not in the inventory."""
        told = (await self._devices.refresh(tenant_id, device_id)).configured
        if told is None:
            return None
        group = told.settings.group
        if told.own is None or group is None:
            return settings_now(told, None)
        return settings_now(
            told, (await self._devices.refresh(tenant_id, group_branch(group))).group
        )

    def credential_set(self, tenant_id: str, name: str) -> None:
        """A stored credential is another one now."""
        self._targets.credential_set(tenant_id, name)

    async def collect(
        self,
        tenant_id: str,
        device_id: str,
        settings: DeviceSettings,
        inventory: Inventory,
        *,
        source: Source,
        trigger_id: str | None = None,
        is_due: IsDue | None = None,
        record: Record | None = None,
        secret: str = "",
        registered: bool = False,
        way: Way | None = None,
    ) -> Collected:
        """Read the device and send its configuration to the intake. `record` is what was known of
        it last, `secret` a mark of the stored credential that it has. `registered`: the settings
        are those of the registered inventory; of a device that is taken out of it meanwhile no
        failure is told. On its `way`, if it has one, it waits for the places that it needs.

        Raises `LeaseHeld` when it is being collected, `NotDue`, `NoPlace`, `Failed` when it could
        not be read (which is told then), `LeaseLost`, `IntakeFull`, `Unavailable`.
        """
        async with self._claims.claiming(tenant_id, device_id, task=trigger_id) as claiming:
            # A claim that was seen a while ago may be given back by now.
            known = record if record and not record.claim else await claiming.look()
            while True:
                # After the record was looked at: then nobody has changed the device until it is
                # taken as that.
                state = await self._devices.refresh(tenant_id, device_id)
                last, mark = known.last, _mark(settings, state, secret)
                if is_due is not None and not is_due(last, mark):
                    raise NotDue(known, mark)
                if await claiming.take(known):
                    break
                known = await claiming.look()
            failures = 0 if last is None else last.failures
            try:
                # Who asks for a backup may have mended what was refused.
                jumping = partial(
                    self._jump_hosts.trying, tenant_id=tenant_id, insists=source == "manual"
                )
                seen = Seen()
                try:
                    async with nullcontext() if way is None else way.connected():
                        started = time.perf_counter()
                        reading = await self._read(
                            tenant_id, device_id, settings, state, inventory, jumping, seen
                        )
                        at = datetime.now(UTC)
                finally:
                    if seen.keys:
                        await surely(self._keys_shown(tenant_id, seen, registered=registered))
                digest = await _checked(reading.text)
            except Exception as error:
                failure = _failure_of(error, tenant_id, device_id)
                if failure is None:
                    raise
                raise await surely(
                    self._failed(
                        claiming,
                        tenant_id,
                        device_id,
                        settings,
                        failure,
                        failures,
                        source,
                        trigger_id,
                        secret,
                        registered,
                    )
                ) from error
            await claiming.confirm()
            sequence = await self._intake.publish(
                tenant_id,
                device_id,
                reading.text,
                at,
                source=source,
                routeros_version=reading.os_version if reading.platform == "routeros" else None,
                platform=reading.platform,
                trigger_id=trigger_id,
                device_history=reading.history,
            )
            end = partial(
                recovered,
                tenant_id=tenant_id,
                device_id=device_id,
                recovery_id=str(uuid.uuid4()),
                occurred_at=at,
                failures=failures,
            )
            await self._devices.record(tenant_id, device_id, end)
            kept = await claiming.give_back(Attempt(at=at, settings=mark))
        keys = await self._keyring.tenant(tenant_id)
        identity = observation_id(keys.fingerprint_key, tenant_id, device_id, at, digest)
        return Collected(
            device_id=device_id,
            sha256_hash=digest,
            size_bytes=len(reading.text.encode()),
            sequence=sequence,
            event_id=f"observation.{identity}",
            record=kept,
            seconds=time.perf_counter() - started,
        )

    async def _read(
        self,
        tenant_id: str,
        device_id: str,
        settings: DeviceSettings,
        state: DeviceState,
        inventory: Inventory,
        jumping: Jumping,
        seen: Seen,
    ) -> Reading:
        began = time.monotonic()

        async def target(since: float = 0.0) -> Target:
            return await self._targets.find(tenant_id, device_id, settings, state, inventory, since)

        async def is_change(text: str) -> bool:
            return await self._is_change(tenant_id, state, text)

        async def read(wanted: Target) -> Reading:
            return await read_device(
                wanted,
                settings.platform,
                seen,
                secret_values=settings.secret_values,
                os_version=state.os_version,
                asks_history=is_change if settings.history else None,
                jumping=jumping,
            )

        first = await target()
        try:
            return await read(first)
        except DeviceUnread as error:
            if error.kind != "auth_failed" and not isinstance(error, JumpHostRefused):
                raise
            # What was looked up a while ago may be the credential before.
            fresh = await target(began)
            if fresh == first:
                raise
            return await read(fresh)

    async def _is_change(self, tenant_id: str, state: DeviceState, text: str) -> bool:
        """Whether a text is another configuration than the one that is recorded as the current
        one. One that is on its way to the recorder is not known here: better ask too often."""
        current = state.current
        if current is None:
            return False
        key = (await self._keyring.tenant(tenant_id)).fingerprint_key
        return await fingerprint_under(current.canonical, key, text) != current.fingerprint

    async def _keys_shown(self, tenant_id: str, seen: Seen, *, registered: bool) -> None:
        for device_id, key in seen.keys.items():
            decide = partial(
                host_key_shown,
                tenant_id=tenant_id,
                device_id=device_id,
                change_id=str(uuid.uuid4()),
                occurred_at=datetime.now(UTC),
                algorithm=key.algorithm,
                public_key=key.blob,
                fingerprint=key.fingerprint,
                address=seen.addresses[device_id],
                registered=registered,
            )
            await self._devices.record(tenant_id, device_id, decide)

    async def _failed(
        self,
        claiming: Claiming,
        tenant_id: str,
        device_id: str,
        settings: DeviceSettings,
        failure: DeviceUnread,
        before: int,
        source: Source,
        trigger_id: str | None,
        secret: str,
        registered: bool,
    ) -> Failed:
        """Tell a failure, once for each kind until it ends."""
        await claiming.confirm()
        at = datetime.now(UTC)
        tell = partial(
            failure_told,
            tenant_id=tenant_id,
            device_id=device_id,
            failure_id=str(uuid.uuid4()),
            kind=failure.kind,
            message=failure.reason,
            attempted_at=at,
            source=source,
            attempt=before + 1,
            trigger_id=trigger_id,
            registered=registered,
        )
        await self._devices.change(tenant_id, device_id, tell)
        # With what the failure itself changed: a refused key.
        state = await self._devices.load(tenant_id, device_id)
        attempt = Attempt(
            at=at, settings=_mark(settings, state, secret), failures=before + 1, kind=failure.kind
        )
        if is_gone(state, registered=registered):
            # Back in the inventory it begins anew: nobody was told what it would wait for.
            return Failed(failure, Record(attempt))
        return Failed(failure, await claiming.give_back(attempt))


def _mark(settings: DeviceSettings, state: DeviceState, secret: str) -> str:
    return mark_of(settings, state.refused_key.fingerprint if state.refused_key else "", secret)


def _failure_of(error: Exception, tenant_id: str, device_id: str) -> DeviceUnread | None:
    """What an error of a reading says of the device. None: it is of what we stand on, not of the
    device. One that nobody thought of is told like any other failure, and its type only."""
    if isinstance(error, DeviceUnread):
        return error
    if isinstance(error, (ConfigtrailError, nats.errors.Error)):
        return None
    log.error("reading %s/%s failed unexpectedly", tenant_id, device_id, exc_info=error)
    return DeviceUnread(
        "protocol",
        f"unexpected {type(error).__name__} at its reading: the log of who read it says where",
    )


async def _checked(text: str) -> str:
    """The text's SHA-256, when the intake will take it."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    try:
        await by_length(text, check_text, text, digest)
    except InvalidInput as error:
        raise DeviceUnread("incomplete", f"what it sent is no configuration: {error.rule}") from (
            error
        )
    return digest
