"""The inventory: which devices are collected, and how; and trust in their host keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field

from adapters.collecting.registered import registered_devices
from adapters.collecting.registering import REASON_MAX, Registrar, resolvable_entries
from adapters.http.access import Permission, Principal, requires
from adapters.http.described import REFUSALS
from adapters.http.params import DeviceId, TenantId
from adapters.ssh.profiles import PLATFORMS
from domain.errors import InvalidInput
from domain.events import DeviceSettings
from domain.inventory import InventoryRefused, Row, judge

if TYPE_CHECKING:
    from adapters.composition import System


Asking = Annotated[Principal, requires(Permission.INVENTORY)]


class SettingsOut(BaseModel):
    """How a device is read. `credential` says where a secret lies, never what it is."""

    device_id: str
    addresses: list[str]
    platform: str
    port: int
    username: str | None
    credential: str | None
    group: str | None
    jump: str | None
    interval_seconds: int
    timeout_seconds: int
    window: str | None
    secret_values: bool
    enabled: bool
    history: bool
    legacy: bool


class SettingsIn(BaseModel):
    """How a device is to be read: the fields of an inventory file, as text."""

    model_config = ConfigDict(extra="allow")

    address: str = Field(max_length=2000)


class ReleaseIn(BaseModel):
    """Why another host key may be pinned; with a fingerprint, only that one."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=REASON_MAX)
    expected_fingerprint: str | None = None


class RetireIn(BaseModel):
    """Why a device is not collected any more."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(default=None, max_length=REASON_MAX)


def settings_out(device_id: str, settings: DeviceSettings) -> SettingsOut:
    """The settings as the API shows them."""
    return SettingsOut(
        device_id=device_id,
        addresses=list(settings.addresses),
        **{
            name: getattr(settings, name)
            for name in SettingsOut.model_fields
            if name not in ("device_id", "addresses")
        },
    )


def router(system: System) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter(
        prefix="/api/tenants/{tenant}",
        tags=["inventory"],
        responses={status: REFUSALS[status] for status in (404, 422, 503)},
    )
    registrar = Registrar(system.devices)

    @routes.get("/inventory", dependencies=[requires(Permission.INVENTORY)])
    async def inventory(tenant: TenantId) -> list[SettingsOut]:
        found = await registered_devices(system.nc, system.js, tenant)
        return [settings_out(name, one) for name, one in found.items()]

    @routes.put("/inventory/{device:path}")
    async def put_device(
        tenant: TenantId, device: DeviceId, body: SettingsIn, principal: Asking
    ) -> SettingsOut:
        given = body.model_dump()
        plain = {name: _text(name, value) for name, value in given.items()}
        registered = await registered_devices(system.nc, system.js, tenant)
        try:
            known = registered.keys() - {device}
            row = Row("the body", {**plain, "name": device})
            (entry,) = await resolvable_entries(judge([row], PLATFORMS, known=known))
        except InventoryRefused as error:
            first = error.problems[0]
            rules = "; ".join(f"{one.field}: {one.rule}" for one in error.problems)
            raise InvalidInput(first.field, rules) from error
        await registrar.configure(
            tenant, device, entry.settings, actor=principal.actor, origin="api"
        )
        return settings_out(device, entry.settings)

    @routes.delete("/inventory/{device:path}", status_code=204)
    async def retire(
        tenant: TenantId,
        device: DeviceId,
        principal: Asking,
        body: Annotated[RetireIn | None, Body()] = None,
    ) -> None:
        await registrar.retire(
            tenant, device, actor=principal.actor, reason=body.reason if body else None
        )

    @routes.post("/devices/{device:path}/host-key/release", status_code=204)
    async def release(
        tenant: TenantId, device: DeviceId, body: ReleaseIn, principal: Asking
    ) -> None:
        await registrar.release_host_key(
            tenant,
            device,
            actor=principal.actor,
            reason=body.reason,
            expected_fingerprint=body.expected_fingerprint,
        )

    return routes


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int):
        return str(value)
    if value is None:
        return ""
    raise InvalidInput(name[:40], "must be text, a number, true or false")
