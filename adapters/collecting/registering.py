"""Bringing the registered inventory to what a file, another system or a person says."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from msgspec import Struct

from adapters.roles.devices import DeviceRepository
from domain.collecting import configured, host_key_released, retired
from domain.errors import InvalidInput, NotFound
from domain.events import ACTOR, DeviceSettings
from domain.inventory import Entry, InventoryRefused, Judged, Problem

REASON_MAX = 500
_AT_ONCE = 64


class Plan(Struct, frozen=True, kw_only=True):
    """What an inventory changes. `absent` are registered devices that it does not name."""

    added: tuple[Entry, ...]
    changed: tuple[Entry, ...]
    unchanged: int
    absent: tuple[str, ...]


def plan_of(registered: Mapping[str, DeviceSettings], entries: Sequence[Entry]) -> Plan:
    """The difference between what is registered and the entries."""
    named = {one.device_id for one in entries}
    known = [one for one in entries if one.device_id in registered]
    changed = [one for one in known if registered[one.device_id] != one.settings]
    return Plan(
        added=tuple(one for one in entries if one.device_id not in registered),
        changed=tuple(changed),
        unchanged=len(known) - len(changed),
        absent=tuple(sorted(registered.keys() - named)),
    )


async def resolvable_entries(judged: Judged) -> list[Entry]:
    """The entries, when there is no problem with any, nor with finding out where they are.

    Raises `InventoryRefused` with every problem, and every entry whose addresses are all unknown.

    Those behind a jump host are left out: their names may only be known there.
    """
    turns = asyncio.Semaphore(_AT_ONCE)
    loop = asyncio.get_running_loop()

    async def resolvable(address: str) -> bool:
        async with turns:
            try:
                return bool(await loop.getaddrinfo(address, None))
            except (OSError, UnicodeError):
                return False

    direct = [one for one in judged.entries if one.settings.jump is None]
    names = sorted({name for one in direct for name in one.settings.addresses})
    found = dict(zip(names, await asyncio.gather(*map(resolvable, names)), strict=True))
    problems = list(judged.problems)
    problems += [
        Problem(one.where, "address", "can't be resolved")
        for one in direct
        if not any(found[name] for name in one.settings.addresses)
    ]
    if problems:
        raise InventoryRefused(problems)
    return judged.entries


class Registrar:
    """Changes the inventory. Every change is an event; the same change twice is none."""

    def __init__(self, devices: DeviceRepository) -> None:
        self._devices = devices

    async def apply(
        self, tenant_id: str, plan: Plan, *, actor: str, origin: str, prune: bool
    ) -> None:
        """Carry a plan out; `prune`: absent devices are retired. Broken off, do it again."""
        turns = asyncio.Semaphore(_AT_ONCE)

        async def configure(entry: Entry) -> None:
            async with turns:
                await self.configure(
                    tenant_id, entry.device_id, entry.settings, actor=actor, origin=origin
                )

        async def retire(device_id: str) -> None:
            async with turns:
                await self.retire(tenant_id, device_id, actor=actor, reason=f"not in {origin}")

        try:
            async with asyncio.TaskGroup() as group:
                for entry in (*plan.added, *plan.changed):
                    group.create_task(configure(entry))
                for device_id in plan.absent if prune else ():
                    group.create_task(retire(device_id))
        except ExceptionGroup as failed:
            # The first one stopped the others; whoever called knows it by its own name.
            raise failed.exceptions[0] from failed

    async def configure(
        self,
        tenant_id: str,
        device_id: str,
        settings: DeviceSettings,
        *,
        actor: str,
        origin: str | None = None,
    ) -> bool:
        """Add a device or change its settings; False when they are so already."""
        _check_actor(actor)
        decide = partial(
            configured,
            tenant_id=tenant_id,
            device_id=device_id,
            change_id=str(uuid.uuid4()),
            actor=actor,
            occurred_at=datetime.now(UTC),
            settings=settings,
            origin=origin,
        )
        await self._devices.refresh(tenant_id, device_id)
        return await self._devices.record(tenant_id, device_id, decide) is not None

    async def retire(
        self, tenant_id: str, device_id: str, *, actor: str, reason: str | None
    ) -> None:
        """Take a device out. Its history stays. Raises `NotFound` when it is not in."""
        _check_actor(actor)
        _check_reason(reason)
        decide = partial(
            retired,
            tenant_id=tenant_id,
            device_id=device_id,
            change_id=str(uuid.uuid4()),
            actor=actor,
            occurred_at=datetime.now(UTC),
            reason=reason,
        )
        await self._devices.refresh(tenant_id, device_id)
        if await self._devices.record(tenant_id, device_id, decide) is None:
            raise NotFound("device in the inventory", device_id)

    async def release_host_key(
        self,
        tenant_id: str,
        device_id: str,
        *,
        actor: str,
        reason: str,
        expected_fingerprint: str | None,
    ) -> None:
        """Let a device show another host key: the expected one, or the next one, whichever it is.

        Raises `NotFound` when it has none that could be released.
        """
        _check_actor(actor)
        if not reason:
            raise InvalidInput("reason", "must be given: it stands in the audit trail")
        _check_reason(reason)
        if expected_fingerprint is not None and not expected_fingerprint.startswith("SHA256:"):
            raise InvalidInput("fingerprint", "must be as OpenSSH shows it: SHA256:…")
        decide = partial(
            host_key_released,
            tenant_id=tenant_id,
            device_id=device_id,
            change_id=str(uuid.uuid4()),
            actor=actor,
            occurred_at=datetime.now(UTC),
            reason=reason,
            expected_fingerprint=expected_fingerprint,
        )
        await self._devices.refresh(tenant_id, device_id)
        if await self._devices.record(tenant_id, device_id, decide) is None:
            raise NotFound("pinned host key of", device_id)


def _check_actor(actor: str) -> None:
    if not ACTOR.match(actor):
        raise InvalidInput("actor", "must be user:<id>, service:<name> or system:<role>")


def _check_reason(reason: str | None) -> None:
    if reason is not None and (len(reason) > REASON_MAX or not reason.isprintable()):
        raise InvalidInput("reason", f"must be printable and at most {REASON_MAX} characters")
