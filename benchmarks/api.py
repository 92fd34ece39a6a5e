"""The API's reads over a long history, at 1, 16 and 64 connections, beside a bare `SELECT 1`.

    python -m benchmarks.api [--audit 10000000] [--snapshots 1000000] [--seconds 5] [--folder NAME]

One process serves nothing but the API, as `configtrail up` would, with keys checked and the access
log written; another asks over kept connections, each connection one request after the other. The
bare endpoint is of the same server (but goes FastAPI's way to its function, where reads are gone to
directly) and asked in turn with each read: what a read costs is told as its share of that one's
rate, and as CPU of the serving process. Connections that ask again at once keep the server as busy
as it can be, so each answer waits for those of all others; `paced` is the p99 of the same read when
asked at half of the rate found, at moments fixed beforehand: an answer that is late counts from the
moment at which it should have been asked for. What a connection asks first is not counted.
`--folder` keeps what was loaded for another run, of a program whose tables are the same. Ends with
1 when the timeline, a list or a page of the audit log misses its target at 16 connections (p99
below 10 ms when paced, half of the bare rate).
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple, cast

import uvloop
from fastapi import Response
from pydantic import SecretStr

from adapters.composition import System, open_system
from adapters.embedded.runtime import embedded
from adapters.http.access import public
from adapters.http.app import create_app, serve
from adapters.http.direct import Direct
from adapters.observability.logging import configure_logging
from adapters.postgres.pool import open_pool
from adapters.roles.supervisor import running
from adapters.settings import Settings
from adapters.settling import settle_memory
from domain.access import EVERY_TENANT, Role
from tests.loading import Long, load

CONNECTIONS = (1, 16, 64)
TARGETS = ("timeline", "snapshots", "devices", "audit page")
TARGET_MS, TARGET_SHARE = 10.0, 0.5
WARM_UP_SECONDS = 0.5
ROUNDS = 5


def paths(long: Long) -> dict[str, list[str]]:
    """What is asked: of each read, addresses of many devices."""
    choice = random.Random(1)
    devices = [choice.randrange(long.devices) for _ in range(200)]
    tenants = [f"/api/tenants/{long.tenant(one)}" for one in devices]
    homes = [f"/api/tenants/{long.tenant(one)}/devices/{long.device(one)}" for one in devices]
    return {
        "timeline": [f"{home}/config-history?limit=50" for home in homes],
        "snapshots": [f"{home}/snapshots?limit=50" for home in homes],
        "devices": [f"{tenant}/devices?limit=50" for tenant in tenants],
        "audit page": [f"{tenant}/audit-logs?per_page=50" for tenant in tenants],
        "device": homes,
        "validity": [f"{home}/validity?limit=50" for home in homes],
        "fleet": [f"{tenant}/fleet?limit=50" for tenant in tenants],
        "changes": [f"{tenant}/changes?limit=50" for tenant in tenants],
        "statistics": [f"{tenant}/statistics" for tenant in tenants],
    }


class _Asking(asyncio.Protocol):
    """A connection that asks one request after the other."""

    def __init__(self, requests: list[bytes], number: int) -> None:
        self._requests = requests
        self._places = count(number, 7)
        self._got = bytearray()
        self._size = 0
        self._answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self._transport = cast(asyncio.WriteTransport, transport)

    async def ask(self) -> None:
        """The next request and its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._got.clear()
        self._size = 0
        self._transport.write(self._requests[next(self._places) % len(self._requests)])
        await self._answer

    async def at_once(self, until: float) -> list[float]:
        """Milliseconds of each answer: the next request goes out as soon as one is here."""
        times = []
        while (started := time.perf_counter()) < until:
            await self.ask()
            times.append((time.perf_counter() - started) * 1000)
        return times

    async def paced(self, begin: float, every: float, until: float) -> list[float]:
        """Milliseconds of each answer, from when it was to be asked for: each `every` seconds."""
        times = []
        planned = begin
        while planned < until:
            await asyncio.sleep(planned - time.perf_counter())
            await self.ask()
            times.append((time.perf_counter() - planned) * 1000)
            planned += every
        return times

    def data_received(self, data: bytes) -> None:
        self._got += data
        if not self._size:
            head, found, _ = self._got.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                self._answer.set_exception(RuntimeError(f"answered {bytes(head[:40])!r}"))
                return
            length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
            self._size = len(head) + 4 + int(length)
        if len(self._got) >= self._size:
            self._answer.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError())

    def close(self) -> None:
        """Nothing is asked any more."""
        self._transport.close()


