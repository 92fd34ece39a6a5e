"""A thousand listeners of the live feed on one process: does each hear of everything, and how soon.

    python -m benchmarks.listeners [--listeners 1000] [--events 50]

One process serves the API, another holds the listeners, each a connection of its own. Events are
appended one after the other; told is how long after the append a listener has them, the last one of
all as well, and what a listener costs the server in memory. Ends with 1 when a listener missed an
event, or had one twice.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import uvloop
from pydantic import SecretStr

from adapters.composition import open_system, roles
from adapters.embedded.runtime import embedded
from adapters.http.app import create_app, serve
from adapters.observability.logging import configure_logging
from adapters.roles.supervisor import running
from adapters.settings import Settings
from domain.access import EVERY_TENANT, Role

TENANT = "acme"
# How many connect at once, so that no queue of the kernel's overflows.
CONNECTING = 50
PATIENCE_SECONDS = 60.0


class _Heard:
    """What one listener got: each event's position, and when."""

    def __init__(self) -> None:
        self.events: list[tuple[int, float]] = []

    async def listen(self, port: int, key: str, begun: asyncio.Event, wanted: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET /api/tenants/{TENANT}/events HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {key}\r\n\r\n".encode()
        )
        position = 0
        while len(self.events) < wanted:
            line = (await reader.readline()).strip()
            if line.startswith(b"id: "):
                begun.set()
                position = int(line[4:])
            elif line.startswith(b"data: "):
                self.events.append((position, time.monotonic()))
        writer.close()


def hold(line: Connection, port: int, key: str, listeners: int, wanted: int) -> None:
    """The process of the listeners: says when all listen, and in the end what each heard."""
    line.send(uvloop.run(_hold(line, port, key, listeners, wanted)))


async def _hold(
    line: Connection, port: int, key: str, listeners: int, wanted: int
) -> list[list[tuple[int, float]]]:
    all_of_them = [_Heard() for _ in range(listeners)]
    tasks = []
    for begin in range(0, listeners, CONNECTING):
        signs = []
        for one in all_of_them[begin : begin + CONNECTING]:
            signs.append(asyncio.Event())
            tasks.append(asyncio.create_task(one.listen(port, key, signs[-1], wanted)))
        await asyncio.wait_for(asyncio.gather(*(one.wait() for one in signs)), PATIENCE_SECONDS)
    line.send("all listen")
    await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)
    for task in tasks:
        task.cancel()
    return [one.events for one in all_of_them]


def resident() -> int:
    """Bytes of memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


async def measure(folder: Path, listeners: int, events: int) -> int:
    """Serve, append and compare; the exit status."""
    async with embedded(folder, shared=False) as servers:
        settings = Settings(
            nats_url=SecretStr(servers.nats_url),
            postgres_dsn=SecretStr(servers.postgres_dsn),
            data_dir=folder,
            rate_per_second=100_000,
            rate_burst=100_000,
        )
        async with open_system(settings) as system, running(roles(system)):
            key = await system.keys.create(EVERY_TENANT, "all", Role.ADMIN, actor="user:benchmark")
            for worker in system.projections:
                await worker.wait(key.position)
            started: asyncio.Queue[str] = asyncio.Queue()
            app = create_app(system)
            server = asyncio.create_task(
                serve(
                    app,
                    "127.0.0.1",
                    0,
                    started=started.put_nowait,
                    stopping=system.live.stop,
                )
            )
            port = int((await started.get()).rpartition(":")[2])
            before = resident()
            mine, theirs = multiprocessing.get_context("spawn").Pipe()
            process = multiprocessing.get_context("spawn").Process(
                target=hold, args=(theirs, port, key.text, listeners, events), daemon=True
            )
            process.start()
            await asyncio.to_thread(mine.recv)
            grown = resident() - before
            appended = {}
            for number in range(events):
                made = await system.keys.create(TENANT, f"k{number}", Role.VIEWER, actor="user:b")
                appended[made.position] = time.monotonic()
            heard: list[list[tuple[int, float]]] = await asyncio.to_thread(mine.recv)
            await asyncio.to_thread(process.join)
            server.cancel()
            await asyncio.wait([server])
    return told(appended, heard, grown)


def told(appended: dict[int, float], heard: list[list[tuple[int, float]]], grown: int) -> int:
    """Print the figures; 1 when any listener has not heard of each event once, in order."""
    wrong = sum([position for position, _ in one] != sorted(appended) for one in heard)
    waits = sorted((at - appended[position]) * 1e3 for one in heard for position, at in one)
    last = [
        max(at for one in heard for each, at in one if each == position) - appended[position]
        for position in appended
        if not wrong
    ]
    print(f"{len(heard)} listeners, {len(appended)} events, on one process")
    print(f"  not every event, once and in order: {wrong} listeners")
    if waits:
        p50, p99 = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
        print(f"  heard after the append: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    if last:
        print(f"  the last of all: median {median(last) * 1e3:.1f} ms")
    print(f"  the server's memory a listener: {grown / len(heard) / 1024:.1f} KiB")
    return 1 if wrong else 0


def main() -> None:
    """Measure with servers of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listeners", type=int, default=1000)
    parser.add_argument("--events", type=int, default=50)
    given = parser.parse_args()
    configure_logging("WARNING")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * given.listeners)), hard))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o711)
        sys.exit(uvloop.run(measure(path / "data", given.listeners, given.events)))


if __name__ == "__main__":
    main()
