"""What proving costs: sealing, verifying, proofs; beside reading and bare SHA-256 over all of it.

    .venv/bin/python -m benchmarks.audit [--events 1000000] [--rounds 3]

One history on servers of its own. Rates are events a second, medians over the rounds (sealing and
the read model are made once); ratios are more solid than rates. Content is left out: it is the
content store's reading and decrypting, not verification, that it would measure.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import uvloop

from adapters.cli.session import at
from adapters.composition import System, open_system
from adapters.crypto.signing import SigningKey
from adapters.embedded.runtime import embedded
from adapters.jetstream.source import TAKEN
from adapters.jetstream.streams import EVENTS
from adapters.observability.logging import configure_logging
from adapters.roles.sealing import Sealing
from adapters.settings import Settings
from adapters.tlog.evidence import SystemEvidence
from adapters.tlog.proving import prover_of
from adapters.tlog.verify import Options, verify
from benchmarks.history import history
from domain.tlog.leaf import RawEvent, hashes_of
from domain.tlog.merkle import Frontier
from domain.tlog.names import STREAM_LOG
from tests.publishing import publish

PROOFS = 500
KEY = SigningKey(bytes(32))
# The role signs every few seconds; here, after so many events.
SEAL_EVERY = 50_000


async def rate(count: int, rounds: int, work: Callable[[], Awaitable[None]]) -> float:
    """Events a second: the median over the rounds."""
    took = []
    for _ in range(rounds):
        started = time.perf_counter()
        await work()
        took.append(time.perf_counter() - started)
    return count / statistics.median(took)


class Bench:
    """A connected system that holds the history."""

    def __init__(self, system: System, count: int) -> None:
        self.system = system
        self.count = count

    async def read(self) -> None:
        """Every byte of the stream, and nothing else."""
        async with aclosing(self.system.log.events.read()) as batches:
            async for _ in batches:
                pass

    async def read_and_hash(self) -> None:
        """The same, and one SHA-256 over all of it: what no verification can do without."""
        digest = hashlib.sha256()
        async with aclosing(self.system.log.events.read()) as batches:
            async for batch in batches:
                for one in batch:
                    digest.update(one.block)
                    digest.update(one.body)

    async def seal(self) -> None:
        """As the role does, without its lease."""
        log = self.system.log
        work = Sealing(
            feed=log.events,
            checkpoints=log.checkpoints,
            tiles=log.tiles,
            marks=log.marks,
            key=KEY,
            base=self.system.settings.log_name,
            report=_unexpected,
        )
        await work.open()
        due = SEAL_EVERY
        async with aclosing(log.events.read()) as batches:
            async for batch in batches:
                await work.apply(batch)
                if work.position >= due:
                    await work.seal()
                    due = work.position + SEAL_EVERY
        await work.seal()

    async def verify(self, *, rows: bool) -> None:
        """Everything but content; `rows`: with the read model, row by row."""
        options = Options(self.system.settings.log_name, (KEY.public,), rows=rows, content=False)
        report = await verify(SystemEvidence.of(self.system), options)
        assert report.ok, report.findings
        assert report.sealed == self.count

    async def project(self) -> None:
        """Build the read model that is verified."""
        worker = next(one for one in self.system.projections if one.name == "audit")
        task = asyncio.create_task(worker.run())
        try:
            await worker.wait(self.count)
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def proofs(self) -> tuple[float, int, float, int]:
        """Of inclusion and of consistency: milliseconds (median) and bytes each."""
        prover = await prover_of(self.system)
        choice = random.Random(1)
        found: list[float] = []
        for consistency in (False, True):
            took, sizes = [], []
            for _ in range(PROOFS):
                number = choice.randrange(1, self.count + 1)
                started = time.perf_counter()
                if consistency:
                    text = str(await prover.consistency(STREAM_LOG, number))
                else:
                    text = str(await prover.inclusion(STREAM_LOG, number))
                took.append((time.perf_counter() - started) * 1000)
                sizes.append(len(text.encode()))
            found += [statistics.median(took), statistics.median(sizes)]
        return found[0], int(found[1]), found[2], int(found[3])


async def _unexpected(event: RawEvent, reason: str) -> None:
    raise RuntimeError(f"event {event.position}: {reason}")


def in_memory(events: list[RawEvent]) -> tuple[float, float]:
    """Bare SHA-256 and the tree over the same events in memory, events a second."""
    started = time.perf_counter()
    for one in events:
        hashlib.sha256(one.block + one.body).digest()
    bare = time.perf_counter() - started
    started = time.perf_counter()
    tree = Frontier()
    for first in range(0, len(events), TAKEN):
        tree.extend(hashes_of(EVENTS, events[first : first + TAKEN]))
    tree.root()
    return len(events) / bare, len(events) / (time.perf_counter() - started)


async def run(count: int, rounds: int, folder: Path) -> None:
    """Measure, and print."""
    configure_logging("WARNING")
    settings = Settings(data_dir=folder, log_name="configtrail.example/bench")
    async with (
        embedded(folder, shared=False) as endpoints,
        open_system(at(settings, endpoints)) as system,
    ):
        bench = Bench(system, count)
        await publish(system.nc, history(count), EVENTS)
        sample: list[RawEvent] = []
        async with aclosing(system.log.events.read()) as batches:
            async for batch in batches:
                sample += batch
                if len(sample) >= min(count, 100_000):
                    break
        size = statistics.mean(len(one.block) + len(one.body) for one in sample)
        bare, tree = in_memory(sample)
        read = await rate(count, rounds, bench.read)
        hashed = await rate(count, rounds, bench.read_and_hash)
        sealed = await rate(count, 1, bench.seal)
        checked = await rate(count, rounds, lambda: bench.verify(rows=False))
        await bench.project()
        whole = await rate(count, rounds, lambda: bench.verify(rows=True))
        included_ms, included_size, grown_ms, grown_size = await bench.proofs()
    print(f"{count} events of {size:.0f} bytes, {rounds} rounds, {os.cpu_count()} cores, ", end="")
    print(f"Python {platform.python_version()}, sync_interval always, sealed every {SEAL_EVERY}")
    print(f"in memory: bare SHA-256          {bare:10,.0f} /s")
    print(f"in memory: leaf and tree         {tree:10,.0f} /s  {bare / tree:5.2f} x the time")
    print(f"stream: read                     {read:10,.0f} /s")
    print(f"stream: read and bare SHA-256    {hashed:10,.0f} /s")
    for name, found in (
        ("seal (leaves, tree, tiles, notes)", sealed),
        ("verify events and checkpoints    ", checked),
        ("verify with every row of Postgres", whole),
    ):
        print(f"{name}{found:10,.0f} /s  {found / hashed:5.0%} of reading and bare SHA-256")
    print(f"inclusion proof at {count}: {included_ms:.2f} ms, {included_size} bytes")
    print(f"consistency proof at {count}: {grown_ms:.2f} ms, {grown_size} bytes")


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="configtrail-bench-") as folder:
        path = Path(folder)
        path.chmod(0o711)
        uvloop.run(run(given.events, given.rounds, path / "data"))


if __name__ == "__main__":
    main()
