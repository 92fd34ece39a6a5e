"""What a kill of the server loses: alone and in three copies, synced at every write or not.

    python -m benchmarks.durability [--events 3000]

Eight writers append with optimistic concurrency while the server (of three: the leader, then all)
is killed with SIGKILL and started again. Lost: acknowledged, and not there afterwards. Exits with 1
when anything is. A kill is no power cut: the kernel still has what was written.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import uvloop
from nats.aio.client import Client
from nats.js.errors import Error as JetStreamError

from adapters.jetstream.connection import connect
from adapters.jetstream.event_store import JetStreamEventStore
from adapters.jetstream.streams import EVENTS, ensure_stream, events_stream_config
from adapters.observability.logging import configure_logging
from benchmarks.store import Server, event
from domain.envelope import Head
from domain.errors import AppendConflict, Unavailable
from tests.faults import Cluster, ClusterNode, cluster
from tests.support import eventually

WRITERS = 8


class Run:
    """Writers that append until they are told to stop, and what they were told."""

    def __init__(self, store: JetStreamEventStore) -> None:
        self._store = store
        self.acknowledged: list[str] = []
        self.pause = 0.0
        self._last = time.monotonic()
        self._going = True

    async def until(self, count: int) -> None:
        """Wait until so many are acknowledged."""
        await eventually(lambda: len(self.acknowledged) >= count, within=120)

    async def during(self, work: Awaitable[None]) -> None:
        """Append while the work is done."""
        async with asyncio.TaskGroup() as group:
            for writer in range(WRITERS):
                group.create_task(self._write(f"r{writer}"))
            await work
            self._going = False

    async def lost_and_doubled(self) -> tuple[int, int]:
        """Compared with what the stream holds."""
        there: Counter[str] = Counter()
        async with aclosing(self._store.read()) as batches:
            async for batch in batches:
                there.update(one.event_id for one in batch)
        lost = sum(one not in there for one in self.acknowledged)
        return lost, sum(count > 1 for count in there.values())

    async def _write(self, device: str) -> None:
        head = Head()
        number = 0
        while self._going:
            try:
                stored = await self._store.append(event(number, device), head)
            except Unavailable:
                continue
            except AppendConflict as conflict:
                stored = conflict.newer[-1]
            head = Head(stored.version, stored.position)
            self.acknowledged.append(stored.event_id)
            now = time.monotonic()
            self.pause, self._last = max(self.pause, now - self._last), now
            number += 1


async def alone(folder: Path, sync: str, count: int) -> tuple[Run, tuple[int, int]]:
    """One server."""
    Server.sync = sync
    server = Server(folder, encryption_key=None, user="bench", password="bench")
    await server.start()
    nc = await connect(server.url, name="bench")
    await ensure_stream(nc.jetstream(), events_stream_config())
    run = Run(JetStreamEventStore(nc, nc.jetstream()))

    async def kill() -> None:
        await run.until(count)
        await server.kill()
        await server.start()
        await run.until(2 * count)

    await run.during(kill())
    found = await run.lost_and_doubled()
    await nc.close()
    await server.stop()
    return run, found


async def in_three(
    folder: Path, sync: str, count: int, *, all_of_them: bool
) -> tuple[Run, tuple[int, int]]:
    """Three servers, of which the leader or all are killed."""
    async with cluster(folder, sync) as servers:
        nc = await connect(servers.url, name="bench")
        while True:
            try:
                await ensure_stream(nc.jetstream(), events_stream_config().evolve(num_replicas=3))
                break
            except (Unavailable, JetStreamError):
                await asyncio.sleep(0.2)
        run = Run(JetStreamEventStore(nc, nc.jetstream()))

        async def kill() -> None:
            await run.until(count)
            victims = await _victims(servers, nc, all_of_them=all_of_them)
            await asyncio.gather(*(node.kill() for node in victims))
            await asyncio.gather(*(node.start() for node in victims))
            await run.until(2 * count)

        await run.during(kill())
        found = await run.lost_and_doubled()
        await nc.close()
        return run, found


async def _victims(servers: Cluster, nc: Client, *, all_of_them: bool) -> list[ClusterNode]:
    return list(servers.nodes.values()) if all_of_them else [await servers.leader(nc, EVENTS)]


async def main(count: int) -> int:
    """All of it, one line each."""
    bad = 0
    cases: list[tuple[str, Callable[[Path, str], Awaitable[tuple[Run, tuple[int, int]]]]]] = [
        ("alone", lambda folder, sync: alone(folder, sync, count)),
        ("R3, leader", lambda folder, sync: in_three(folder, sync, count, all_of_them=False)),
        ("R3, all", lambda folder, sync: in_three(folder, sync, count, all_of_them=True)),
    ]
    for name, measure in cases:
        for sync in ("2m", "always"):
            with tempfile.TemporaryDirectory() as folder:
                run, (lost, doubled) = await measure(Path(folder) / "servers", sync)
            bad += lost + doubled
            sys.stdout.write(
                f"{name:11} sync_interval {sync:7} {len(run.acknowledged):>7} acknowledged,"
                f" {lost} lost, {doubled} doubled, longest pause {run.pause:.1f} s\n"
            )
            sys.stdout.flush()
    return int(bad > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=3_000)
    given = parser.parse_args()
    configure_logging("ERROR")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        raise SystemExit(runner.run(main(given.events)))
