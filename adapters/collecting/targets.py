"""Where a device is to be read, through which jump hosts, and who we are there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from adapters.collecting.credentials import Credentials
from adapters.roles.devices import DeviceRepository
from adapters.ssh.failures import DeviceUnread
from adapters.ssh.target import Credential, HostKey, Limits, Target, Trust
from domain.credentials import reference_to
from domain.device import DeviceState
from domain.events import DeviceSettings

Inventory = Callable[[str], Awaitable[DeviceSettings | None]]


class Targets:
    """Finds what a reading needs to know, by the log and the credentials as they are now."""

    def __init__(self, devices: DeviceRepository, credentials: Credentials) -> None:
        self._devices = devices
        self._credentials = credentials

    def trusting(self) -> Targets:
        """The same for an inventory of whoever runs this program."""
        return Targets(self._devices, self._credentials.as_trusted())

    def credential_set(self, tenant_id: str, name: str) -> None:
        """A stored credential is another one now."""
        self._credentials.forget(tenant_id, reference_to(name))

    async def find(
        self,
        tenant_id: str,
        device_id: str,
        settings: DeviceSettings,
        state: DeviceState,
        inventory: Inventory,
        since: float,
        passed: tuple[str, ...] = (),
    ) -> Target:
        """Where the device is and who we are there, by credentials that were looked up `since`.
        `passed`: what lies behind it, when it is a jump host. Raises `DeviceUnread`."""
        if state.refused_key is not None:
            usual = "the one that is pinned" if state.pinned_key else "the expected one"
            raise DeviceUnread(
                "host_key_changed",
                f"{device_id} showed another host key than {usual}: "
                f"{state.refused_key.fingerprint}; it is not contacted until a person says which "
                "one is right (configtrail hostkeys release)",
            )
        via = None
        if settings.jump is not None:
            over = await inventory(settings.jump)
            if over is None or settings.jump in passed:
                raise DeviceUnread("unreachable", "its jump host is not in the inventory")
            there = await self._devices.refresh(tenant_id, settings.jump)
            if there.refused_key is not None:
                raise DeviceUnread(
                    "unreachable", f"its jump host {settings.jump} is blocked by its host key"
                )
            via = await self.find(
                tenant_id, settings.jump, over, there, inventory, since, (*passed, device_id)
            )
        pinned = state.pinned_key
        return Target(
            name=device_id,
            addresses=settings.addresses,
            port=settings.port,
            credential=await self._credential(tenant_id, settings, since),
            trust=Trust(
                pinned=HostKey(algorithm=pinned.algorithm, blob=pinned.public_key)
                if pinned
                else None,
                expected=state.expected_key,
            ),
            limits=Limits.within(float(settings.timeout_seconds)),
            via=via,
            legacy=settings.legacy,
        )

    async def _credential(
        self, tenant_id: str, settings: DeviceSettings, since: float
    ) -> Credential:
        """Who we are there. A place that says nothing must not hold the lease for ever."""
        seconds = settings.timeout_seconds
        try:
            async with asyncio.timeout(seconds) as limit:
                return await self._credentials.find(
                    tenant_id, settings.credential, settings.username, since
                )
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DeviceUnread(
                "no_credential",
                f"the credential {settings.credential} was not to be had within {seconds} s",
            ) from error
