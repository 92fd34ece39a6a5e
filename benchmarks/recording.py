"""How fast one process records 30 kB exports: durable, encrypted, decided and acknowledged.

    .venv/bin/python -m benchmarks.recording [--messages 4000] [--rounds 5]

Beside it, in the same run, a consumer that does the same work message by message: fetch one, check,
canonicalise, seal, one transaction in Postgres, one acknowledgement. Figures are messages a second,
minimum, median and maximum over the rounds; ratios are more solid than rates.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from nats.js.api import AckPolicy, ConsumerConfig

from adapters.cli.session import at
from adapters.composition import System, open_system, roles
from adapters.crypto import blob
from adapters.crypto.blob import BlobContext
from adapters.embedded.runtime import embedded
from adapters.jetstream.progress import wait_acknowledged
from adapters.jetstream.streams import INTAKE
from adapters.observability.logging import configure_logging
from adapters.roles import recorder, supervisor
from adapters.settings import Settings
from domain.canonical import canonicalise, detect_platform
from domain.ids import canonical_fingerprint
from domain.intake import check_text, parse_observation

TENANT = "bench"
DEVICES = 200
PUBLISHERS = 256
START = datetime(2026, 1, 1, tzinfo=UTC)

_BASELINE_TABLE = """
    CREATE TABLE IF NOT EXISTS baseline (
        tenant text, device text, collected_at timestamptz, fingerprint text, sealed bytea
    )
"""
_BASELINE_INDEX = "CREATE INDEX IF NOT EXISTS by_device ON baseline (device, collected_at)"
_LATEST = "SELECT fingerprint FROM baseline WHERE device = $1 ORDER BY collected_at DESC LIMIT 1"
_INSERT = "INSERT INTO baseline VALUES ($1, $2, $3, $4, $5)"


def export(device: int, revision: int, moment: datetime) -> str:
    """A RouterOS export of about 30 kB; `revision` is its configuration."""
    rules = "".join(
        f'add action=accept chain=forward comment="rule {number} of {device}" '
        f"dst-address=10.{device}.{number % 256}.0/24 protocol=tcp\n"
        for number in range(290)
    )
    return (
        f"# {moment:%Y-%m-%d %H:%M:%S} by RouterOS 7.14\n/ip firewall filter\n{rules}"
        f"/system identity\nset name=r{device}-{revision}\n"
    )


class Bench:
    """A connected system on servers of its own, and how far the clock of the history is."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._moment = START
        self._revision = 0

    async def preload(self, count: int, *, new: bool) -> int:
        """Put `count` readings on the intake: each a new configuration, or none. The last's
        sequence."""
        lanes = asyncio.Semaphore(PUBLISHERS)

        async def send(number: int) -> int:
            async with lanes:
                device = number % DEVICES
                moment = self._moment + timedelta(seconds=number)
                revision = self._revision + number // DEVICES + 1 if new else self._revision
                return await self._system.intake.publish(
                    TENANT, f"r{device}", export(device, revision, moment), moment
                )

        # In order of time for each device: a round of all devices after the other.
        last = 0
        for start in range(0, count, DEVICES):
            last = max(
                await asyncio.gather(*(send(n) for n in range(start, min(count, start + DEVICES))))
            )
        self._moment += timedelta(seconds=count)
        if new:
            self._revision += (count + DEVICES - 1) // DEVICES
        return last

    async def record(self, count: int, *, new: bool) -> float:
        """Messages a second that the recorder takes off a full intake."""
        last = await self.preload(count, new=new)
        started = time.perf_counter()
        async with supervisor.running({"recorder": roles(self._system)["recorder"]}):
            await wait_acknowledged(self._system.js, INTAKE, recorder.CONSUMER, last)
        return count / (time.perf_counter() - started)

    async def one_by_one(self, count: int) -> float:
        """Messages a second with one await and one transaction a message."""
        await self._system.js.delete_consumer(INTAKE, recorder.CONSUMER)
        await self.preload(count, new=True)
        subscription = await self._system.js.pull_subscribe(
            "config.snapshot.>",
            "baseline",
            INTAKE,
            config=ConsumerConfig(ack_policy=AckPolicy.EXPLICIT),
        )
        keys = await self._system.keyring.tenant(TENANT)
        started = time.perf_counter()
        async with self._system.pool.acquire() as connection:
            for _ in range(count):
                [msg] = await subscription.fetch(1)
                taken = parse_observation(msg.data, datetime.now(UTC))
                assert taken.config_text is not None
                text = check_text(taken.config_text, taken.sha256_hash)
                kind = detect_platform(taken.config_text)
                form = canonicalise(taken.config_text, kind)
                fingerprint = canonical_fingerprint(keys.fingerprint_key, form.rules, form.text)
                async with connection.transaction():
                    latest = await connection.fetchval(_LATEST, taken.device_id)
                    if latest != fingerprint:
                        context = BlobContext(TENANT, taken.device_id, "snapshot")
                        sealed, _ = blob.seal(keys, context, text)
                        await connection.execute(
                            _INSERT,
                            TENANT,
                            taken.device_id,
                            taken.collected_at,
                            fingerprint,
                            sealed,
                        )
                await msg.ack_sync()
        rate = count / (time.perf_counter() - started)
        await self._system.js.delete_consumer(INTAKE, "baseline")
        return rate


async def measure(messages: int, rounds: int, folder: Path) -> None:
    """Run and print."""
    settings = Settings(data_dir=folder)
    async with embedded(folder, shared=False) as servers, open_system(at(settings, servers)) as own:
        async with own.pool.acquire() as connection:
            await _prepare(connection)
        bench = Bench(own)
        await bench.record(DEVICES, new=True)
        ways: dict[str, Callable[[], Coroutine[Any, Any, float]]] = {
            "new snapshots": lambda: bench.record(messages, new=True),
            "duplicates": lambda: bench.record(messages, new=False),
            "one by one": lambda: bench.one_by_one(max(100, messages // 20)),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                rates[name].append(await way())
    _print(messages, rounds, rates)


async def _prepare(connection: Any) -> None:
    await connection.execute(_BASELINE_TABLE)
    await connection.execute(_BASELINE_INDEX)


def _print(messages: int, rounds: int, rates: dict[str, list[float]]) -> None:
    size = len(export(1, 1, START))
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores, "
        f"asyncpg {asyncpg.__version__}; exports of {size} bytes, {DEVICES} devices, "
        f"{messages} messages a round, {rounds} rounds; nats-server with sync_interval always"
    )
    print(f"{'':16}{'min':>9}{'median':>9}{'max':>9}   messages/s")
    for name, found in rates.items():
        print(f"{name:16}{min(found):9.0f}{statistics.median(found):9.0f}{max(found):9.0f}")
    base = rates.pop("one by one")
    for name, found in rates.items():
        ratio = statistics.median([one / other for one, other in zip(found, base, strict=True)])
        print(f"{name} / one by one: {ratio:.1f}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak memory of the process, publishers included: {memory} MB")


def main() -> None:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    configure_logging("WARNING")
    with tempfile.TemporaryDirectory(prefix="configtrail-bench-") as folder:
        Path(folder).chmod(0o755)
        uvloop.run(measure(options.messages, options.rounds, Path(folder) / "data"))


if __name__ == "__main__":
    main()
