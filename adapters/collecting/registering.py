"""Bringing the registered inventory to what a file, another system or a person says."""

from __future__ import annotations

import asyncio
import re
import uuid
from datetime import UTC, datetime
from functools import partial

from adapters.collecting.checks import check_actor, check_reason
from adapters.collecting.planning import Plan
from adapters.roles.devices import DeviceRepository
from domain.collecting import configured, host_key_released, retired
from domain.device import DeviceState
from domain.envelope import NewEvent
from domain.errors import InvalidInput, MalformedEvent, NotFound, UnknownEventType
from domain.events import DeviceSettings, GivenSettings
from domain.fields import Problem
from domain.groups import (
    NOTHING,
    check_group,
    group_branch,
    group_configured,
    group_removed,
)
from domain.inventory import Entry, InventoryRefused

_AT_ONCE = 64
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}\Z")


class Registrar:
    """Changes the inventory. Every change is an event; the same change twice is none."""

    def __init__(self, devices: DeviceRepository) -> None:
        self._devices = devices

    async def apply(
        self, tenant_id: str, plan: Plan, *, actor: str, origin: str, prune: bool
    ) -> None:
        """Carry a plan out; `prune`: absent devices are retired. Broken off, do it again.

        Raises `InventoryRefused`, before anything is done, as `refuse_if_unread` does.
        """
        await self.refuse_if_unread(tenant_id, plan, prune=prune)
        # Groups first: no device is to be read without what its group gives it.
        for name, given in plan.groups:
            await self.configure_group(tenant_id, name, given, actor=actor, origin=origin)
        turns = asyncio.Semaphore(_AT_ONCE)

        async def configure(entry: Entry) -> None:
            async with turns:
                await self.register(tenant_id, entry, actor=actor, origin=origin)

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
        for name in plan.unused_groups if prune else ():
            await self.remove_group(tenant_id, name, actor=actor, reason=f"not in {origin}")

    async def refuse_if_unread(self, tenant_id: str, plan: Plan, *, prune: bool) -> None:
        """Raise `InventoryRefused` where what a plan changes has events that can't be read, whether
        or not the inventory hangs on them: nothing can be decided on such a history."""
        entries = (*plan.added, *plan.changed)
        wanted = [(group_branch(name), f"group {name}") for name, _ in plan.groups]
        wanted += [(one.device_id, one.where) for one in entries]
        if prune:
            wanted += [(name, f"device {name}") for name in plan.absent]
            wanted += [(group_branch(name), f"group {name}") for name in plan.unused_groups]
        turns = asyncio.Semaphore(_AT_ONCE)

        async def problem_of(branch: str, where: str) -> Problem | None:
            async with turns:
                try:
                    await self._devices.refresh(tenant_id, branch)
                except (MalformedEvent, UnknownEventType) as error:
                    return Problem(where, "history", f"can't be read: {error}")
            return None

        found = await asyncio.gather(*(problem_of(branch, where) for branch, where in wanted))
        problems = [one for one in found if one is not None]
        if problems:
            raise InventoryRefused(problems)

    async def register(self, tenant_id: str, entry: Entry, *, actor: str, origin: str) -> bool:
        """Add a device or change its settings, those that are its own kept apart from those that
        its group gives; False when they are so already."""
        return await self.configure(
            tenant_id,
            entry.device_id,
            entry.settings,
            actor=actor,
            origin=origin,
            own=entry.own,
            fallback=entry.fallback,
        )

    async def configure(
        self,
        tenant_id: str,
        device_id: str,
        settings: DeviceSettings,
        *,
        actor: str,
        origin: str | None = None,
        own: GivenSettings | None = None,
        fallback: GivenSettings | None = None,
    ) -> bool:
        """Add a device or change its settings; False when they are so already. Without `own` all
        of them are its own, whatever its group gives."""
        check_actor(actor)
        decide = partial(
            configured,
            tenant_id=tenant_id,
            device_id=device_id,
            change_id=str(uuid.uuid4()),
            actor=actor,
            occurred_at=datetime.now(UTC),
            settings=settings,
            origin=origin,
            own=own,
            fallback=fallback,
        )
        return await self._devices.change(tenant_id, device_id, decide) is not None

    async def retire(
        self, tenant_id: str, device_id: str, *, actor: str, reason: str | None
    ) -> None:
        """Take a device out. Its history stays. Raises `NotFound` when it is not in."""
        check_actor(actor)
        check_reason(reason)
        decide = partial(
            retired,
            tenant_id=tenant_id,
            device_id=device_id,
            change_id=str(uuid.uuid4()),
            actor=actor,
            occurred_at=datetime.now(UTC),
            reason=reason,
        )
        if await self._devices.change(tenant_id, device_id, decide) is None:
            raise NotFound("device in the inventory", device_id)

    async def configure_group(
        self,
        tenant_id: str,
        group: str,
        defaults: GivenSettings,
        *,
        actor: str,
        origin: str | None = None,
        reason: str | None = None,
        instead_of: GivenSettings | None = None,
    ) -> bool:
        """What a group gives its devices from now on; False when it does already.

        Raises `InvalidInput` when it is to be `instead_of` something that it does not give now.
        """
        check_actor(actor)
        check_reason(reason)
        made = partial(
            group_configured,
            tenant_id=tenant_id,
            group=check_group(group),
            change_id=str(uuid.uuid4()),
            actor=actor,
            occurred_at=datetime.now(UTC),
            defaults=defaults,
            origin=origin,
            reason=reason,
        )

        def decide(state: DeviceState) -> NewEvent | None:
            if instead_of is not None and (state.group or NOTHING) != instead_of:
                raise InvalidInput("group", "was changed by somebody else meanwhile; do it again")
            return made(state)

        return await self._devices.change(tenant_id, group_branch(group), decide) is not None

    async def remove_group(
        self, tenant_id: str, group: str, *, actor: str, reason: str | None
    ) -> None:
        """A group gives nothing any more. Raises `NotFound` when there is none."""
        check_actor(actor)
        check_reason(reason)
        decide = partial(
            group_removed,
            tenant_id=tenant_id,
            group=check_group(group),
            change_id=str(uuid.uuid4()),
            actor=actor,
            occurred_at=datetime.now(UTC),
            reason=reason,
        )
        if await self._devices.change(tenant_id, group_branch(group), decide) is None:
            raise NotFound("group", group)

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
        check_actor(actor)
        if not reason:
            raise InvalidInput("reason", "must be given: it stands in the audit trail")
        check_reason(reason)
        if expected_fingerprint is not None and not _FINGERPRINT.match(expected_fingerprint):
            rule = "must be as OpenSSH shows it: SHA256: and 43 characters"
            raise InvalidInput("fingerprint", rule)
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
        if await self._devices.change(tenant_id, device_id, decide) is None:
            raise NotFound("pinned host key of", device_id)
