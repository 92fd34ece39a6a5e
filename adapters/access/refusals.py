"""Refused requests as facts: alike ones summed up, so that nobody fills the log by being refused.

Invariants: in each interval a program tells of one key or user at most `_OF_ONE` kinds of refusal
one by one, and the others as one event a reason, under their name still; where a tenant has many
names at once, of the later ones one event a reason alone; and of those that nobody knows at most
`_OF_STRANGERS` kinds. So nobody hides by being refused who else was. What can't be told during an
outage is summed up further.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from contextlib import aclosing
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec import Struct

from adapters.access.keys import ApiKeys
from domain.access import EVERY_TENANT, Principal
from domain.envelope import Head, NewEvent
from domain.errors import AppendConflict, Unavailable
from domain.events import RefusalReason
from domain.granting import REFUSALS_BRANCH, access_refused
from domain.ports import EventStore

log = logging.getLogger(__name__)

_OF_ONE = 10
_OF_STRANGERS = 20
# Of one tenant, or of those to whom nothing is granted, of whom there may be any number.
_NAMES = 40
# Further ones that one tenant knows: of the others nobody is named.
_NAMES_IN_BRIEF = 960
NOBODY = "user:anonymous"


class Kind(NamedTuple):
    """What alike refusals have in common. `tenant`: in whose audit trail they are told; `home`:
    whose the principal is, or the key was; None: nobody's, as of strangers."""

    tenant: str
    actor: str
    reason: RefusalReason
    key_id: str | None = None
    permission: str | None = None
    remote_address: str | None = None
    home: str | None = None


def kind_of(
    principal: Principal | None,
    reason: RefusalReason,
    *,
    tenant: str | None = None,
    permission: str | None = None,
    remote_address: str | None = None,
) -> Kind:
    """The kind of a refusal of a principal (None: of a stranger). `tenant`: in whose audit trail
    it is told, if not in that of their own."""
    if principal is None:
        return Kind(EVERY_TENANT, NOBODY, reason, remote_address=remote_address)
    return Kind(
        tenant or principal.home,
        principal.actor,
        reason,
        principal.key_id,
        permission,
        remote_address,
        # An identity provider may let anybody in: they are no tenant's until something is granted.
        principal.home if principal.grants else None,
    )


class _Who(NamedTuple):
    """Whose refusals have a share of their own: a key or a user; without a name all that have
    none."""

    home: str | None
    actor: str = NOBODY
    key_id: str | None = None

    @property
    def is_named(self) -> bool:
        return self != _Who(self.home)

    def summed(self, reason: RefusalReason) -> Kind:
        """What is beyond their share, of a reason."""
        tenant = self.home or EVERY_TENANT
        return Kind(tenant, self.actor, reason, self.key_id, home=self.home)


class _Sum(Struct):
    first_at: datetime
    last_at: datetime
    count: int = 0


class _Share(Struct):
    """What is told of one of them: at most so many kinds one by one, and their sums."""

    most: int
    sums: dict[Kind, _Sum] = {}


class Refusals:
    """Collects refusals, and tells them."""

    def __init__(self, events: EventStore) -> None:
        self._events = events
        self._shares: dict[_Who, _Share] = {}
        self._names: Counter[str | None] = Counter()
        self._heads: dict[str, Head] = {}

    def note(self, kind: Kind) -> None:
        """A request was refused."""
        now = datetime.now(UTC)
        asking = _Who(kind.home, kind.actor, kind.key_id)
        who = self._named(asking)
        share = self._shares[who]
        if kind not in share.sums and (who != asking or len(share.sums) >= share.most):
            kind = who.summed(kind.reason)
        found = share.sums.setdefault(kind, _Sum(now, now))
        found.count += 1
        found.last_at = now

    async def tell(self) -> None:
        """Append what was collected. Raises what the event store raises; nothing is forgotten."""
        # Each kind once, whatever comes meanwhile: that is what the bound is about.
        apart = [(who, *one) for who, of in self._shares.items() for one in of.sums.items()]
        for who, kind, found in apart:
            told = found.count
            await self._append(
                access_refused(
                    kind.tenant,
                    refusal_id=str(uuid.uuid4()),
                    actor=kind.actor,
                    reason=kind.reason,
                    count=told,
                    first_at=found.first_at,
                    last_at=found.last_at,
                    key_id=kind.key_id,
                    permission=kind.permission,
                    remote_address=kind.remote_address,
                )
            )
            # Alike ones may have come meanwhile.
            found.count -= told
            found.first_at = found.last_at
            if not found.count:
                self._forget(who, kind)

    def _named(self, who: _Who) -> _Who:
        """Who it is told of: without a name when too many of their tenant have one."""
        if who in self._shares:
            return who
        names = self._names[who.home]
        if not who.is_named:
            most = _OF_STRANGERS
        elif names < _NAMES:
            most = _OF_ONE
        elif who.home is not None and names < _NAMES + _NAMES_IN_BRIEF:
            most = 0
        else:
            return self._named(_Who(who.home))
        self._shares[who] = _Share(most)
        self._names[who.home] += who.is_named
        return who

    def _forget(self, who: _Who, kind: Kind) -> None:
        sums = self._shares[who].sums
        del sums[kind]
        if not sums:
            del self._shares[who]
            self._names[who.home] -= who.is_named
            if not self._names[who.home]:
                del self._names[who.home]

    async def _append(self, event: NewEvent) -> None:
        tenant = event.tenant_id
        while True:
            head = self._heads.get(tenant) or await self._head(tenant)
            try:
                stored = await self._events.append(event, head)
            except AppendConflict:
                self._heads.pop(tenant, None)
                continue
            self._heads[tenant] = Head(stored.version, stored.position)
            return

    async def _head(self, tenant: str) -> Head:
        head = Head()
        branch = self._events.read_branch(tenant, REFUSALS_BRANCH)
        async with aclosing(branch) as events:
            async for one in events:
                head = Head(one.version, one.position)
        return head


class AccessJournal:
    """The role that tells, now and then, who was refused and when keys were used."""

    def __init__(self, refusals: Refusals, keys: ApiKeys, *, every: float) -> None:
        self._refusals = refusals
        self._keys = keys
        self._every = every

    async def run(self) -> None:
        """Until cancelled; what is collected then is told before it ends."""
        try:
            while True:
                await asyncio.sleep(self._every)
                await self._tell()
        finally:
            await self._tell()

    async def _tell(self) -> None:
        try:
            await self._refusals.tell()
            await self._keys.tell_uses()
        except Unavailable as error:
            log.warning("refused requests are told later: %s", error)
