"""A collector stands still for longer than its lease while it reads, and goes on."""

from __future__ import annotations

import asyncio
import os
import signal

from nats.js import JetStreamContext

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.streams import INTAKE
from tests.doubles.routeros import RouterOSDouble, serving
from tests.fleet_of_doubles import PASSWORD, CollectorProcess, register
from tests.rig import rig
from tests.support import eventually


async def sent(js: JetStreamContext) -> int:
    """How many readings were sent."""
    return (await js.stream_info(INTAKE)).state.last_seq


async def test_what_a_collector_read_that_stood_still_too_long_is_not_sent(
    nats_server: EmbeddedNats,
) -> None:
    double = RouterOSDouble(password=PASSWORD, hold=asyncio.Event())
    assert double.hold is not None
    stopped, other = (
        CollectorProcess(nats_server.url, at_once=8, lease_seconds=2) for _ in range(2)
    )
    async with serving(double), rig(nats_server.url) as parts:
        await register(parts, double.port, ["d1"])
        try:
            await stopped.start()
            await eventually(lambda: double.at_once.get("d1") == 1, within=60)
            os.kill(stopped.pid, signal.SIGSTOP)
            await other.start()
            # The one that stands still has its connection open still.
            await eventually(lambda: double.at_once.get("d1") == 2, within=60)
            # What it waits for has come to it when it goes on.
            double.hold.set()

            async def is_sent() -> bool:
                return await sent(parts.js) == 1

            await eventually(is_sent)
            await other.kill()
            os.kill(stopped.pid, signal.SIGCONT)
            # It is alive, and reads what is due; but what it read before it did not send.
            await register(parts, double.port, ["d2"])

            async def next_is_sent() -> bool:
                return "d2" in double.logins and await sent(parts.js) >= 2

            await eventually(next_is_sent, within=60)
            assert await sent(parts.js) == 2
        finally:
            for one in (stopped, other):
                await one.kill()
