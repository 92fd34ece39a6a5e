"""How fast read models follow: every projection alone, all at once, and what they are held against.

    python -m benchmarks.projections [--events 200000] [--rounds 3] [--library 5000]

In the same run: a bare COPY of the same rows into the same table, a bare pull loop over the same
stream, and the ProjectionRunner of the `eventsourcing` library on the same events into the same
table. Rates are medians over the rounds, whose order is mixed; ratios are firmer than rates, and
the processor's time an event (of this program, NATS and Postgres) is firmer than both.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import resource
import secrets
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import uvloop

from adapters.embedded.nats import EmbeddedNats
from adapters.embedded.postgres import EmbeddedPostgres
from adapters.jetstream.connection import connect
from adapters.jetstream.passing import passing_consumer
from adapters.jetstream.source import JetStreamSource, RawPuller
from adapters.jetstream.streams import EVENTS, events_stream_config
from adapters.postgres.pool import open_pool
from adapters.settling import settle_memory
from benchmarks.cpu import spent
from benchmarks.history import history
from domain.envelope import StoredEvent
from projections import ALL, AUDIT
from projections.audit.write import COLUMNS
from projections.engine import ProjectionWorker
from projections.projection import Projection
from projections.rows import Pool
from projections.shared import SharedSource
from tests.publishing import publish

BATCH = 8_000
Measured = Callable[[], Awaitable["Figure"]]


class Servers(NamedTuple):
    """The processes of the servers."""

    nats: int
    postgres: int


class Figure(NamedTuple):
    """Events a second, and microseconds of the processor an event."""

    rate: float
    python: float
    nats: float
    postgres: float


class Stopwatch:
    """Started when it is made."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._began = self._now()

    def figure(self, count: int) -> Figure:
        """What `count` events took since then."""
        taken = [now - then for now, then in zip(self._now(), self._began, strict=True)]
        return Figure(count / taken[0], *(seconds / count * 1e6 for seconds in taken[1:]))

    def _now(self) -> tuple[float, ...]:
        nats, postgres = map(spent, self._servers)
        return time.perf_counter(), time.process_time(), nats, postgres


class Bench:
    """The servers with a stream of events, and what is measured on them: each gives events/s."""

    def __init__(
        self, pool: Pool, source: JetStreamSource, nc: Any, count: int, servers: Servers
    ) -> None:
        self._pool = pool
        self._source = source
        self._nc = nc
        self._count = count
        self._servers = servers
        self._batches: list[list[tuple[Any, ...]]] = []
        # Megabytes in memory at each quarter of the way, the last time that all projections ran.
        self.grown: list[float] = []

    async def prepare(self) -> None:
        """The rows of the audit trail, for the bare COPY."""
        async with aclosing(self._source.follow()) as feed:
            events: list[StoredEvent] = []
            async for batch in feed:
                events += [one for one in batch if isinstance(one, StoredEvent)]
                if len(events) >= BATCH or events[-1].position == self._count:
                    self._batches.append(AUDIT.fold(events))
                    last, events = events[-1].position, []
                    if last == self._count:
                        return

    async def pull(self) -> Figure:
        """A bare pull loop: bytes, nothing decoded."""
        consumer = await passing_consumer(self._nc, self._nc.jetstream(), EVENTS, 1)
        assert consumer.name is not None
        got = 0
        watch = Stopwatch(self._servers)
        async with RawPuller(self._nc, EVENTS, consumer.name) as puller:
            while got < self._count:
                got += len(await puller.take_all())
        return watch.figure(self._count)

    async def copy(self) -> Figure:
        """A bare COPY of the audit trail's rows, in the batches that the worker makes, into a table
        without row-level security."""
        await self.clean()
        async with self._pool.acquire() as connection:
            await connection.execute("CREATE SCHEMA configtrail; SET search_path = configtrail")
            await connection.execute(AUDIT.ddl)
            await connection.execute("SET synchronous_commit = off")
            watch = Stopwatch(self._servers)
            for rows in self._batches:
                await connection.copy_records_to_table("audit", columns=COLUMNS, records=rows)
            return watch.figure(self._count)

    async def project(self, projections: Sequence[Projection[Any]]) -> Figure:
        """Workers from nothing to the head."""
        await self.clean()
        shared = SharedSource(self._source)
        workers = [ProjectionWorker(self._pool, shared, one) for one in projections]
        watch = Stopwatch(self._servers)
        tasks = [asyncio.create_task(worker.run()) for worker in workers]
        self.grown.clear()
        for quarter in range(1, 5):
            mark = self._count * quarter // 4
            await asyncio.gather(*(worker.wait(mark) for worker in workers))
            self.grown.append(memory_now())
        figure = watch.figure(self._count)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return figure

    async def clean(self) -> None:
        """No tables: each part begins with its own, empty ones."""
        await self._pool.execute("DROP SCHEMA IF EXISTS configtrail CASCADE")


