"""Which tenants have a policy, and which devices have texts: as the log has it."""

from __future__ import annotations

import logging

from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.jetstream.latest import LatestEvents, LeftOut
from domain.envelope import StoredEvent
from domain.events import (
    ContentShredded,
    LegalHoldPlaced,
    RetentionPolicy,
    RetentionPolicySet,
    SnapshotCreated,
)
from domain.ids import TENANT_BRANCH

log = logging.getLogger(__name__)


async def policies(nc: Client, js: JetStreamContext) -> dict[str, RetentionPolicy]:
    """The policies of all tenants that have one which can be read: of the others nothing is let go.
    Raises `Unavailable`."""
    found: dict[str, RetentionPolicy] = {}
    for stored in await LatestEvents(nc, js, (RetentionPolicySet,)).load():
        if isinstance(stored, LeftOut):
            log.warning("retention leaves out the tenant %s: %s", stored.tenant_id, stored.reason)
        elif isinstance(stored.event, RetentionPolicySet):
            found[stored.tenant_id] = stored.event.policy
    return dict(sorted(found.items()))


async def devices_with_texts(nc: Client, js: JetStreamContext, tenant_id: str) -> list[str]:
    """The tenant's devices that have a snapshot since their texts were last erased, if they were,
    or an event of which that can't be read. Raises `Unavailable`."""
    newest: dict[str, bool] = {}
    for stored in await LatestEvents(nc, js, (SnapshotCreated, ContentShredded), tenant_id).load():
        erased = isinstance(stored, StoredEvent) and isinstance(stored.event, ContentShredded)
        newest[stored.device_id] = not erased
    return sorted(name for name, there in newest.items() if there and name != TENANT_BRANCH)


async def ever_held(nc: Client, js: JetStreamContext, tenant_id: str) -> list[str | None]:
    """What a legal hold was ever placed on: the tenant itself (None) first, then its devices.
    Raises `Unavailable`."""
    found = {
        one.device_id for one in await LatestEvents(nc, js, (LegalHoldPlaced,), tenant_id).load()
    }
    return [None] * (TENANT_BRANCH in found) + sorted(found - {TENANT_BRANCH})
