"""Refused requests as facts: alike ones summed up, so that nobody fills the log by being refused.

Invariant: in each interval a program tells at most `_MOST_APART` kinds of refusal one by one, and
the others as one event a reason. What can't be told during an outage is summed up further.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import aclosing
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec import Struct

from adapters.access.keys import ApiKeys
from domain.access import EVERY_TENANT
from domain.envelope import Head, NewEvent
from domain.errors import AppendConflict, Unavailable
from domain.events import RefusalReason
from domain.granting import REFUSALS_BRANCH, access_refused
from domain.ports import EventStore

log = logging.getLogger(__name__)

_MOST_APART = 20
NOBODY = "user:anonymous"


class Kind(NamedTuple):
    """What alike refusals have in common. `tenant`: whose the principal is."""

    tenant: str
    actor: str
    reason: RefusalReason
    key_id: str | None = None
    permission: str | None = None
    remote_address: str | None = None


class _Sum(Struct):
    first_at: datetime
    last_at: datetime
    count: int = 0


class Refusals:
    """Collects refusals, and tells them."""

    def __init__(self, events: EventStore) -> None:
        self._events = events
        self._sums: dict[Kind, _Sum] = {}
        self._heads: dict[str, Head] = {}

    def note(self, kind: Kind) -> None:
        """A request was refused."""
        now = datetime.now(UTC)
        if kind not in self._sums and len(self._sums) >= _MOST_APART:
            kind = Kind(EVERY_TENANT, NOBODY, kind.reason)
        found = self._sums.setdefault(kind, _Sum(now, now))
        found.count += 1
        found.last_at = now

    async def tell(self) -> None:
        """Append what was collected. Raises what the event store raises; nothing is forgotten."""
        # Each kind once, whatever comes meanwhile: that is what the bound is about.
        for kind, found in list(self._sums.items()):
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
                del self._sums[kind]

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
