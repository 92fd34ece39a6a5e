"""The events about access: keys made and revoked, secrets shown, requests refused.

What is about no device lies on branches that no device can have: a device's id has no space at its
ends. What is about no tenant, such as a key for all of them, is told under `NO_TENANT`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from domain.access import EVERY_TENANT, PERMISSIONS, Permission, Role
from domain.envelope import Head, NewEvent, StoredEvent, new_event
from domain.errors import InvalidInput, NameTaken
from domain.events import (
    AccessKeyCreated,
    AccessKeyRevoked,
    AccessRefused,
    ContentRevealed,
    RefusalReason,
)
from domain.ids import check_tenant_id

NO_TENANT: Final = "_system"
KEYS_BRANCH: Final = " keys"
REFUSALS_BRANCH: Final = " access"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?\Z")
REASON_MAX = 500
# A year's distance to where the years end: in another zone the same time may be in none.
LATEST: Final = datetime(9998, 12, 31, tzinfo=UTC)


class KeyRing(Struct, frozen=True):
    """A tenant's keys, folded from their branch: which there are, and which are revoked."""

    head: Head = Head()
    made: frozenset[str] = frozenset()
    revoked: frozenset[str] = frozenset()


def keys_of(events: Iterable[StoredEvent]) -> KeyRing:
    """The keys that a branch tells of, from its first event on."""
    head, made, revoked = Head(), set(), set()
    for stored in events:
        head = Head(stored.version, stored.position)
        match stored.event:
            case AccessKeyCreated() as event:
                made.add(event.key_id)
            case AccessKeyRevoked() as event:
                revoked.add(event.key_id)
    return KeyRing(head, frozenset(made), frozenset(revoked))


def check_name(
    events: Iterable[StoredEvent],
    tenant: str,
    name: str,
    now: datetime,
    before: int | None = None,
) -> None:
    """Raise `NameTaken` when a key in force has the name that one of `tenant` is to have, by what
    the branches of keys tell of. `before`: only if it was made before that position.

    Most events name a key by its name alone, so at no moment may a name be two keys'.
    """
    in_force: dict[tuple[str, str], StoredEvent] = {}
    for stored in events:
        match stored.event:
            case AccessKeyCreated() as event if event.name == name:
                in_force[stored.tenant_id, event.key_id] = stored
            case AccessKeyRevoked() as event:
                in_force.pop((stored.tenant_id, event.key_id), None)
    for (of, key_id), stored in in_force.items():
        assert isinstance(stored.event, AccessKeyCreated)
        ends = stored.event.expires_at
        if (ends is None or ends > now) and (before is None or stored.position < before):
            raise NameTaken(key_id, _whose(granted_tenant(of), tenant))


def _whose(tenant: str, asking: str) -> str:
    if tenant == EVERY_TENANT:
        return "all tenants"
    return "this tenant" if tenant == asking else f"the tenant {tenant}"


def branch_tenant(tenant: str) -> str:
    """Under which tenant a grant's events are told: `EVERY_TENANT` is none of them."""
    return NO_TENANT if tenant == EVERY_TENANT else check_tenant_id(tenant)


def granted_tenant(branch: str) -> str:
    """The tenant that events told under `branch` are about."""
    return EVERY_TENANT if branch == NO_TENANT else branch


def key_created(
    tenant: str,
    *,
    key_id: str,
    name: str,
    role: Role,
    secret_hash: str,
    permissions: frozenset[Permission] | None,
    expires_at: datetime | None,
    actor: str,
    occurred_at: datetime,
) -> NewEvent:
    """The event for a new key. Raises `InvalidInput` for a name or an end that can't be."""
    if not _NAME.match(name):
        raise InvalidInput("name", "must be 1 to 64 letters, digits, '.', '_' or '-'")
    if expires_at is not None:
        if expires_at <= occurred_at:
            raise InvalidInput("expires_at", "must lie in the future")
        if expires_at >= LATEST:
            raise InvalidInput("expires_at", f"must lie before the year {LATEST.year}")
        expires_at = expires_at.astimezone(UTC)
    if permissions is not None and not PERMISSIONS[role] & permissions:
        raise InvalidInput("only", f"must name something that the role {role.value} may do")
    event = AccessKeyCreated(
        actor=actor,
        key_id=key_id,
        name=name,
        role=role.value,
        secret_hash=secret_hash,
        permissions=tuple(sorted(permissions or ())),
        expires_at=expires_at,
    )
    branch = branch_tenant(tenant)
    return new_event(branch, KEYS_BRANCH, f"key-created.{key_id}", occurred_at, event)


def key_revoked(
    keys: KeyRing,
    tenant: str,
    *,
    key_id: str,
    actor: str,
    occurred_at: datetime,
    reason: str | None,
) -> NewEvent | None:
    """A key is revoked; None when there is no such key that still is not."""
    if key_id not in keys.made or key_id in keys.revoked:
        return None
    check_reason(reason)
    event = AccessKeyRevoked(actor=actor, key_id=key_id, reason=reason)
    branch = branch_tenant(tenant)
    return new_event(branch, KEYS_BRANCH, f"key-revoked.{key_id}", occurred_at, event)


def check_reason(reason: str | None) -> None:
    """Raises `InvalidInput` for a reason that can't be told; None is none."""
    if reason is not None and (len(reason) > REASON_MAX or not reason.isprintable()):
        raise InvalidInput("reason", f"must be printable and at most {REASON_MAX} characters")


def check_reveal_reason(reason: str | None) -> None:
    """As `check_reason`, for why secrets are shown: one that says nothing is no reason."""
    check_reason(reason)
    if reason is not None and not reason.strip():
        raise InvalidInput("reason", "must say why, and not be blank")


def access_refused(
    tenant: str,
    *,
    refusal_id: str,
    actor: str,
    reason: RefusalReason,
    count: int,
    first_at: datetime,
    last_at: datetime,
    key_id: str | None = None,
    permission: str | None = None,
    remote_address: str | None = None,
) -> NewEvent:
    """The event for so many alike requests that were refused."""
    event = AccessRefused(
        actor=actor,
        refusal_id=refusal_id,
        reason=reason,
        count=count,
        first_at=first_at,
        last_at=last_at,
        key_id=key_id,
        permission=permission,
        remote_address=remote_address,
    )
    branch = branch_tenant(tenant)
    return new_event(branch, REFUSALS_BRANCH, f"refused.{refusal_id}", last_at, event)


def content_revealed(
    tenant_id: str,
    device_id: str,
    *,
    reveal_id: str,
    snapshot_id: str,
    from_snapshot_id: str | None,
    actor: str,
    occurred_at: datetime,
    key_id: str | None,
    remote_address: str | None,
    reason: str | None = None,
) -> NewEvent:
    """The event for a text that is about to be shown with the secrets in it. Raises
    `InvalidInput` for a reason that can't be told, or is blank."""
    check_reveal_reason(reason)
    event = ContentRevealed(
        actor=actor,
        reveal_id=reveal_id,
        snapshot_id=snapshot_id,
        from_snapshot_id=from_snapshot_id,
        key_id=key_id,
        remote_address=remote_address,
        reason=reason,
    )
    return new_event(tenant_id, device_id, f"revealed.{reveal_id}", occurred_at, event)
