"""One of two collectors is killed, again and again: is a device missed, or read twice at once?

    python -m benchmarks.collector_kills [--kills 100] [--devices 200] [--interval 30] [--lease 5]

A device is due an interval after its last reading. A reading that comes late is not missed; one is
missed when the turn after it comes round as well and nobody was there. So "missed by more than one
interval" is: it came more than one interval after it was due, which is more than two after the one
before. That is what fails the run, as does a device that is read twice at once. How often a reading
was late at all, and how much, is printed beside it: that is the lease of the dead one, and what the
other had to catch up with.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from pathlib import Path

from adapters.embedded.nats import EmbeddedNats
from tests.doubles.routeros import RouterOSDouble, export_text, serving
from tests.fleet_of_doubles import PASSWORD, CollectorProcess, Gaps, register
from tests.rig import rig
from tests.support import eventually


async def main(kills: int, count: int, interval: int, lease: int) -> int:
    gaps = Gaps()
    double = RouterOSDouble(
        password=PASSWORD,
        text_of=lambda name: export_text("7.14.3", name=name, size=30_000),
        on_login=gaps.note,
    )
    names = [f"d{number:04}" for number in range(count)]
    with tempfile.TemporaryDirectory(prefix="configtrail-kills-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        server = EmbeddedNats(
            folder / "nats", encryption_key=secrets.token_hex(32), user="bench", password="bench"
        )
        await server.start()
        collectors = [
            CollectorProcess(server.url, at_once=20, lease_seconds=lease) for _ in range(2)
        ]
        try:
            async with serving(double), rig(server.url) as parts, parts.recording():
                await register(parts, double.port, names, interval_seconds=interval)
                for one in collectors:
                    await one.start()
                await eventually(lambda: len(gaps.times) == count, within=120)
                started = time.monotonic()
                for kill in range(kills):
                    # At another moment each time, but not before the new one takes part: on a busy
                    # machine nobody would ever be at work.
                    await collectors[kill % 2].at_work()
                    await asyncio.sleep(2 + (kill * 0.37) % 1)
                    await collectors[kill % 2].kill()
                    await collectors[kill % 2].start()
                    if (kill + 1) % 10 == 0:
                        longest = gaps.longest(time.monotonic())
                        print(f"{kill + 1:4d} kills, longest gap {longest:.1f} s", flush=True)
                ended = time.monotonic()
        finally:
            for one in collectors:
                await one.kill()
            await server.stop()
    longest = gaps.longest(ended)
    print(
        f"{kills} kills in {ended - started:.0f} s, {count} devices, interval {interval} s, lease "
        f"{lease} s, {sum(map(len, gaps.times.values()))} readings"
    )
    late = longest - interval
    print(f"longest gap of a device: {longest:.1f} s = {longest / interval:.2f} intervals")
    print(
        f"so no reading was late by more than {max(late, 0):.1f} s = "
        f"{max(late, 0) / interval:.2f} intervals (at most 1 is asked for)"
    )
    print(f"gaps of more than one interval: {gaps.longer_than(interval)} of {gaps.count()}")
    print(f"readings of a device at the same time: {len(double.overlaps)}")
    return 0 if longest <= 2 * interval and not double.overlaps else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--interval", type=int, default=30)
    parser.add_argument("--lease", type=int, default=5)
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.kills, given.devices, given.interval, given.lease)))
