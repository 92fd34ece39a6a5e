"""The API's reads over a long history, at 1, 16 and 64 connections, beside a bare `SELECT 1`.

    python -m benchmarks.api [--audit 10000000] [--snapshots 1000000] [--seconds 5]

One process serves, another asks over kept connections, each connection one request after the
other. The bare endpoint is of the same server in the same run: what a read costs is told as its
share of that one's rate. Ends with 1 when the timeline, a list or a page of the audit log misses
its target at 16 connections (p99 below 10 ms, half of the bare rate).
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import secrets
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import uvloop
from fastapi import Response
from pydantic import SecretStr

from adapters.composition import System, open_system
from adapters.embedded.nats import EmbeddedNats
from adapters.embedded.postgres import EmbeddedPostgres
from adapters.http.access import public
from adapters.http.app import create_app, serve
from adapters.settings import Settings
from projections.schema import lock_schemas
from tests.loading import Long, load

CONNECTIONS = (1, 16, 64)
TARGETS = ("timeline", "snapshots", "audit page")
TARGET_MS, TARGET_SHARE = 10.0, 0.5
WARM_UP_SECONDS = 1.0


def paths(long: Long) -> dict[str, list[str]]:
    """What is asked: of each read, addresses of many devices."""
    choice = random.Random(1)
    devices = [choice.randrange(long.devices) for _ in range(200)]
    tenants = [f"/api/tenants/{long.tenant(one)}" for one in devices]
    homes = [f"/api/tenants/{long.tenant(one)}/devices/{long.device(one)}" for one in devices]
    return {
        "bare SELECT 1": ["/bare"],
        "timeline": [f"{home}/config-history?limit=50" for home in homes],
        "snapshots": [f"{home}/snapshots?limit=50" for home in homes],
        "audit page": [f"{tenant}/audit-logs?per_page=50" for tenant in tenants],
        "devices": [f"{tenant}/devices?limit=50" for tenant in tenants],
        "device": homes,
        "validity": [f"{home}/validity?limit=50" for home in homes],
        "fleet": [f"{tenant}/fleet?limit=50" for tenant in tenants],
        "changes": [f"{tenant}/changes?limit=50" for tenant in tenants],
        "statistics": [f"{tenant}/statistics" for tenant in tenants],
    }


def ask(port: int, asked: list[str], connections: int, seconds: float) -> list[float]:
    """Milliseconds of each answer. Runs in a process of its own."""
    return uvloop.run(_ask(port, asked, connections, seconds))


async def _ask(port: int, asked: list[str], connections: int, seconds: float) -> list[float]:
    begin = time.perf_counter() + WARM_UP_SECONDS
    end = begin + seconds
    found = await asyncio.gather(
        *(_connection(port, asked, number, begin, end) for number in range(connections))
    )
    return [one for times in found for one in times]


async def _connection(
    port: int, asked: list[str], number: int, begin: float, end: float
) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    times: list[float] = []
    place = number
    while (started := time.perf_counter()) < end:
        path = asked[place % len(asked)]
        place += 7
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{path}: {head[:40]!r}")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(size)
        if started >= begin:
            times.append((time.perf_counter() - started) * 1000)
    writer.close()
    return times


def percentile(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))]


async def prepare(system: System, long: Long) -> None:
    """The history, with checkpoints as if it had come from the stream."""
    async with system.pool.acquire() as connection:
        await load(connection, long)
        async with connection.transaction():
            await lock_schemas(connection)
            identity = await system.events.identity()
            for worker in system.projections:
                one = worker.projection
                await connection.execute(
                    "INSERT INTO configtrail.checkpoints (projection, version, stream,"
                    " stream_created, position, tables, build) VALUES ($1, $2, $3, $4, $5, $6, 0)",
                    one.name,
                    one.version,
                    identity.name,
                    identity.created,
                    long.audit,
                    list(one.tables),
                )


async def measure(system: System, long: Long, seconds: float) -> bool:
    """Ask everything and print it; whether the targets are met."""
    app = create_app(system)

    @app.get("/bare", dependencies=[public()])
    async def bare() -> Response:
        return Response(str(await system.pool.fetchval("SELECT 1")))

    addresses: asyncio.Queue[str] = asyncio.Queue()
    server = asyncio.create_task(serve(app, "127.0.0.1", 0, started=addresses.put_nowait))
    port = int((await addresses.get()).rpartition(":")[2])
    met = True
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as asking:
        loop = asyncio.get_running_loop()
        print(f"{'':16s}" + "".join(f"{f'{one} connections':>44s}" for one in CONNECTIONS))
        print(f"{'':16s}" + f"{'/s   of bare   p50 / p95 / p99 ms':>44s}" * len(CONNECTIONS))
        bare_rates: dict[int, float] = {}
        for name, asked in paths(long).items():
            cells: list[str] = []
            for connections in CONNECTIONS:
                times: list[float] = sorted(
                    await loop.run_in_executor(asking, ask, port, asked, connections, seconds)
                )
                rate = len(times) / seconds
                share = rate / bare_rates.setdefault(connections, rate)
                told = [percentile(times, one) for one in (0.5, 0.95, 0.99)]
                cells.append(
                    f"{rate:,.0f}  {share:6.0%}   " + " / ".join(f"{one:.1f}" for one in told)
                )
                if name in TARGETS and connections == 16:
                    met = met and told[2] < TARGET_MS and share >= TARGET_SHARE
            print(f"{name:16s}" + "".join(f"{one:>44s}" for one in cells), flush=True)
    server.cancel()
    await asyncio.wait([server])
    return met


async def main(audit: int, snapshots: int, seconds: float) -> int:
    each = 100
    long = Long(
        tenants=20, devices=max(20, snapshots // each // 20 * 20), snapshots=each, audit=audit
    )
    with tempfile.TemporaryDirectory(prefix="configtrail-api-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        postgres = EmbeddedPostgres(folder / "postgres", password=secrets.token_hex(16))
        nats = EmbeddedNats(
            folder / "nats",
            encryption_key=secrets.token_hex(32),
            user="benchmark",
            password=secrets.token_hex(16),
        )
        await postgres.start()
        await nats.start()
        try:
            settings: dict[str, Any] = {
                "nats_url": SecretStr(nats.url),
                "postgres_dsn": SecretStr(postgres.dsn),
                "data_dir": folder,
            }
            async with open_system(Settings(**settings)) as system:
                started = time.perf_counter()
                await prepare(system, long)
                print(
                    f"\n{long.audit:,} audit rows, {long.devices * long.snapshots:,} snapshots of "
                    f"{long.devices:,} devices, {long.tenants} tenants, loaded in "
                    f"{time.perf_counter() - started:.0f} s; {seconds:g} s each, warm"
                )
                met = await measure(system, long, seconds)
        finally:
            await nats.stop()
            await postgres.stop()
    print(f"targets at 16 connections: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audit", type=int, default=10_000_000)
    parser.add_argument("--snapshots", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    sys.exit(uvloop.run(main(given.audit, given.snapshots, given.seconds)))