def ask(
    port: int, key: str, asked: list[str], connections: int, rate: float | None, seconds: float
) -> list[float]:
    """Milliseconds of each answer, of requests at a rate, or each as soon as the last one is here.
    Runs in a process of its own."""
    return uvloop.run(_ask(port, key, asked, connections, rate, seconds))


async def _ask(
    port: int, key: str, asked: list[str], connections: int, rate: float | None, seconds: float
) -> list[float]:
    head = f"HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n"
    requests = [f"GET {path} {head}".encode() for path in asked]
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(partial(_Asking, requests, number), "127.0.0.1", port))[1]
        for number in range(connections)
    ]
    await asyncio.gather(*(one.ask() for one in opened))
    begin = time.perf_counter()
    end = begin + seconds
    if rate is None:
        found = await asyncio.gather(*(one.at_once(end) for one in opened))
    else:
        found = await asyncio.gather(
            *(
                one.paced(begin + number / rate, connections / rate, end)
                for number, one in enumerate(opened)
            )
        )
    for one in opened:
        one.close()
    return [answer for times in found for answer in times]


def percentile(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))]


async def prepare(dsn: str, long: Long) -> None:
    """The history, unless it is there."""
    async with open_pool(dsn) as pool, pool.acquire() as connection:
        if await connection.fetchval("SELECT to_regclass('configtrail.audit') IS NULL"):
            started = time.perf_counter()
            await load(connection, long)
            print(f"loaded in {time.perf_counter() - started:.0f} s")


async def pretend(system: System, long: Long) -> None:
    """Checkpoints as if the history had come from the stream; only keys do."""
    identity = await system.events.identity()
    for worker in system.projections:
        one = worker.projection
        if one.name != "access":
            await system.pool.execute(
                "INSERT INTO configtrail.checkpoints (projection, version, stream,"
                " stream_created, position, tables, build) VALUES ($1, $2, $3, $4, $5, $6, 0)"
                " ON CONFLICT DO NOTHING",
                one.name,
                one.version,
                identity.name,
                identity.created,
                long.audit,
                list(one.tables),
            )


async def make_key(system: System) -> str:
    """A key that may ask everything."""
    access = next(one for one in system.projections if one.name == "access")
    async with running({"access": access.run}):
        made = await system.keys.create(
            EVERY_TENANT, f"benchmark-{token_hex(4)}", Role.ADMIN, actor="system:benchmark"
        )
        await access.wait(made.position)
    return made.text


async def measure(system: System, long: Long, seconds: float, only: str) -> bool:
    """Ask everything and print it; whether the targets are met."""
    app = create_app(system)

    @app.get("/bare", dependencies=[public()])
    async def bare() -> Response:
        return Response(str(await system.pool.fetchval("SELECT 1")))

    app.state.authorise.know(app)
    # It is gone to as directly as the reads are.
    app.router.middleware_stack = Direct(app)
    key = await make_key(system)
    settle_memory()
    addresses: asyncio.Queue[str] = asyncio.Queue()
    server = asyncio.create_task(serve(app, "127.0.0.1", 0, started=addresses.put_nowait))
    port = int((await addresses.get()).rpartition(":")[2])
    met = True
    context = multiprocessing.get_context("spawn")
    print(
        f"{'':13s}connections       /s  of bare     CPU  p50 / p95 / p99 ms      paced"
        "      bare: /s     p99   paced"
    )
    with ProcessPoolExecutor(1, mp_context=context) as asking:
        for name, asked in paths(long).items():
            if only and name not in only.split(","):
                continue
            for connections in CONNECTIONS:
                bare_it = partial(ask, port, key, ["/bare"], connections)
                read_it = partial(ask, port, key, asked, connections)
                found = await beside(asking, read_it, bare_it, seconds)
                print(f"{name:13s}{connections:11d}{found}", flush=True)
                if name in TARGETS and connections == 16:
                    met = met and found.paced < TARGET_MS and found.share >= TARGET_SHARE
    server.cancel()
    await asyncio.wait([server])
    return met


