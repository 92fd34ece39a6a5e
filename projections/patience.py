"""Waiting outages out, with a line in the log every few seconds."""

from __future__ import annotations

import asyncio
import logging

from domain.errors import RowsHeld, Unavailable
from projections.outages import is_outage, reason_of
from projections.rows import Pool

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
SAY_EVERY_SECONDS = 5.0


class Patience:
    """What one task knows of the outage that it is in. `what` names the task in the log."""

    def __init__(self, what: str, pool: Pool) -> None:
        self._what = what
        self._pool = pool
        self._silent_until = 0.0
        self._in_outage = False

    def bears(self, error: Exception) -> bool:
        """Whether the error is an outage that ends by itself."""
        return is_outage(error) and not self._pool.is_closing()

    async def wait_out(self, error: Exception) -> None:
        """Sleep before the next try."""
        if isinstance(error, RowsHeld):
            await self.pause(error.reason)
            return
        of_postgres = not isinstance(error, Unavailable) or error.service == "Postgres"
        service = "Postgres" if of_postgres else "NATS"
        await self.pause(f"waiting for {service}: {reason_of(error)}")

    async def pause(self, why: str) -> None:
        """The same for what is no outage of a server, and may last as long all the same."""
        now = asyncio.get_running_loop().time()
        if now >= self._silent_until:
            log.warning("%s: %s", self._what, why)
            self._silent_until = now + SAY_EVERY_SECONDS
        self._in_outage = True
        await asyncio.sleep(RETRY_SECONDS)

    def over(self, position: int) -> None:
        """Say that it goes on, if there was an outage. The next one soon after is told of no more
        often than if it were the same."""
        if self._in_outage:
            log.info("%s: going on from position %d", self._what, position)
        self._in_outage = False
