"""A tenant's events as they come, as server-sent events; each one's id is its stream position.

Invariant: whoever may listen no more, since their key was revoked or their token has ended, gets
no event later than a moment after that. An end that was known from the begin holds also while
nobody can be asked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Message, Send

from adapters.frames import Frame
from adapters.http.access import Permission, Principal, requires
from adapters.http.described import STREAMED
from adapters.http.params import TenantId
from adapters.http.representations import accepted
from domain.errors import InvalidInput, Unauthenticated
from projections.outages import is_outage

if TYPE_CHECKING:
    from adapters.composition import System

log = logging.getLogger(__name__)

EVENTS = "text/event-stream"
# Whoever lost the connection comes again after this time.
RETRY_MILLISECONDS = 2_000
# Nobody who reads needs longer to take what was sent.
SEND_SECONDS = 30.0
# So long nobody looks again whether a listener still may.
STANDING_SECONDS = 1.0


class EventStream(StreamingResponse):
    """Sends frames as they come; a listener that takes nothing for long is dropped."""

    def __init__(self, frames: AsyncGenerator[Frame, None]) -> None:
        self._frames = frames
        super().__init__((), media_type=EVENTS, headers={"X-Accel-Buffering": "no"})

    async def stream_response(self, send: Send) -> None:
        """See `StreamingResponse`."""

        async def patiently(message: Message) -> None:
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        try:
            async with aclosing(self._frames):
                await send(
                    {
                        "type": "http.response.start",
                        "status": self.status_code,
                        "headers": self.raw_headers,
                    }
                )
                begun = b"retry: %d\n" % RETRY_MILLISECONDS
                async for frame in self._frames:
                    body = begun + encoded(frame)
                    begun = b""
                    await patiently({"type": "http.response.body", "body": body, "more_body": True})
                await patiently({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            log.warning("a listener takes nothing and is dropped")


def encoded(frame: Frame) -> bytes:
    """A frame on the wire. An empty one moves the id on and calls nobody."""
    if not frame.body:
        return b": \nid: %d\n\n" % frame.position
    return b"id: %d\ndata: %b\n\n" % (frame.position, frame.body)


def router(system: System) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter(prefix="/api/tenants/{tenant}", tags=["changes"])

    @routes.get("/events", response_class=Response, responses=STREAMED)
    async def events(
        request: Request,
        tenant: TenantId,
        principal: Annotated[Principal, requires(Permission.READ, instead=Permission.AUDIT)],
        last_event_id: Annotated[
            int | None,
            Header(ge=0, lt=1 << 63, description="the last position that the caller has"),
        ] = None,
        after: Annotated[
            int | None, Query(ge=0, lt=1 << 63, description="instead of the header, at first")
        ] = None,
    ) -> EventStream:
        """What is recorded of the tenant's devices after a position (else from now on), and on as
        it comes: in outline. Who may read the audit trail gets every event of the tenant, whole."""
        accepted(request, (EVENTS,))
        begin = after if last_event_id is None else last_event_id
        whole = principal.may(Permission.AUDIT, tenant)
        needed = Permission.AUDIT if whole else Permission.READ
        frames = system.live.listen(tenant, begin, whole=whole)
        # What can be wrong is known before anything is sent.
        try:
            first = await anext(frames)
        except InvalidInput as error:
            raise InvalidInput(
                "after" if last_event_id is None else "Last-Event-ID", error.rule
            ) from error
        may = partial(still_may, request, tenant, needed)
        return EventStream(_from(first, frames, may, principal.until))

    async def still_may(request: Request, tenant: str, needed: Permission) -> bool:
        try:
            asking = await system.authenticator.principal(request.headers.get("authorization"))
        except Unauthenticated:
            return False
        except Exception as error:
            # While nobody can know, what began goes on.
            if not is_outage(error):
                raise
            return True
        return asking is not None and asking.may(needed, tenant)

    return routes


async def _from(
    first: Frame,
    rest: AsyncGenerator[Frame, None],
    still_may: Callable[[], Awaitable[bool]],
    until: datetime | None,
) -> AsyncGenerator[Frame, None]:
    looked = time.monotonic()
    async with aclosing(rest):
        yield first
        async for frame in rest:
            if time.monotonic() - looked >= STANDING_SECONDS:
                if not await still_may():
                    log.info("a listener may listen no more; its feed ends")
                    return
                looked = time.monotonic()
            # After the look, which may take its time in an outage.
            if until is not None and datetime.now(UTC) >= until:
                log.info("a listener's key or token has ended; so does its feed")
                return
            yield frame