class Found(NamedTuple):
    """A read beside the bare endpoint. `share` is the median of the rounds; `cpu` are milliseconds
    of this process for each answer; `paced` are the p99 of both at half of their rates."""

    times: list[float]
    bare: list[float]
    seconds: float
    share: float
    cpu: float
    paced: float
    bare_paced: float

    def __str__(self) -> str:
        told = " / ".join(f"{percentile(self.times, one):.1f}" for one in (0.5, 0.95, 0.99))
        return (
            f"{len(self.times) / self.seconds:9,.0f}{self.share:9.0%}{self.cpu:8.2f}  {told:22s}"
            f"{self.paced:7.1f}{len(self.bare) / self.seconds:14,.0f}"
            f"{percentile(self.bare, 0.99):8.1f}{self.bare_paced:8.1f}"
        )


async def beside(
    asking: ProcessPoolExecutor,
    read_it: Callable[[float | None, float], list[float]],
    bare_it: Callable[[float | None, float], list[float]],
    seconds: float,
) -> Found:
    """Ask both in turn, so that what else the machine does concerns both."""
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(asking, read_it, None, WARM_UP_SECONDS)
    times: list[float] = []
    bare: list[float] = []
    shares: list[float] = []
    used = 0.0
    for _ in range(ROUNDS):
        bare_round = await loop.run_in_executor(asking, bare_it, None, seconds / ROUNDS)
        began = time.process_time()
        read_round = await loop.run_in_executor(asking, read_it, None, seconds / ROUNDS)
        used += time.process_time() - began
        shares.append(len(read_round) / len(bare_round))
        times += read_round
        bare += bare_round
    paced = []
    for asked, found in ((read_it, times), (bare_it, bare)):
        rate = len(found) / seconds / 2
        paced.append(sorted(await loop.run_in_executor(asking, asked, rate, seconds)))
    return Found(
        sorted(times),
        sorted(bare),
        seconds,
        statistics.median(shares),
        used * 1000 / len(times),
        *(percentile(one, 0.99) for one in paced),
    )


async def main(audit: int, snapshots: int, seconds: float, folder: Path, only: str) -> int:
    each = 100
    long = Long(
        tenants=20, devices=max(20, snapshots // each // 20 * 20), snapshots=each, audit=audit
    )
    with (folder / "api.log").open("w") as log:
        configure_logging("INFO", stream=log)
        async with embedded(folder) as servers:
            await prepare(servers.postgres_dsn, long)
            settings: dict[str, Any] = {
                "nats_url": SecretStr(servers.nats_url),
                "postgres_dsn": SecretStr(servers.postgres_dsn),
                "data_dir": folder,
                "rate_per_second": 1e6,
                "rate_burst": 1_000_000,
            }
            async with open_system(Settings(**settings)) as system:
                await pretend(system, long)
                print(
                    f"\n{long.audit:,} audit rows, {long.devices * long.snapshots:,} snapshots of "
                    f"{long.devices:,} devices, {long.tenants} tenants; {seconds:g} s each, warm; "
                    f"load average at the begin {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores"
                )
                met = await measure(system, long, seconds, only)
    print(
        f"targets at 16 connections: {'met' if met else 'MISSED'}; "
        f"load average {os.getloadavg()[0]:.1f}"
    )
    return 0 if met else 1


@contextmanager
def kept_or_not(folder: Path | None) -> Iterator[Path]:
    """The folder, or one for this run alone."""
    if folder is not None:
        folder.mkdir(exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="configtrail-api-") as name:
        yield Path(name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audit", type=int, default=10_000_000)
    parser.add_argument("--snapshots", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", default="", help="reads, with commas between")
    given = parser.parse_args()
    with kept_or_not(given.folder) as where:
        sys.exit(uvloop.run(main(given.audit, given.snapshots, given.seconds, where, given.only)))
