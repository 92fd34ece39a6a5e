"""What could not be processed, and why. Never the message itself: it may hold a configuration."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel

from adapters.http.access import Permission, requires
from adapters.http.answers import answered_listing
from adapters.http.cursors import BY_POSITION, Cursors, Listing
from adapters.http.described import LISTED
from adapters.http.params import PAGE_MAX, Cursor, Limit, TenantId
from adapters.jetstream.letter import DeadLetter
from adapters.retrying import retry
from adapters.shapes.dead_letters import DeadLetterOut, letter_out
from adapters.shapes.out import Out
from domain.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from adapters.composition import System


Before = Annotated[int | None, Query(ge=1, lt=1 << 63)]
Sequence = Annotated[int, Path(ge=1, lt=1 << 63)]


class RetriedLetterOut(BaseModel):
    """The letter is gone: its message is on the intake again, or (None) its work is done."""

    intake_sequence: int | None


class DeadLettersOut(Out):
    """Letters, newest first; `next_cursor` leads to the next page, and so does `next_before`, as
    `before`."""

    items: list[DeadLetterOut]
    total: int
    next_before: int | None
    next_cursor: str | None


def router(system: System) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter(tags=["operation"])

    cursors = Cursors(system.keyring)

    async def page(
        request: Request, listing: Listing, letters: list[DeadLetter], limit: int, total: int
    ) -> Response:
        shown, cursor = await cursors.page(listing, letters, limit, lambda one: one.sequence)
        items = [letter_out(one) for one in shown]
        body = DeadLettersOut(
            items=items,
            total=total,
            next_before=None if cursor is None else items[-1].sequence,
            next_cursor=cursor,
        )
        return answered_listing(
            request, items, body, DeadLetterOut, name="dead-letters", next_cursor=cursor
        )

    async def below(listing: Listing, before: int | None, cursor: str | None) -> int | None:
        if before is not None and cursor is not None:
            raise InvalidInput("before", "must not be given together with cursor")
        return await cursors.take(listing, cursor, BY_POSITION) or before

    @routes.get(
        "/api/dead-letters",
        response_model=DeadLettersOut,
        responses=LISTED,
        dependencies=[requires(Permission.DEAD_LETTERS)],
    )
    async def dead_letters(
        request: Request, limit: Limit = 50, before: Before = None, cursor: Cursor = None
    ) -> Response:
        """Those of every tenant, and those that say of none whose they are."""
        listing = ("dead letters",)
        end = await below(listing, before, cursor)
        found = await system.dead_letters.list(limit + 1, end)
        return await page(request, listing, found, limit, await system.dead_letters.count())

    @routes.get(
        "/api/tenants/{tenant}/dead-letters",
        response_model=DeadLettersOut,
        responses=LISTED,
        dependencies=[requires(Permission.DEAD_LETTERS)],
    )
    async def tenants_dead_letters(
        request: Request,
        tenant: TenantId,
        limit: Limit = 50,
        before: Before = None,
        cursor: Cursor = None,
    ) -> Response:
        """Those of the tenant."""
        listing = ("dead letters", tenant)
        end = await below(listing, before, cursor)
        mine = [one async for one in _all(system) if one.tenant_id == tenant]
        found = [one for one in mine if end is None or one.sequence < end]
        return await page(request, listing, found[: limit + 1], limit, len(mine))

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

    async def of_tenant(tenant: str, sequence: int) -> DeadLetter:
        letter = await system.dead_letters.get(sequence)
        if letter.tenant_id != tenant:
            raise NotFound("dead letter", str(sequence))
        return letter

    @routes.get(
        "/api/tenants/{tenant}/dead-letters/{sequence}",
        dependencies=[requires(Permission.DEAD_LETTERS)],
    )
    async def tenants_dead_letter(tenant: TenantId, sequence: Sequence) -> DeadLetterOut:
        """One letter of the tenant."""
        return letter_out(await of_tenant(tenant, sequence))

    @routes.post(
        "/api/tenants/{tenant}/dead-letters/{sequence}/retry",
        dependencies=[requires(Permission.DEAD_LETTERS)],
    )
    async def retry_tenants_letter(tenant: TenantId, sequence: Sequence) -> RetriedLetterOut:
        """Send a message of the tenant again, or do the work that failed."""
        await of_tenant(tenant, sequence)
        return RetriedLetterOut(intake_sequence=await retry(system, sequence))

    return routes


async def _all(system: System) -> AsyncGenerator[DeadLetter, None]:
    """All letters, newest first. They are open work: where there are many, that is the trouble."""
    before = None
    while found := await system.dead_letters.list(PAGE_MAX, before):
        for one in found:
            yield one
        before = found[-1].sequence
