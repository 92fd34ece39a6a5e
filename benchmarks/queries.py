"""How long the API's queries take over a long history, at its beginning, middle and end.

    python -m benchmarks.queries [--audit 10000000] [--snapshots 1000000] [--asks 200]

Loads the tables set by set (some minutes, some 10 GB), then asks each query for random devices, one
after the other, as the role that answers for a tenant, and prints p50, p95 and p99 in milliseconds.
Each device is asked for at every place, in turns: who asks first reads pages from the disk that the
others then find in memory. Before that it prints how many pages each query touches, which no load
changes; `--asks 0` prints that alone. The same at a tenth of the history says whether they stay
flat.
"""

from __future__ import annotations

import argparse
import random
import secrets
import statistics
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.postgres.pool import open_pool
from projections.rows import Pool
from projections.tenancy import READER, TenantReader
from tests.loading import Long, load
from tests.queries import Paging, queries

SHARES = {"beginning": 0.0, "middle": 0.5, "end": 1.0}
WARM_UP = 20
PAGED = 15


async def measured(pool: Pool, long: Long, asks: int) -> dict[str, list[list[float]]]:
    """Milliseconds of each query, for each place in the history."""
    found: dict[str, list[list[float]]] = {}
    choice = random.Random(1)
    places = list(SHARES.values())
    for name in queries(long, pool, 0, 0.0):
        times: dict[float, list[float]] = {share: [] for share in places}
        for ask in range(asks + WARM_UP):
            device = choice.randrange(long.devices)
            reader = TenantReader(pool, long.tenant(device))
            first = ask % len(places)
            for share in places[first:] + places[:first]:
                query = queries(long, reader, device, share)[name]
                started = time.perf_counter()
                await query(None)
                if ask >= WARM_UP:
                    times[share].append((time.perf_counter() - started) * 1000)
        found[name] = [sorted(times[share]) for share in places]
    return found


async def paged(pool: Pool, long: Long) -> dict[str, list[int]]:
    """How many pages each query touches, for each place: the median of some devices."""
    found: dict[str, list[int]] = {}
    choice = random.Random(2)
    devices = [choice.randrange(long.devices) for _ in range(PAGED)]
    for share in SHARES.values():
        pages: dict[str, list[int]] = {}
        for device in devices:
            reader = Paging(TenantReader(pool, long.tenant(device)))
            for name, query in queries(long, reader, device, share).items():
                reader.pages = 0
                await query(None)
                pages.setdefault(name, []).append(reader.pages)
        for name, counts in pages.items():
            found.setdefault(name, []).append(int(statistics.median(counts)))
    return found


def percentile(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))]


async def run(long: Long, asks: int) -> float:
    """Load, ask, print; the worst p99 of all."""
    with tempfile.TemporaryDirectory(prefix="configtrail-queries-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        postgres = EmbeddedPostgres(folder / "postgres", password=secrets.token_hex(16))
        await postgres.start()
        try:
            async with open_pool(postgres.dsn) as pool:
                started = time.perf_counter()
                async with pool.acquire() as connection:
                    await load(connection, long)
                size = await pool.fetchval("SELECT pg_database_size(current_database())")
                print(
                    f"\n{long.audit:,} audit rows, {long.devices * long.snapshots:,} snapshots of "
                    f"{long.devices:,} devices, {long.tenants} tenants; {size / 1e9:.1f} GB, "
                    f"loaded in {time.perf_counter() - started:.0f} s; {asks} asks each"
                )
            async with open_pool(postgres.dsn, role=READER) as readers:
                pages = await paged(readers, long)
                found = await measured(readers, long, asks) if asks else {}
        finally:
            await postgres.stop()
    print(f"{'pages touched':26s}" + "".join(f"{place:>12s}" for place in SHARES))
    for query, counts in pages.items():
        print(f"{query:26s}" + "".join(f"{count:12d}" for count in counts))
    if not found:
        return 0.0
    print(f"{'p50 / p95 / p99 in ms':26s}" + "".join(f"{place:>24s}" for place in SHARES))
    for query, places in found.items():
        cells = (
            " / ".join(f"{percentile(times, share):.2f}" for share in (0.5, 0.95, 0.99))
            for times in places
        )
        print(f"{query:26s}" + "".join(f"{one:>24s}" for one in cells))
    return max(percentile(times, 0.99) for places in found.values() for times in places)


async def main(audit: int, snapshots: int, asks: int) -> None:
    each = 100
    worst = []
    for part in (10, 1):
        long = Long(
            tenants=20,
            devices=max(20, snapshots // each // part // 20 * 20),
            snapshots=each,
            audit=audit // part,
        )
        worst.append(await run(long, asks))
    if not asks:
        return
    print(
        f"\nworst p99: {worst[0]:.1f} ms at a tenth, {worst[1]:.1f} ms at all of it (target 10 ms)"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audit", type=int, default=10_000_000)
    parser.add_argument("--snapshots", type=int, default=1_000_000)
    parser.add_argument("--asks", type=int, default=200)
    given = parser.parse_args()
    sys.exit(uvloop.run(main(given.audit, given.snapshots, given.asks)))
