"""The watch over the streams: what was right at the start must stay right while the program runs.

The server's deny flags don't protect against an update that sets an age, nor against a stream that
is deleted and made again. Whoever goes on writing then, loses facts or mixes two histories.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime

from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from adapters.jetstream.connection import outage_as_unavailable
from adapters.jetstream.feed import recreated
from adapters.jetstream.streams import differences, misconfigured
from domain.errors import Unavailable

log = logging.getLogger(__name__)

BEAT_SECONDS = 30.0


class StreamWatch:
    """Compares settings and creation times on a beat."""

    def __init__(
        self, js: JetStreamContext, wanted: Sequence[StreamConfig], *, every: float = BEAT_SECONDS
    ) -> None:
        self._js = js
        self._wanted = wanted
        self._every = every
        self._created: dict[str, datetime | None] = {}

    @property
    def seen(self) -> bool:
        """Whether every stream was looked at, and was there."""
        return len(self._created) == len(self._wanted)

    async def run(self) -> None:
        """Watch until cancelled. Raises `StreamMisconfigured` or `StreamMismatch`, which ends the
        program: it would refuse to start too."""
        while True:
            for wanted in self._wanted:
                try:
                    await self._look(wanted)
                except Unavailable as error:
                    log.warning("stream watch: %s: %s", wanted.name, error)
                except NotFoundError:
                    log.error(
                        "stream watch: %s is not there, so somebody deleted it; stop all programs "
                        "and put it back from a copy: at their next start it is made anew, empty",
                        wanted.name,
                    )
            await asyncio.sleep(self._every)

    async def _look(self, wanted: StreamConfig) -> None:
        assert wanted.name is not None
        with outage_as_unavailable(f"looking at the stream {wanted.name}"):
            info = await self._js.stream_info(wanted.name)
        for found in differences(wanted, info.config):
            raise misconfigured(found)
        if self._created.setdefault(wanted.name, info.created) != info.created:
            raise recreated(wanted.name)
