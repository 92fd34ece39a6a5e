"""API keys: made, revoked, and known again.

A key is `ctk_<id>_<secret>`: 256 random bits, of which only the hash is kept. A slow hash,
right for passwords, would add nothing to them and let anybody keep us busy.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime

from msgspec import Struct

from adapters.jetstream.buckets import Bucket
from domain.access import EVERY_TENANT, Permission, Principal, Role
from domain.envelope import Selection, StoredEvent
from domain.errors import (
    AppendConflict,
    ConfigtrailError,
    EventsUnread,
    MalformedEvent,
    NameTaken,
    NotFound,
    Unauthenticated,
    UnknownEventType,
)
from domain.granting import (
    KEYS_BRANCH,
    NO_TENANT,
    KeyRing,
    branch_tenant,
    check_name,
    key_created,
    key_revoked,
    keys_of,
)
from domain.ports import EventStore
from projections.access import AccessKey, find_key, list_keys
from projections.rows import Reader

log = logging.getLogger(__name__)

PREFIX = "ctk_"
BUCKET = "CONFIGTRAIL_KEY_USE"
# So long a revoked key may still be taken by a program that knew it.
KEPT_SECONDS = 1.0
_MOST_KEPT = 10_000
_KEY = re.compile(r"ctk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})\Z")


class NewKey(Struct, frozen=True):
    """A key that was just made. `text` is nowhere else, and never again."""

    key_id: str
    text: str
    position: int

    def __repr__(self) -> str:
        return f"NewKey({self.key_id})"


class ApiKeys:
    """The keys of all tenants. `reader` sees the read model `access`."""

    def __init__(
        self,
        events: EventStore,
        reader: Reader,
        uses: Bucket,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._events = events
        self._reader = reader
        self._uses = uses
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, AccessKey]] = OrderedDict()
        self._used: dict[str, datetime] = {}

    async def create(
        self,
        tenant: str,
        name: str,
        role: Role,
        *,
        actor: str,
        permissions: frozenset[Permission] | None = None,
        expires_at: datetime | None = None,
    ) -> NewKey:
        """Make a key for a tenant, or for `EVERY_TENANT`. It is known once it is projected.

        Raises `NameTaken` when one in force that the tenant hears of has the name.
        """
        key_id, secret, now = secrets.token_hex(8), secrets.token_urlsafe(32), datetime.now(UTC)
        event = key_created(
            tenant,
            key_id=key_id,
            name=name,
            role=role,
            secret_hash=_hash(secret),
            permissions=permissions,
            expires_at=expires_at,
            actor=actor,
            occurred_at=now,
        )
        while True:
            keys = await self.ring(tenant)
            check_name(await self._beside(tenant), tenant, name, now)
            try:
                stored = await self._events.append(event, keys.head)
                break
            except AppendConflict:
                continue
        # A key for all tenants and one for a tenant are on different branches: of two that are made
        # at once the later one ends before anybody has it.
        try:
            check_name(await self._beside(tenant), tenant, name, now, stored.position)
        except NameTaken:
            await self.revoke(tenant, key_id, actor=actor, reason="its name was another key's")
            raise
        return NewKey(key_id, f"{PREFIX}{key_id}_{secret}", stored.position)

    async def revoke(self, tenant: str, key_id: str, *, actor: str, reason: str | None) -> int:
        """End a key; the position of the event. Raises `NotFound` when none is to be ended."""
        while True:
            keys = await self.ring(tenant)
            event = key_revoked(
                keys,
                tenant,
                key_id=key_id,
                actor=actor,
                occurred_at=datetime.now(UTC),
                reason=reason,
            )
            if event is None:
                raise NotFound("API key in force", key_id)
            try:
                return (await self._events.append(event, keys.head)).position
            except AppendConflict:
                continue

    async def ring(self, tenant: str) -> KeyRing:
        """The keys of a tenant as the log has them now. Raises `EventsUnread`."""
        return keys_of(await self._own(tenant))

    async def _own(self, tenant: str) -> tuple[StoredEvent, ...]:
        branch = self._events.read_branch(branch_tenant(tenant), KEYS_BRANCH)
        async with aclosing(branch) as events:
            try:
                return tuple([one async for one in events])
            except (MalformedEvent, UnknownEventType) as error:
                what, whose = f"which API keys the tenant {tenant} has", f"the tenant {tenant}"
                if tenant == EVERY_TENANT:
                    what, whose = "which API keys for all tenants there are", "those"
                raise EventsUnread(what, {whose: str(error)}) from error

    async def _beside(self, tenant: str) -> tuple[StoredEvent, ...]:
        """What is told of the keys whose names one of the tenant can be mistaken for: its own and
        those for all tenants; of one for all tenants, everybody's.

        What can't be read of others is passed over: it is of no key that this program would take,
        and stops its own tenant's keys alone.
        """
        own = await self._own(tenant)
        others = Selection(
            tenant_id=None if tenant == EVERY_TENANT else NO_TENANT, device_id=KEYS_BRANCH
        )
        found: list[StoredEvent] = []
        async with aclosing(self._events.read(where=others, unread=_passed_over)) as batches:
            async for batch in batches:
                found += [one for one in batch if one.tenant_id != branch_tenant(tenant)]
        return (*own, *found)

    async def list(
        self, tenant: str, *, after: tuple[datetime, str] | None = None, limit: int | None = None
    ) -> list[tuple[AccessKey, datetime | None]]:
        """A tenant's keys, oldest first, and when each was last used (within a minute): all of
        them, or at most so many after one, by when it was made and its id."""
        found = await list_keys(self._reader, branch_tenant(tenant), after=after, limit=limit)
        return [(one, await self._last_used(one.key_id)) for one in found]

    async def principal(self, text: str, guessed: Callable[[], None] | None = None) -> Principal:
        """Whose key it is. Raises `Unauthenticated`, and what Postgres raises.

        `guessed` is called before Postgres is asked for a key that nobody came with before; what it
        raises is raised.
        """
        parts = _KEY.match(text)
        if parts is None:
            raise Unauthenticated("bad_credentials")
        hashed = _hash(parts[2])
        key = await self._find(parts[1], hashed, guessed)
        # The secret first: without it nobody learns that there is, or was, a key of that id.
        right = hmac.compare_digest(hashed, key.secret_hash if key else "")
        if key is None or not right:
            raise Unauthenticated("bad_credentials")
        now = datetime.now(UTC)
        if key.revoked_at is not None:
            raise Unauthenticated("revoked", key_id=key.key_id, tenant=key.tenant)
        if key.expires_at is not None and key.expires_at <= now:
            raise Unauthenticated("expired", key_id=key.key_id, tenant=key.tenant)
        self._used[key.key_id] = now
        return Principal(
            actor=f"service:key/{key.name}",
            grants=(key.grant(),),
            key_id=key.key_id,
            # Else whoever has it could go on for ever.
            keys_until=key.expires_at,
            until=key.expires_at,
        )

    async def _find(
        self, key_id: str, hashed: str, guessed: Callable[[], None] | None
    ) -> AccessKey | None:
        kept = self._kept.get(key_id)
        if kept is not None and self._clock() - kept[0] < KEPT_SECONDS:
            return kept[1]
        known = kept is not None and hmac.compare_digest(hashed, kept[1].secret_hash)
        if not known and guessed is not None:
            guessed()
        found = await find_key(self._reader, key_id)
        if found is not None:
            self._kept[key_id] = (self._clock(), found)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return found

    async def tell_uses(self) -> None:
        """Keep when keys were used since the last call. It is no fact, so a loss is none."""
        while self._used:
            key_id, at = next(iter(self._used.items()))
            await self._uses.put(at.isoformat(timespec="seconds").encode(), key_id)
            if self._used.get(key_id) == at:
                del self._used[key_id]

    async def _last_used(self, key_id: str) -> datetime | None:
        kept = await self._uses.get(key_id)
        return None if kept is None else datetime.fromisoformat(kept.decode())


def _passed_over(error: ConfigtrailError) -> None:
    log.warning("an event of others' API keys is not compared with: %s", error)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
