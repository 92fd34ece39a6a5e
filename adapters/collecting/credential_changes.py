"""Setting, rotating and removing stored credentials, so that it is told who did it, and why."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from functools import partial
from typing import Final

from msgspec import Struct
from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.collecting.checks import check_actor, check_reason
from adapters.collecting.credentials import CredentialStore, Kept, Stored, unfit_for_collectors
from adapters.collecting.registered import registered_inventory, told_credentials
from adapters.roles.devices import DeviceRepository
from adapters.roles.shielding import surely
from domain.credentials import (
    PLACES,
    STORE,
    check_credential_name,
    credential_branch,
    credential_removed,
    credential_set,
    reference_to,
)
from domain.errors import InvalidInput, NotFound
from domain.fields import is_reference
from domain.user_names import USER_NAME_RULE, is_user_name

_HELD: Final = Stored.__struct_fields__


class StoredCredential(Struct, frozen=True, kw_only=True):
    """A credential of a tenant, without what it is. What is None was set before it was told."""

    name: str
    place: str | None
    holds: list[str]
    set_at: datetime | None
    set_by: str | None
    devices: list[str]


async def stored_credentials(
    nc: Client, js: JetStreamContext, store: CredentialStore, tenant_id: str
) -> list[StoredCredential]:
    """The tenant's credentials, and the devices that use them. Raises `Unavailable`."""
    told = await told_credentials(nc, js, tenant_id)
    inventory = await registered_inventory(nc, js, tenant_id)
    found = []
    for name in sorted(await store.names(tenant_id)):
        at, event = told.get(name, (None, None))
        found.append(
            StoredCredential(
                name=name,
                place=event.place if event else None,
                holds=list(event.holds) if event else [],
                set_at=at,
                set_by=event.actor if event else None,
                devices=inventory.users(reference_to(name)),
            )
        )
    return found


class CredentialKeeper:
    """Changes the tenants' credentials. Every change is an event, which holds no secret.

    A change takes effect before it is told: whoever hears of it finds the new one.
    """

    def __init__(self, store: CredentialStore, devices: DeviceRepository) -> None:
        self._store = store
        self._devices = devices

    async def set(
        self,
        tenant_id: str,
        name: str,
        credential: Stored,
        *,
        actor: str,
        reason: str | None,
        reference: str | None = None,
    ) -> bool:
        """Keep a credential, or the `reference` that it is to stand for; whether there was one of
        that name before."""
        check_credential_name(name)
        check_actor(actor)
        check_reason(reason)
        scheme = (reference or "").partition(":")[0]
        if reference is not None and not (scheme in PLACES and is_reference(reference)):
            raise InvalidInput("reference", "must be env:NAME, file:PATH or vault:MOUNT/PATH")
        unfit = unfit_for_collectors(reference)
        if unfit is not None:
            raise InvalidInput("reference", unfit)
        if not is_user_name(credential.username or ""):
            raise InvalidInput("username", USER_NAME_RULE)
        was_there = name in await self._store.names(tenant_id)
        given = {one: getattr(credential, one) for one in _HELD}
        change = str(uuid.uuid4())
        decide = partial(
            credential_set,
            tenant_id=tenant_id,
            name=name,
            change_id=change,
            actor=actor,
            occurred_at=datetime.now(UTC),
            place=reference or STORE,
            holds=tuple(one for one in _HELD if given[one] is not None),
            was_there=was_there,
            reason=reason,
        )
        branch = credential_branch(name)
        await self._devices.refresh(tenant_id, branch)

        async def change_it() -> None:
            kept = Kept(**given, reference=reference, change_id=change)
            await self._store.put(tenant_id, name, kept)
            await self._devices.record(tenant_id, branch, decide)

        await surely(change_it())
        return was_there

    async def remove(
        self, tenant_id: str, name: str, *, actor: str, reason: str | None, used_by: int
    ) -> None:
        """Remove a credential that so many devices name still. Raises `NotFound`."""
        check_credential_name(name)
        check_actor(actor)
        check_reason(reason)
        decide = partial(
            credential_removed,
            tenant_id=tenant_id,
            name=name,
            change_id=str(uuid.uuid4()),
            actor=actor,
            occurred_at=datetime.now(UTC),
            used_by=used_by,
            was_there=name in await self._store.names(tenant_id),
            reason=reason,
        )
        branch = credential_branch(name)
        await self._devices.refresh(tenant_id, branch)

        async def remove_it() -> bool:
            await self._store.remove(tenant_id, name)
            return await self._devices.record(tenant_id, branch, decide) is not None

        if not await surely(remove_it()):
            raise NotFound("credential", name)
