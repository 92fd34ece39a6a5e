"""Looks at the streams' live settings and identity on a beat: an administrator can change them at
any time, and the server drops history in spite of its deny flags when they are wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from adapters.jetstream.connection import outage_as_unavailable
from adapters.jetstream.streams import EVENTS, differences, misconfigured
from domain.envelope import StreamIdentity
from domain.errors import Unavailable

log = logging.getLogger(__name__)

EVERY_SECONDS = 30.0


class StreamWatch:
    """`problems` are what was wrong when it looked last: it makes the program not ready."""

    def __init__(
        self,
        js: JetStreamContext,
        wanted: Sequence[StreamConfig],
        identity: StreamIdentity,
        *,
        every: float = EVERY_SECONDS,
    ) -> None:
        self.problems: tuple[str, ...] = ()
        self._js = js
        self._wanted = wanted
        self._identity = identity
        self._every = every

    async def run(self) -> None:
        """Look until cancelled; what is new among the problems is logged once."""
        while True:
            try:
                looks = [await self._look(one) for one in self._wanted]
            except Unavailable as error:
                log.info("the streams can't be looked at now: %s", error)
            else:
                found = tuple(problem for look in looks for problem in look)
                for problem in found:
                    if problem not in self.problems:
                        log.error("%s", problem)
                if self.problems and not found:
                    log.info("the streams are as they must be again")
                self.problems = found
            await asyncio.sleep(self._every)

    async def _look(self, wanted: StreamConfig) -> list[str]:
        assert wanted.name is not None
        with outage_as_unavailable(f"looking at the stream {wanted.name}"):
            try:
                info = await self._js.stream_info(wanted.name)
            except NotFoundError:
                return [f"stream {wanted.name}: it is gone; restore it from a copy"]
        problems = [str(misconfigured(one)) for one in differences(wanted, info.config)]
        if wanted.name == EVENTS and info.created != self._identity.created:
            problems.append(
                f"stream {EVENTS}: it was recreated while this program ran; restore the one that "
                f"was created at {self._identity.created.isoformat()}"
            )
        return problems
