"""Erasure: every text of a device, or of a tenant, becomes unreadable for good; facts stay.

A device: one event, then its key, its contents and its dead letters go. A tenant: so for every
device, then the tenant's own key; from then on nothing more is taken for it.
"""

from __future__ import annotations

import uuid
from contextlib import aclosing, suppress
from datetime import UTC, datetime

from msgspec import Struct
from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.crypto.keys import KeyRing
from adapters.jetstream.content_store import JetStreamContentStore
from adapters.retention.fleet import devices_with_texts
from adapters.retention.removing import Remover
from adapters.roles.devices import DeviceRepository
from domain.errors import AppendConflict, InvalidInput, KeyDestroyed, NotFound
from domain.events import ACTOR, ErasureScope
from domain.ids import TENANT_BRANCH
from domain.keeping import refuse_under_hold, shredded
from domain.ports import EventStore
from domain.retention import Holdings

REASON_MAX = 500


class Erased(Struct, frozen=True):
    """What was erased: the devices, and for a tenant its own key."""

    erasure_id: str
    devices: tuple[str, ...]
    tenant: bool


class Planned(Struct, frozen=True):
    """A device, and how many texts, configurations and differences, its key opens."""

    device_id: str
    texts: int


class Eraser:
    """Erases on a person's word. Again, it finishes what was broken off."""

    def __init__(
        self,
        nc: Client,
        js: JetStreamContext,
        events: EventStore,
        devices: DeviceRepository,
        content: JetStreamContentStore,
        keyring: KeyRing,
        remover: Remover,
    ) -> None:
        self._nc = nc
        self._js = js
        self._events = events
        self._keyring = keyring
        self._devices = devices
        self._content = content
        self._remover = remover

    async def plan(self, tenant_id: str, device_id: str | None) -> tuple[Planned, ...]:
        """What erasing a device, or all of the tenant, would destroy now; nothing is changed.
        Raises as `device`."""
        found = []
        for name in await self._permitted(tenant_id, device_id):
            async with aclosing(self._events.read_branch(tenant_id, name)) as branch:
                held = Holdings.of([one async for one in branch])
            found.append(Planned(name, len(held.snapshots) + len(held.told)))
        return tuple(found)

    async def device(self, tenant_id: str, device_id: str, *, actor: str, reason: str) -> Erased:
        """Erase a device's texts. Raises `UnderLegalHold`, `NotFound` for one without any events,
        `InvalidInput`, `Unavailable`."""
        check_said(actor, reason)
        await self._permitted(tenant_id, device_id)
        await self._remover.finish()
        erasure_id = str(uuid.uuid4())
        await self._shred(tenant_id, device_id, erasure_id, "device", actor, reason)
        return Erased(erasure_id, (device_id,), tenant=False)

    async def tenant(self, tenant_id: str, *, actor: str, reason: str) -> Erased:
        """Erase all texts of a tenant, for good. No hold may be on it or any device of it.

        Raises as `device`."""
        check_said(actor, reason)
        await self._permitted(tenant_id, None)
        await self._remover.finish()
        erasure_id = str(uuid.uuid4())
        done: list[str] = []
        # The tenant's own key goes when no device has a text; then no device can get a key, and
        # those that were faster are erased by the second round.
        for _ in range(2):
            for device_id in await devices_with_texts(self._nc, self._js, tenant_id):
                await self._shred(tenant_id, device_id, erasure_id, "tenant", actor, reason)
                done.append(device_id)
            # Of a tenant that is erased already only what came in meanwhile is left.
            with suppress(KeyDestroyed):
                await self._shred(tenant_id, TENANT_BRANCH, erasure_id, "tenant", actor, reason)
        return Erased(erasure_id, tuple(done), tenant=True)

    async def _permitted(self, tenant_id: str, device_id: str | None) -> list[str]:
        """The devices that may be erased: the one, or all of the tenant that have texts. Raises
        `UnderLegalHold`, `NotFound`."""
        branch = await self._devices.refresh(tenant_id, TENANT_BRANCH)
        refuse_under_hold(f"tenant {tenant_id}", branch)
        if device_id is None:
            wanted = await devices_with_texts(self._nc, self._js, tenant_id)
            if not wanted and not branch.head.version:
                raise NotFound("tenant", tenant_id)
        else:
            wanted = [device_id]
        for name in wanted:
            state = await self._devices.refresh(tenant_id, name)
            if not state.head.version:
                raise NotFound("device", name)
            refuse_under_hold(f"{tenant_id}/{name}", state)
        return wanted

    async def _shred(
        self,
        tenant_id: str,
        device_id: str,
        erasure_id: str,
        scope: ErasureScope,
        actor: str,
        reason: str,
    ) -> None:
        keys: tuple[bytes, ...]
        if device_id == TENANT_BRANCH:
            keys = await self._keyring.ids(tenant_id)
        while True:
            state = await self._devices.refresh(tenant_id, device_id)
            if device_id != TENANT_BRANCH:
                keys = await self._keyring.of_era(tenant_id, device_id, state.era)
            # Asked after the state: a text of any event in it was stored before that.
            until = await self._content.last()
            event = shredded(
                state,
                tenant_id,
                device_id,
                erasure_id=erasure_id,
                scope=scope,
                actor=actor,
                occurred_at=datetime.now(UTC),
                reason=reason,
                content_until=until,
                key_ids=tuple(key.hex() for key in keys),
            )
            try:
                stored = await self._devices.append(event, state)
            except AppendConflict:
                continue
            return await self._remover.carry_out(stored)


def check_said(actor: str, reason: str) -> None:
    """Raises `InvalidInput` for an actor or a reason that can't stand in the trail."""
    if not ACTOR.match(actor):
        raise InvalidInput("actor", "must be user:<id>, service:<name> or system:<role>")
    if not reason.strip():
        raise InvalidInput("reason", "must be given: it stands in the audit trail")
    if len(reason) > REASON_MAX or not reason.isprintable():
        raise InvalidInput("reason", f"must be printable and at most {REASON_MAX} characters")
