"""Policies and legal holds, as people set them. Every change is an event; the same one twice is
none."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from functools import partial

from adapters.retention.erasing import check_said
from adapters.roles.devices import DeviceRepository
from domain.errors import InvalidInput, NotFound
from domain.events import LegalHoldPlaced, RetentionPolicy
from domain.ids import TENANT_BRANCH
from domain.keeping import hold_placed, hold_released, policy_set
from domain.retention import check_policy

_HOLD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


class Keeper:
    """Sets what is kept. `device_id` None: of the whole tenant."""

    def __init__(self, devices: DeviceRepository) -> None:
        self._devices = devices

    async def policy(self, tenant_id: str) -> RetentionPolicy | None:
        """The tenant's policy; None: everything is kept."""
        return (await self._devices.refresh(tenant_id, TENANT_BRANCH)).retention

    async def holds(self, tenant_id: str, device_id: str | None) -> tuple[LegalHoldPlaced, ...]:
        """The legal holds in force on a device, or on the tenant itself."""
        return (await self._devices.refresh(tenant_id, device_id or TENANT_BRANCH)).holds

    async def set_policy(
        self, tenant_id: str, policy: RetentionPolicy, *, actor: str, reason: str
    ) -> bool:
        """Set the tenant's policy; False when it is so already. Raises `InvalidInput`."""
        check_said(actor, reason)
        decide = partial(
            policy_set,
            tenant_id=tenant_id,
            change_id=str(uuid.uuid4()),
            actor=actor,
            occurred_at=datetime.now(UTC),
            policy=check_policy(policy),
            reason=reason,
        )
        return await self._devices.change(tenant_id, TENANT_BRANCH, decide) is not None

    async def hold(
        self, tenant_id: str, device_id: str | None, hold_id: str, *, actor: str, reason: str
    ) -> bool:
        """Place a legal hold; False when one of that name is in force. Raises `InvalidInput`, and
        `NotFound` for a device without history."""
        check_said(actor, reason)
        if not _HOLD.match(hold_id):
            raise InvalidInput("hold", "must be 1 to 64 letters, digits, '.', '_' or '-'")
        branch = device_id or TENANT_BRANCH
        state = await self._devices.refresh(tenant_id, branch)
        if device_id is not None and not state.head.version:
            raise NotFound("device", device_id)
        decide = partial(
            hold_placed,
            tenant_id=tenant_id,
            device_id=branch,
            hold_id=hold_id,
            actor=actor,
            occurred_at=datetime.now(UTC),
            reason=reason,
        )
        return await self._devices.record(tenant_id, branch, decide) is not None

    async def release(
        self, tenant_id: str, device_id: str | None, hold_id: str, *, actor: str, reason: str
    ) -> None:
        """End a legal hold. Raises `NotFound` when none of that name is in force."""
        check_said(actor, reason)
        branch = device_id or TENANT_BRANCH
        decide = partial(
            hold_released,
            tenant_id=tenant_id,
            device_id=branch,
            hold_id=hold_id,
            actor=actor,
            occurred_at=datetime.now(UTC),
            reason=reason,
        )
        if await self._devices.change(tenant_id, branch, decide) is None:
            raise NotFound("legal hold", hold_id)
