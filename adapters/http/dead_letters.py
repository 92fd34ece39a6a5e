"""What could not be processed, and why. Never the message itself: it may hold a configuration."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from adapters.http.access import Permission, requires
from adapters.http.params import PAGE_MAX, TenantId
from adapters.jetstream.letter import DeadLetter
from adapters.retrying import retry

if TYPE_CHECKING:
    from adapters.composition import System


Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
Before = Annotated[int | None, Query(ge=1, lt=1 << 63)]
Sequence = Annotated[int, Path(ge=1, lt=1 << 63)]


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


class RetriedLetterOut(BaseModel):
    """The letter is gone: its message is on the intake again, or (None) its work is done."""

    intake_sequence: int | None


class DeadLettersOut(BaseModel):
    """Letters, newest first; `next_before` leads to the next page."""

    items: list[DeadLetterOut]
    total: int
    next_before: int | None


def letter_out(letter: DeadLetter) -> DeadLetterOut:
    """A letter as it is answered."""
    return DeadLetterOut(**{name: getattr(letter, name) for name in DeadLetterOut.model_fields})


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

    @routes.get("/api/dead-letters/{sequence}", dependencies=[requires(Permission.DEAD_LETTERS)])
    async def dead_letter(sequence: Sequence) -> DeadLetterOut:
        """One letter: why its message could not be processed."""
        return letter_out(await system.dead_letters.get(sequence))

    @routes.post(
        "/api/dead-letters/{sequence}/retry", dependencies=[requires(Permission.DEAD_LETTERS)]
    )
    async def retry_letter(sequence: Sequence) -> RetriedLetterOut:
        """Send the message again, or do the work that failed. What is refused again comes back as
        another letter."""
        return RetriedLetterOut(intake_sequence=await retry(system, sequence))

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
        items=[letter_out(one) for one in found],
        total=total,
        next_before=found[-1].sequence if len(found) == limit else None,
    )
