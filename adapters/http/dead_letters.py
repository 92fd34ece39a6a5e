"""What could not be processed, and why. Never the message itself: it may hold a configuration."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from adapters.http.access import Permission, requires
from adapters.http.params import PAGE_MAX, TenantId
from adapters.jetstream.letter import DeadLetter

if TYPE_CHECKING:
    from adapters.composition import System


Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
Before = Annotated[int | None, Query(ge=1, lt=1 << 63)]


class DeadLetterOut(BaseModel):
    """A message that could not be processed: from where, and which rule its `field` breaks."""

    sequence: int
    origin: str
    subject: str
    field: str
    rule: str
    received_at: datetime
    size_bytes: int
    tenant_id: str | None
    device_id: str | None


class DeadLettersOut(BaseModel):
    """Letters, newest first; `next_before` leads to the next page."""

    items: list[DeadLetterOut]
    total: int
    next_before: int | None


def router(system: System) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter(tags=["operation"])

    @routes.get("/api/dead-letters", dependencies=[requires(Permission.DEAD_LETTERS)])
    async def dead_letters(limit: Limit = 50, before: Before = None) -> DeadLettersOut:
        """Those of every tenant, and those that say of none whose they are."""
        found = await system.dead_letters.list(limit, before)
        return _page(found, await system.dead_letters.count(), limit)

    @routes.get(
        "/api/tenants/{tenant}/dead-letters", dependencies=[requires(Permission.DEAD_LETTERS)]
    )
    async def tenants_dead_letters(
        tenant: TenantId, limit: Limit = 50, before: Before = None
    ) -> DeadLettersOut:
        mine = [one async for one in _all(system) if one.tenant_id == tenant]
        below = [one for one in mine if before is None or one.sequence < before]
        return _page(below[:limit], len(mine), limit)

    return routes


async def _all(system: System) -> AsyncGenerator[DeadLetter, None]:
    """All letters, newest first. They are open work: where there are many, that is the trouble."""
    before = None
    while found := await system.dead_letters.list(PAGE_MAX, before):
        for one in found:
            yield one
        before = found[-1].sequence


def _page(found: list[DeadLetter], total: int, limit: int) -> DeadLettersOut:
    return DeadLettersOut(
        items=[
            DeadLetterOut(
                sequence=one.sequence,
                origin=one.origin,
                subject=one.subject,
                field=one.field,
                rule=one.rule,
                received_at=one.received_at,
                size_bytes=one.size_bytes,
                tenant_id=one.tenant_id,
                device_id=one.device_id,
            )
            for one in found
        ],
        total=total,
        next_before=found[-1].sequence if len(found) == limit else None,
    )
