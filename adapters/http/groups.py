"""Groups of devices, what they give their devices; and which devices use which credential."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from adapters.collecting.checks import REASON_MAX
from adapters.collecting.credential_changes import stored_credentials
from adapters.collecting.grouping import judged_group
from adapters.collecting.guarding import refuse_if_in_use
from adapters.collecting.registered import registered_inventory
from adapters.collecting.registering import Registrar
from adapters.http.access import Permission, Principal, requires
from adapters.http.answers import answered_listing
from adapters.http.cursors import Cursors
from adapters.http.described import LISTED, REFUSALS
from adapters.http.inventory import RetireIn, refused, text_of
from adapters.http.params import Cursor, Limit, TenantId
from adapters.shapes.groups import CredentialOut, GroupOut, group_out
from domain.errors import NotFound
from domain.groups import GROUP_MAX, NOTHING

if TYPE_CHECKING:
    from adapters.composition import System

Asking = Annotated[Principal, requires(Permission.INVENTORY)]
GroupName = Annotated[str, Path(json_schema_extra={"minLength": 1, "maxLength": GROUP_MAX})]


class GroupIn(BaseModel):
    """What a group is to give: the fields of an inventory file, as text."""

    model_config = ConfigDict(extra="forbid")

    defaults: dict[str, Any]
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

    async def configured(
        tenant: str, group: str, body: GroupIn, actor: str, *, change: bool
    ) -> GroupOut:
        inventory = await registered_inventory(system.nc, system.js, tenant)
        fields = {name: text_of(name, value) for name, value in body.defaults.items()}
        with refused():
            given = judged_group(inventory, group, fields, change=change)
        await registrar.configure_group(
            tenant,
            group,
            given,
            actor=actor,
            origin="api",
            reason=body.reason,
            instead_of=inventory.groups.get(group, NOTHING) if change else None,
        )
        return group_out(group, await registered_inventory(system.nc, system.js, tenant))

    @routes.get(
        "/device-groups",
        response_model=list[GroupOut],
        responses=LISTED,
        dependencies=[requires(Permission.INVENTORY)],
    )
    async def groups(
        request: Request, tenant: TenantId, limit: Limit = 100, cursor: Cursor = None
    ) -> Response:
        """The groups, by name."""
        found = await registered_inventory(system.nc, system.js, tenant)
        names, following = await cursors.page_of_names(
            ("groups", tenant), found.groups, limit, cursor
        )
        items = [group_out(name, found) for name in names]
        return answered_listing(
            request, items, None, GroupOut, name=f"groups-{tenant}", next_cursor=following
        )

    @routes.get("/device-groups/{group:path}", dependencies=[requires(Permission.INVENTORY)])
    async def one_group(tenant: TenantId, group: GroupName) -> GroupOut:
        found = await registered_inventory(system.nc, system.js, tenant)
        if group not in found.groups:
            raise NotFound("group", group)
        return group_out(group, found)

    @routes.put("/device-groups/{group:path}")
    async def put_group(
        tenant: TenantId, group: GroupName, body: GroupIn, principal: Asking
    ) -> GroupOut:
        return await configured(tenant, group, body, principal.actor, change=False)

    @routes.patch("/device-groups/{group:path}")
    async def change_group(
        tenant: TenantId, group: GroupName, body: GroupIn, principal: Asking
    ) -> GroupOut:
        return await configured(tenant, group, body, principal.actor, change=True)

    @routes.delete("/device-groups/{group:path}", status_code=204)
    async def remove_group(
        tenant: TenantId,
        group: GroupName,
        principal: Asking,
        body: Annotated[RetireIn | None, Body()] = None,
    ) -> None:
        refuse_if_in_use(await registered_inventory(system.nc, system.js, tenant), group)
        await registrar.remove_group(
            tenant, group, actor=principal.actor, reason=body.reason if body else None
        )

    @routes.get(
        "/credentials",
        response_model=list[CredentialOut],
        responses=LISTED,
        dependencies=[requires(Permission.INVENTORY)],
    )
    async def credentials(
        request: Request, tenant: TenantId, limit: Limit = 100, cursor: Cursor = None
    ) -> Response:
        """The stored credentials, by name, and which devices use them."""
        found = {
            one.name: one
            for one in await stored_credentials(system.nc, system.js, system.credentials, tenant)
        }
        names, following = await cursors.page_of_names(
            ("credentials", tenant), found, limit, cursor
        )
        items = [CredentialOut(**msgspec.structs.asdict(found[name])) for name in names]
        return answered_listing(
            request, items, None, CredentialOut, name=f"credentials-{tenant}", next_cursor=following
        )

    return routes
