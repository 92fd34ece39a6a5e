"""The inventory: which devices are collected, and how; and trust in their host keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from adapters.collecting.checks import REASON_MAX
from adapters.collecting.guarding import refuse_if_jumped_over
from adapters.collecting.planning import refuse_if_led_astray, resolvable_entries
from adapters.collecting.registered import registered_inventory
from adapters.collecting.registering import Registrar
from adapters.http.access import Permission, Principal, requires
from adapters.http.answers import answered_listing
from adapters.http.cursors import Cursors
from adapters.http.described import LISTED, REFUSALS
from adapters.http.params import Cursor, DeviceId, Limit, TenantId
from adapters.shapes.inventory import SettingsOut, settings_out
from adapters.ssh.profiles import PLATFORMS
from domain.errors import InvalidInput
from domain.fields import printable
from domain.inventory import InventoryRefused, Row, judge

if TYPE_CHECKING:
    from adapters.composition import System


Asking = Annotated[Principal, requires(Permission.INVENTORY)]


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


def router(system: System) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter(
        prefix="/api/tenants/{tenant}",
        tags=["inventory"],
        responses={status: REFUSALS[status] for status in (404, 422, 503)},
    )
    registrar = Registrar(system.devices)
    cursors = Cursors(system.keyring)

    @routes.get(
        "/inventory",
        response_model=list[SettingsOut],
        responses=LISTED,
        dependencies=[requires(Permission.INVENTORY)],
    )
    async def inventory(
        request: Request, tenant: TenantId, limit: Limit = 100, cursor: Cursor = None
    ) -> Response:
        """The devices that are collected, by id."""
        found = await registered_inventory(system.nc, system.js, tenant)
        names, following = await cursors.page_of_names(
            ("inventory", tenant), found.devices, limit, cursor
        )
        settings = found.settings()
        items = [settings_out(name, settings[name], found.origins(name)) for name in names]
        return answered_listing(
            request, items, None, SettingsOut, name=f"inventory-{tenant}", next_cursor=following
        )

    @routes.get("/inventory/{device:path}", dependencies=[requires(Permission.INVENTORY)])
    async def device_settings(tenant: TenantId, device: DeviceId) -> SettingsOut:
        found = await registered_inventory(system.nc, system.js, tenant)
        return settings_out(device, *found.device(device))

    @routes.put("/inventory/{device:path}")
    async def put_device(
        tenant: TenantId, device: DeviceId, body: SettingsIn, principal: Asking
    ) -> SettingsOut:
        given = body.model_dump()
        plain = {name: text_of(name, value) for name, value in given.items()}
        registered = await registered_inventory(system.nc, system.js, tenant)
        with refused():
            known = registered.devices.keys() | registered.unread().keys()
            row = Row("the body", {**plain, "name": device})
            (entry,) = await resolvable_entries(
                judge([row], PLATFORMS, known=known, groups=registered.groups)
            )
            refuse_if_led_astray(registered, [entry])
        await registrar.register(tenant, entry, actor=principal.actor, origin="api")
        found = await registered_inventory(system.nc, system.js, tenant)
        return settings_out(device, *found.device(device))

    @routes.delete("/inventory/{device:path}", status_code=204)
    async def retire(
        tenant: TenantId,
        device: DeviceId,
        principal: Asking,
        body: Annotated[RetireIn | None, Body()] = None,
    ) -> None:
        refuse_if_jumped_over(await registered_inventory(system.nc, system.js, tenant), device)
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


@contextmanager
def refused() -> Iterator[None]:
    """All that is wrong with a body, in one answer."""
    try:
        yield
    except InventoryRefused as error:
        first, *others = error.problems
        rules = [first.rule, *(f"{one.field}: {one.rule}" for one in others)]
        raise InvalidInput(first.field, "; ".join(rules)) from error


def text_of(name: str, value: object) -> str:
    """A value of a body as it would stand in a file."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int):
        return str(value)
    if value is None:
        return ""
    raise InvalidInput(printable(name), "must be text, a number, true or false")