@asynccontextmanager
async def bench(count: int) -> AsyncIterator[tuple[Bench, str]]:
    with tempfile.TemporaryDirectory(prefix="configtrail-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        nats = EmbeddedNats(
            folder / "nats", encryption_key=secrets.token_hex(32), user="bench", password="bench"
        )
        postgres = EmbeddedPostgres(folder / "postgres", password=secrets.token_hex(16))
        await nats.start()
        await postgres.start()
        try:
            nc = await connect(nats.url, name="bench")
            js = nc.jetstream(timeout=30)
            await js.add_stream(events_stream_config())
            await publish(nc, history(count), EVENTS)
            async with open_pool(postgres.dsn) as pool:
                servers = Servers(nats.pid, postgres.pid)
                made = Bench(pool, JetStreamSource(nc, js), nc, count, servers)
                await made.prepare()
                yield made, postgres.dsn
            await nc.close()
        finally:
            await postgres.stop()
            await nats.stop()


async def library_rate(dsn: str, count: int) -> float:
    """The rate, measured in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.library", dsn, str(count), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError("the library's run failed")
    return float(told)


def memory() -> float:
    """The most that this process ever had in memory, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory_now() -> float:
    """What this process has in memory, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


async def main(count: int, rounds: int, library: int) -> None:
    print(
        f"{count} events of 1,000 devices, {rounds} rounds; Python {platform.python_version()}, "
        f"asyncpg {asyncpg.__version__}; NATS encrypts and syncs always, Postgres fsync on; load "
        f"before {', '.join(f'{one:.1f}' for one in os.getloadavg())}"
    )
    async with bench(count) as (made, dsn):
        settle_memory()  # as the program does
        measured: dict[str, Measured] = {
            "bare pull loop": made.pull,
            "bare COPY of audit": made.copy,
            "all projections": lambda: made.project(ALL),
        }
        for projection in ALL:
            measured[projection.name] = lambda one=projection: made.project([one])  # type: ignore[misc]
        found: dict[str, list[Figure]] = defaultdict(list)
        grown: list[float] = []
        quarters: list[float] = []
        for _ in range(rounds):
            order = list(measured)
            random.shuffle(order)
            for name in order:
                found[name].append(await measured[name]())
                if name == "all projections":
                    quarters = list(made.grown)
            grown.append(memory())
        await made.clean()
        library_found = await library_rate(dsn, library) if library else 0.0
    print(f"{'':50s}µs an event: Python   NATS  Postgres")
    rates = {}
    for name, figures in found.items():
        each = [figure.rate for figure in figures]
        rates[name] = statistics.median(each)
        told = f"  {name:24s} {rates[name]:8,.0f} events/s ({min(each):,.0f} to {max(each):,.0f})"
        used = [statistics.median(column) for column in list(zip(*figures, strict=True))[1:]]
        print(f"{told:62s} {used[0]:6.1f} {used[1]:6.1f} {used[2]:9.1f}")
    audit, copy = rates["audit"], rates["bare COPY of audit"]
    print(f"  audit / bare COPY            {audit / copy:10.0%}   (target 75 %)")
    if library:
        print(f"  library's ProjectionRunner {library_found:6,.0f} events/s")
        times = audit / library_found
        print(f"  audit / library              {times:10.0f} ×  (target 30 ×)")
    print(f"  memory at most, by round: {', '.join(f'{one:.0f} MB' for one in grown)}")
    told = ", ".join(f"{one:.0f} MB" for one in quarters)
    print(f"  memory at each quarter of all projections: {told}; the bare COPY's rows are in it")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--library", type=int, default=5_000, help="events for it; 0: without")
    given = parser.parse_args()
    sys.exit(uvloop.run(main(given.events, given.rounds, given.library)))
