"""One of two collectors dies again and again: its devices are taken over, none is read twice at
once. How long that takes is measured by `benchmarks/kills.py`."""

from __future__ import annotations

from functools import partial

from adapters.embedded.nats import EmbeddedNats
from tests.doubles.routeros import RouterOSDouble, serving
from tests.fleet_of_doubles import PASSWORD, CollectorProcess, register
from tests.rig import rig
from tests.support import eventually

NAMES = [f"d{number:02}" for number in range(30)]


async def test_a_killed_collectors_devices_are_taken_over(nats_server: EmbeddedNats) -> None:
    double = RouterOSDouble(password=PASSWORD)
    collectors = [CollectorProcess(nats_server.url, at_once=8, lease_seconds=2) for _ in range(2)]

    async def again(times: int) -> bool:
        return all(double.logins.count(name) >= times for name in NAMES)

    def grown(number: int) -> bool:
        return len(double.logins) > number

    async with serving(double), rig(nats_server.url) as parts:
        await register(parts, double.port, NAMES, interval_seconds=2)
        try:
            for one in collectors:
                await one.start()
            for one in collectors:
                await one.at_work()
            for kill in range(4):
                await eventually(partial(grown, len(double.logins) + 10))
                await collectors[kill % 2].kill()
                await collectors[kill % 2].start()
            least = min(double.logins.count(name) for name in NAMES)
            await eventually(lambda: again(least + 2), within=60)
        finally:
            for one in collectors:
                await one.kill()
    assert double.overlaps == []
