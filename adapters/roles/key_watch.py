"""The watch over the master key: keys may be moved to another one while a program runs.

Whoever does not have that can neither record nor show any more, and would hold up what it takes
from the others.
"""

from __future__ import annotations

import asyncio
import logging

from adapters.crypto.keys import KeyRing
from domain.errors import Unavailable

log = logging.getLogger(__name__)

BEAT_SECONDS = 30.0


class KeyWatch:
    """Looks on a beat whether this program has the master key of the store."""

    def __init__(self, keyring: KeyRing, *, every: float = BEAT_SECONDS) -> None:
        self._keyring = keyring
        self._every = every
        self.looks = 0

    async def run(self) -> None:
        """Watch until cancelled. Raises `KeyUnavailable`, which ends the program: it would refuse
        to start too."""
        while True:
            try:
                await self._keyring.master()
            except Unavailable as error:
                log.warning("key watch: %s", error)
            self.looks += 1
            await asyncio.sleep(self._every)
