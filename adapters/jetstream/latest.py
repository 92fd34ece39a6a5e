"""The newest events of some types, of every device, and then those to come.

For programs that need how things stand and not how they came to be: they neither read the whole log
nor a read model that lags. After a broken connection it begins anew, so an event may come again;
whoever listens keeps the position of what it applied to a device, and ignores older ones.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeAlias

from msgspec import Struct
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from adapters.jetstream import wire
from adapters.jetstream.connection import RETRY_SECONDS, outage_as_unavailable
from adapters.jetstream.delivery import readable_or_not
from adapters.jetstream.pull import Puller, PullLost
from adapters.jetstream.raw import RawMessage, from_delivery
from adapters.jetstream.streams import EVENTS
from domain.envelope import StoredEvent
from domain.errors import Unavailable
from domain.events import Fact
from domain.ids import to_token
from projections.source import Unreadable

log = logging.getLogger(__name__)


class LeftOut(Struct, frozen=True, kw_only=True):
    """An event that can't be read. `kind` is of which type it is by its subject, for another one of
    that type takes its place; `reason` says why, without quoting it."""

    position: int
    tenant_id: str
    device_id: str
    kind: str
    reason: str


Told: TypeAlias = StoredEvent | LeftOut


class Newest(Struct, frozen=True):
    """Events in order. `complete`: all that there were when it began have come."""

    events: list[Told]
    complete: bool


class LatestEvents:
    """The newest events of `types` for each device of a tenant, or of all tenants."""

    def __init__(
        self,
        nc: Client,
        js: JetStreamContext,
        types: Sequence[type[Fact]],
        tenant_id: str | None = None,
    ) -> None:
        self._nc = nc
        self._js = js
        tenant = "*" if tenant_id is None else to_token(tenant_id)
        self._filters = [f"{wire.PREFIX}.{tenant}.*.{one.__name__}" for one in types]

    async def load(self) -> list[Told]:
        """The newest events as of now. Raises `Unavailable`."""
        found: list[Told] = []
        try:
            async for newest in self._once():
                found += newest.events
                if newest.complete:
                    break
        except (PullLost, NotFoundError) as error:
            raise Unavailable("NATS", "reading the newest events broke off") from error
        return found

    async def follow(self) -> AsyncGenerator[Newest, None]:
        """The newest events, and then those to come, for ever. Outages are waited out."""
        while True:
            try:
                async for newest in self._once():
                    yield newest
            except PullLost as error:
                log.info("newest events: %s; beginning anew", error)
            except (Unavailable, NotFoundError) as error:
                log.warning("newest events: %s; trying again", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _once(self) -> AsyncGenerator[Newest, None]:
        async with aclosing(latest_messages(self._nc, self._js, EVENTS, self._filters)) as batches:
            async for messages, complete in batches:
                yield Newest([_told(one) for one in messages], complete)


async def latest_messages(
    nc: Client, js: JetStreamContext, stream: str, subjects: Sequence[str]
) -> AsyncGenerator[tuple[list[RawMessage], bool], None]:
    """The newest message of each of a stream's subjects, and then those to come; and whether all
    that there were when it began have come. Raises `Unavailable`, `PullLost`, `NotFoundError`."""
    with outage_as_unavailable("making a consumer"):
        info = await js.add_consumer(
            stream,
            ConsumerConfig(
                name=nc.new_inbox().rpartition(".")[2],
                deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
                filter_subjects=list(subjects),
                ack_policy=AckPolicy.NONE,
                mem_storage=True,
                num_replicas=1,
                inactive_threshold=30.0,
            ),
        )
    assert info.name is not None
    complete = not info.num_pending
    if complete:
        yield [], True
    before = 0
    async with Puller(nc, stream, info.name) as puller:
        while True:
            messages = [from_delivery(msg) for msg in await puller.next()]
            for one in messages:
                if one.delivered != before + 1:
                    raise PullLost(f"delivery {before + 1} was lost on its way")
                before = one.delivered
            complete = complete or not messages[-1].pending
            yield messages, complete


def _told(raw: RawMessage) -> Told:
    """The event in a message, or what it is about when it can't be read."""
    read = readable_or_not(raw.subject, raw.headers, raw.body, raw.position, raw.stored_at)
    if not isinstance(read, Unreadable):
        return read
    return LeftOut(
        position=read.position,
        tenant_id=read.tenant_id,
        device_id=read.device_id,
        kind=raw.subject.rpartition(".")[2],
        reason=read.reason,
    )
