"""The keeper: one of them at a time carries out the tenants' retention policies, on a beat."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from datetime import UTC, datetime

from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.jetstream.leases import Leases
from adapters.retention.expiring import Retention
from adapters.retention.fleet import policies
from adapters.retention.orphans import Orphans
from adapters.retention.removing import Remover
from domain.errors import LeaseHeld, LeaseLost, MalformedEvent, Unavailable, UnknownEventType

log = logging.getLogger(__name__)

LEASE = "retention"
LEASE_SECONDS = 30.0
RETRY_SECONDS = 60.0


class RetentionKeeper:
    """The role. Any number may run: whoever holds the lease works, the others wait."""

    def __init__(
        self,
        nc: Client,
        js: JetStreamContext,
        *,
        retention: Retention,
        remover: Remover,
        orphans: Orphans,
        leases: Leases,
        every: float,
    ) -> None:
        self._nc = nc
        self._js = js
        self._retention = retention
        self._remover = remover
        self._orphans = orphans
        self._leases = leases
        self._every = every

    async def run(self) -> None:
        """Work on every beat until cancelled. Outages are waited out."""
        while True:
            wait = self._every
            try:
                async with self._leases.hold(LEASE, LEASE_SECONDS):
                    await self.work()
            except LeaseHeld:
                log.debug("retention: another one works")
            except (LeaseLost, Unavailable) as error:
                log.warning("retention: %s; trying again", error)
                wait = min(RETRY_SECONDS, self._every)
            except (MalformedEvent, UnknownEventType) as error:
                # It may be the one that says what goes, or that names a text: nothing more is done.
                log.error("retention stands still: %s", error)
            await asyncio.sleep(wait)

    async def work(self) -> None:
        """One round: finish what was broken off, then every tenant that has a policy, then what no
        event refers to."""
        await self._remover.finish()
        for tenant_id in await policies(self._nc, self._js):
            gone = kept = 0
            async with aclosing(self._retention.run(tenant_id, datetime.now(UTC))) as run:
                async for judged in run:
                    gone += sum(not one.reasons for one in judged.verdicts)
                    kept += sum(bool(one.reasons) for one in judged.verdicts)
            log.info("retention of %s: %d texts expired, %d kept", tenant_id, gone, kept)
        await self._orphans.sweep(datetime.now(UTC))
