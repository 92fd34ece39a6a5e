"""Searching configurations for a text or a pattern. Secrets are hashed before it looks."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response
from msgspec.json import Decoder

from adapters.http.access import Permission, requires
from adapters.http.answers import answered_listing
from adapters.http.cursors import Cursors
from adapters.http.described import LISTED
from adapters.http.params import Cursor, TenantId
from adapters.scanning import PATTERN_MAX
from adapters.scanning import Query as Wanted
from adapters.searching import Match
from adapters.shapes.out import Out
from domain.ids import check_device_id

if TYPE_CHECKING:
    from adapters.composition import System

LIMIT_MAX = 100
SEARCHED = "Configtrail-Searched"
UNREADABLE = "Configtrail-Unreadable"
_BY_TEXT: Decoder[tuple[str, datetime, int]] = Decoder(tuple[str, datetime, int])


class LineOut(Out):
    """A line that matches, from 1, without its secrets."""

    number: int
    text: str


class MatchOut(Out):
    """A snapshot with its first lines that match; `matching` counts them all."""

    device_id: str
    snapshot_id: str
    collected_at: datetime
    last_confirmed: datetime
    is_current: bool
    lines: list[LineOut]
    matching: int


class FoundOut(Out):
    """What was found in `searched` texts; `unreadable` ones could not be looked through, as headers
    say in each form. A page ends after two seconds: while there is a `next_cursor`, there is more
    to search."""

    items: list[MatchOut]
    searched: int
    unreadable: int
    next_cursor: str | None


def match_out(match: Match) -> MatchOut:
    """A match as it is answered."""
    snapshot = match.snapshot
    return MatchOut(
        device_id=snapshot.device_id,
        snapshot_id=snapshot.snapshot_id,
        collected_at=snapshot.collected_at,
        last_confirmed=snapshot.last_confirmed,
        is_current=snapshot.is_current,
        lines=[LineOut(number=one.number, text=one.text) for one in match.scanned.lines],
        matching=match.scanned.matching,
    )


def router(system: System) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter(
        prefix="/api/tenants/{tenant}",
        tags=["config"],
        dependencies=[requires(Permission.SEARCH)],
    )
    cursors = Cursors(system.keyring)

    @routes.get("/search", response_model=FoundOut, responses=LISTED)
    async def search(
        request: Request,
        tenant: TenantId,
        q: Annotated[str, Query(min_length=1, max_length=PATTERN_MAX)],
        pattern: Annotated[bool, Query(description="q is a pattern (RE2)")] = False,
        match_case: bool = False,
        past: Annotated[bool, Query(description="also configurations that hold no more")] = False,
        device_id: str | None = None,
        limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = 50,
        cursor: Cursor = None,
    ) -> Response:
        """The configurations with a line that matches, by device and time."""
        device = check_device_id(device_id) if device_id is not None else None
        listing = ("search", tenant, q, pattern, match_case, past, device)
        place = await cursors.take(listing, cursor, _BY_TEXT)
        found = await system.searcher.search(
            tenant,
            Wanted(q, pattern, match_case),
            device_id=device,
            past=past,
            place=place,
            limit=limit,
        )
        following = None if found.after is None else await cursors.give(listing, found.after)
        items = [match_out(one) for one in found.matches]
        body = FoundOut(
            items=items,
            searched=found.searched,
            unreadable=found.unreadable,
            next_cursor=following,
        )
        return answered_listing(
            request,
            items,
            body,
            MatchOut,
            name=f"search-{tenant}",
            next_cursor=following,
            told={SEARCHED: str(found.searched), UNREADABLE: str(found.unreadable)},
        )

    return routes
