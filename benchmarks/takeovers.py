"""How long it takes until another worker goes on where the active one was killed, or hangs.

    python -m benchmarks.takeovers [--takeovers 10] [--seed 1]

Events come all the time, so workers are ended amid a batch as often as between two. A takeover is
over when every read model has an event that came after the worker was ended. Prints each, the
median and the worst. Exits with 1 when one took longer than `TARGET_SECONDS`, or a row differs from
those of an undisturbed fold.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from nats.aio.client import Client

from adapters.jetstream.connection import connect
from adapters.jetstream.source import JetStreamSource
from adapters.jetstream.streams import EVENTS, events_stream_config
from adapters.postgres.pool import open_pool
from domain.envelope import StoredEvent
from projections import ALL
from projections.checkpoints import wait_projected
from projections.rows import Pool
from tests.acceptance.killing import projecting, rows, servers, undisturbed
from tests.generators import played
from tests.publishing import publish
from tests.support import eventually

TARGET_SECONDS = 5.0
ENDS = {"kill -9": signal.SIGKILL, "SIGSTOP": signal.SIGSTOP}
# So many events at a time, one after the other with a pause.
PIECE, PAUSE_SECONDS = 5, 0.1
# A worker is ended at a random moment of this time after it has everything.
MOMENT_SECONDS = 2.0

# The leases of read models that a program holds; and whether it was ever there.
_LEASES = """
    SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND application_name = $1
"""
_ASKING = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"


@asynccontextmanager
async def flowing(nc: Client, events: list[StoredEvent]) -> AsyncIterator[None]:
    """The events come, one piece after the other."""

    async def flow() -> None:
        for start in range(0, len(events), PIECE):
            await publish(nc, events[start : start + PIECE], EVENTS)
            await asyncio.sleep(PAUSE_SECONDS)
        raise RuntimeError("there are too few events for so many takeovers")

    task = asyncio.create_task(flow())
    try:
        yield
    finally:
        task.cancel()
        [ended] = await asyncio.gather(task, return_exceptions=True)
    if isinstance(ended, Exception):
        raise ended


async def leading(pool: Pool, name: str) -> bool:
    """Whether the program holds every lease."""
    return bool(await pool.fetchval(_LEASES, name) == len(ALL))


async def standing_by(pool: Pool, name: str) -> bool:
    """Whether the program asks for leases."""
    return bool(await pool.fetchval(_ASKING, name))


async def takeovers(
    folder: Path, events: list[StoredEvent], count: int, seed: int
) -> tuple[dict[str, list[float]], bool]:
    """Seconds by how the worker was ended, and whether all rows are right."""
    choice = random.Random(seed)
    found: dict[str, list[float]] = {how: [] for how in ENDS}
    async with servers(folder) as (nats, postgres), open_pool(postgres.dsn) as pool:
        nc = await connect(nats.url, name="takeovers")
        source = JetStreamSource(nc, nc.jetstream())
        await nc.jetstream().add_stream(events_stream_config())
        names = (f"worker {number}" for number in itertools.count())
        name = next(names)
        processes = [await projecting(folder, nats, postgres, name)]
        try:
            await eventually(partial(leading, pool, name), within=60)
            async with flowing(nc, events):
                for how in [one for one in ENDS for _ in range(count)]:
                    name = next(names)
                    processes.append(await projecting(folder, nats, postgres, name))
                    await eventually(partial(standing_by, pool, name), within=60)
                    await asyncio.sleep(choice.random() * MOMENT_SECONDS)
                    processes[0].send_signal(ENDS[how])
                    ended = time.perf_counter()
                    news = await source.head() + 1
                    await wait_projected(pool, ALL, news, 60, interval=0.01)
                    found[how].append(time.perf_counter() - ended)
                    print(f"  {how}: {found[how][-1]:.2f} s", flush=True)
                    # What hung wakes up, with what it was about to do, and can do no harm.
                    if how == "SIGSTOP":
                        processes[0].send_signal(signal.SIGCONT)
                    await eventually(partial(leading, pool, name), within=60)
                    await killed(processes.pop(0))
            await wait_projected(pool, ALL, await source.head(), 60)
            disturbed = await rows(pool)
        finally:
            for process in processes:
                await killed(process)
        same = disturbed == await undisturbed(pool, nc, await source.head())
        await nc.close()
    return found, same


async def killed(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


async def main(count: int, seed: int) -> int:
    devices = [("acme", f"r{number}") for number in range(200)]
    events = played(seed, count * 3_000, devices).events
    with tempfile.TemporaryDirectory(prefix="configtrail-takeovers-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        found, same = await takeovers(folder, events, count, seed)
    for how, times in found.items():
        print(f"{how}: median {statistics.median(times):.2f} s, worst {max(times):.2f} s")
    print("all rows are those of an undisturbed run" if same else "ROWS DIFFER")
    return 0 if same and max(map(max, found.values())) <= TARGET_SECONDS else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--takeovers", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.takeovers, given.seed)))
