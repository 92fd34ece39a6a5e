"""API keys over the API itself: making one, listing them, ending one.

Invariant: a key's secret is in the answer that makes it, and nowhere else. Nobody makes a key that
may do more than they may themselves, or that outlives the one they came with.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Body, Depends, Path, Request, Response
from msgspec.json import Decoder
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from adapters.http.access import Permission, Principal, may, requires
from adapters.http.answers import answered_listing
from adapters.http.cursors import Cursors
from adapters.http.described import LISTED
from adapters.http.freshness import POSITION, check_none_parked, freshness
from adapters.http.params import Cursor, Limit, TenantId
from adapters.shapes.keys import KeyOut, key_out
from domain.access import EVERY_TENANT, Role, granted
from domain.errors import InvalidInput
from domain.granting import KEYS_BRANCH, REASON_MAX, branch_tenant

if TYPE_CHECKING:
    from adapters.composition import System

_BY_AGE: Decoder[tuple[datetime, str]] = Decoder(tuple[datetime, str])

Asking = Annotated[Principal, requires(Permission.KEYS)]
KeyId = Annotated[str, Path(json_schema_extra={"pattern": "^[0-9a-f]{16}$"}, max_length=64)]


def _time(value: object) -> object:
    # Numbers would be taken as well, for seconds or thousandths of them, by their size.
    if isinstance(value, str) and "T" in value.upper().replace(" ", "T"):
        return value
    raise PydanticCustomError("time", "must be a time with its zone, such as 2099-03-01T12:00:00Z")


Ends = Annotated[AwareDatetime, BeforeValidator(_time)]


class KeyIn(BaseModel):
    """A key to be made: `name` is what uses it. `only`: no more than this of the role. Without
    `expires_at` it holds until it is revoked; whose own key or token ends must say when."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    role: Role = Role.VIEWER
    only: list[Permission] | None = Field(default=None, min_length=1, max_length=len(Permission))
    expires_at: Ends | None = None


class KeyMadeOut(BaseModel):
    """A new key. `key` is shown this once: only its hash is kept."""

    key_id: str
    key: str
    position: int


class RevokeIn(BaseModel):
    """Why a key is to end, for the audit trail."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(default=None, max_length=REASON_MAX)


class RevokedOut(BaseModel):
    """The key is refused from now on; `position` is that of the event which says so."""

    key_id: str
    position: int


def router(system: System) -> APIRouter:
    """The routes of this module: for a tenant, and for those who administer all of them."""
    routes = APIRouter(tags=["access"])
    reading = [requires(Permission.KEYS), Depends(freshness(system))]
    cursors = Cursors(system.keyring)
    of_tenant, of_all = "/api/tenants/{tenant}/keys", "/api/keys"

    async def listed(
        request: Request, tenant: str, limit: int, cursor: str | None, name: str
    ) -> Response:
        listing = ("keys", tenant)
        place = await cursors.take(listing, cursor, _BY_AGE)
        found = await system.keys.list(tenant, after=place, limit=limit + 1)
        shown, following = await cursors.page(
            listing, found, limit, lambda one: (one[0].created_at, one[0].key_id)
        )
        items = [key_out(key, used) for key, used in shown]
        return answered_listing(request, items, None, KeyOut, name=name, next_cursor=following)

    async def made(
        request: Request, tenant: str, body: KeyIn, principal: Principal, response: Response
    ) -> KeyMadeOut:
        latest = principal.keys_until
        if latest is not None and (body.expires_at is None or body.expires_at > latest):
            raise InvalidInput(
                "expires_at",
                f"must be given, and not lie after {latest.isoformat(timespec='seconds')}: a key "
                "may not outlive what it is made with",
            )
        only = None if body.only is None else frozenset(body.only)
        for permission in sorted(granted(tenant, body.role, only).permissions):
            may(request, permission)
        new = await system.keys.create(
            tenant,
            body.name,
            body.role,
            actor=principal.actor,
            permissions=only,
            expires_at=body.expires_at,
        )
        response.headers[POSITION] = str(new.position)
        return KeyMadeOut(key_id=new.key_id, key=new.text, position=new.position)

    async def ended(
        tenant: str, key_id: str, body: RevokeIn | None, principal: Principal, response: Response
    ) -> RevokedOut:
        position = await system.keys.revoke(
            tenant, key_id, actor=principal.actor, reason=body.reason if body else None
        )
        # It is recorded, and else the key is in force until somebody sees to what is parked.
        await check_none_parked(system, branch_tenant(tenant), KEYS_BRANCH, position)
        response.headers[POSITION] = str(position)
        return RevokedOut(key_id=key_id, position=position)

    @routes.get(of_tenant, response_model=list[KeyOut], responses=LISTED, dependencies=reading)
    async def keys(
        request: Request, tenant: TenantId, limit: Limit = 100, cursor: Cursor = None
    ) -> Response:
        """The tenant's keys, oldest first: never what they are."""
        return await listed(request, tenant, limit, cursor, f"keys-{tenant}")

    @routes.get(of_all, response_model=list[KeyOut], responses=LISTED, dependencies=reading)
    async def keys_for_all(request: Request, limit: Limit = 100, cursor: Cursor = None) -> Response:
        """The keys that hold for every tenant, oldest first."""
        return await listed(request, EVERY_TENANT, limit, cursor, "keys")

    @routes.post(of_tenant, status_code=201)
    async def make_key(
        request: Request, tenant: TenantId, body: KeyIn, principal: Asking, response: Response
    ) -> KeyMadeOut:
        """Make a key for the tenant. It may do no more than whoever asks."""
        return await made(request, tenant, body, principal, response)

    @routes.post(of_all, status_code=201)
    async def make_key_for_all(
        request: Request, body: KeyIn, principal: Asking, response: Response
    ) -> KeyMadeOut:
        """Make a key for every tenant."""
        return await made(request, EVERY_TENANT, body, principal, response)

    @routes.post(f"{of_tenant}/{{key_id}}/revoke")
    async def revoke_key(
        tenant: TenantId,
        key_id: KeyId,
        principal: Asking,
        response: Response,
        body: Annotated[RevokeIn | None, Body()] = None,
    ) -> RevokedOut:
        """End a key of the tenant: it is refused within about a second, everywhere. 503
        `events_parked`: that is recorded, but an earlier fact about keys holds it back."""
        return await ended(tenant, key_id, body, principal, response)

    @routes.post(f"{of_all}/{{key_id}}/revoke")
    async def revoke_key_for_all(
        key_id: KeyId,
        principal: Asking,
        response: Response,
        body: Annotated[RevokeIn | None, Body()] = None,
    ) -> RevokedOut:
        """End a key that holds for every tenant."""
        return await ended(EVERY_TENANT, key_id, body, principal, response)

    return routes
