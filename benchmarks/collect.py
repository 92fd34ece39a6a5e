"""Collecting from many devices: how many a second, beside the bare SSH handshake and RANCID.

    python -m benchmarks.collect [--devices 1000] [--size 30000] [--at-once 10 100 300]

All devices are doubles of RouterOS in this process, behind one address, on the same machine as the
collector: half of the work that is measured is theirs. The collector's time goes from its first
login until the last device's export is durable on the intake and its attempt is told. The bare
handshake is asyncssh's connect and close, with the same algorithms, the same password, the same
number at once and the same doubles; the bare reading runs the same export besides, and throws away
what comes. A round is one of each, one after the other, and a ratio is the median of the rounds'
own: what else the machine does then touches all three. The processor's time for a device is that of
the process that logs in alone, and touched least. RANCID is its collector for RouterOS (`mtlogin`
with the commands of `rancid -t routeros`), ten at once, where Debian's package is there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import asyncssh
import msgspec
import uvloop
from msgspec import Struct

from adapters.collecting.schedule import BUCKET as SCHEDULE
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.streams import INTAKE
from adapters.settling import settle_memory
from adapters.ssh.algorithms import ENCRYPTION
from benchmarks.cpu import spent
from tests.doubles.routeros import RouterOSDouble, export_text, serving
from tests.fleet_of_doubles import PASSWORD, CollectorProcess, register
from tests.rig import Rig, rig
from tests.support import eventually

MTLOGIN = Path("/usr/lib/rancid/bin/mtlogin")
RANCID_COMMANDS = (
    "system package print detail without-paging;system routerboard print;"
    "system license print;export"
)
RANCID_DEVICES = 20
RANCID_AT_ONCE = 10


class Pace(Struct, frozen=True):
    """Devices a second, and the milliseconds of the processor that the client spent on each."""

    rate: float
    milliseconds: float


async def bare(port: int, count: int, at_once: int, reading: int) -> Pace:
    """Handshakes and logins, without anything else; or with the commands of a reading."""
    turns = asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        async with turns:
            connection = await asyncssh.connect(
                "127.0.0.1",
                port,
                config=None,
                known_hosts=None,
                username=f"b{number}",
                password=PASSWORD,
                client_keys=None,
                agent_path=None,
                gss_auth=False,
                gss_kex=False,
                preferred_auth="publickey,password,keyboard-interactive",
                compression_algs=["none"],
                encryption_algs=list(ENCRYPTION),
            )
            if reading:
                await connection.run('/export show-sensitive; :put "end"', encoding=None)
            connection.abort()

    settle_memory()  # as the collector does
    started, processor = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one(number) for number in range(count)))
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    return Pace(count / seconds, 1000 * processor / count)


async def bare_in_a_process(port: int, count: int, at_once: int, *, reading: bool) -> Pace:
    """The same from a process of its own, as the collector is one."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.collect", "--bare", str(port), str(count)),
        *(str(at_once), str(int(reading))),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return msgspec.json.decode(out, type=Pace)


class Run:
    """One collector over all devices, from its first login to the last durable reading."""

    def __init__(self, parts: Rig, double: RouterOSDouble, url: str, count: int) -> None:
        self._parts = parts
        self._double = double
        self._url = url
        self._count = count

    async def measure(self, at_once: int) -> tuple[Pace, float]:
        """Its pace, and the collector's largest resident memory in MB."""
        await self._parts.js.purge_stream(INTAKE)
        await self._parts.js.purge_stream(f"KV_{SCHEDULE}")
        await self._parts.js.purge_stream("KV_CONFIGTRAIL_LEASES")
        self._double.logins.clear()
        collector = CollectorProcess(self._url, at_once=at_once, lease_seconds=20)
        first: list[tuple[float, float]] = []

        def begun(_: str) -> None:
            if not first:
                first.append((time.perf_counter(), spent(collector.pid)))

        self._double.on_login = begun
        await collector.start()
        try:
            await eventually(self._all_told, within=600)
            seconds = time.perf_counter() - first[0][0]
            processor = spent(collector.pid) - first[0][1]
            memory = _peak_megabytes(collector.pid)
        finally:
            await collector.kill()
        if sorted(set(self._double.logins)) != sorted(self._double.logins):
            raise SystemExit("a device was read twice")
        if self._double.overlaps:
            raise SystemExit("a device was read twice at once")
        return Pace(self._count / seconds, 1000 * processor / self._count), memory

    async def _all_told(self) -> bool:
        for stream in (INTAKE, f"KV_{SCHEDULE}"):
            if (await self._parts.js.stream_info(stream)).state.messages < self._count:
                return False
        return True


class Round(Struct, frozen=True):
    """One of each, one after the other."""

    handshakes: Pace
    readings: Pace
    ours: Pace


def told(width: int, rounds: list[Round], memory: float) -> str:
    """The line for one number at once."""

    def middle(value: Callable[[Round], float]) -> float:
        return median(map(value, rounds))

    return (
        f"{width:4d} at once: {middle(lambda one: one.ours.rate):6.1f} devices/s; "
        f"{middle(lambda one: one.ours.rate / one.handshakes.rate):4.0%} of bare handshakes "
        f"({middle(lambda one: one.handshakes.rate):.1f}/s), "
        f"{middle(lambda one: one.ours.rate / one.readings.rate):4.0%} of bare readings "
        f"({middle(lambda one: one.readings.rate):.1f}/s); processor for a device "
        f"{middle(lambda one: one.ours.milliseconds):.2f} ms, of a bare handshake "
        f"{middle(lambda one: one.handshakes.milliseconds):.2f}, of a bare reading "
        f"{middle(lambda one: one.readings.milliseconds):.2f}; memory {memory:.0f} MB"
    )


def _peak_megabytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def rancid(port: int, folder: Path) -> float | None:
    """Devices a second of RANCID's collector; None where it is not installed."""
    if not MTLOGIN.exists():
        return None
    secret = folder / "cloginrc"
    ssh = folder / "ssh"
    ssh.write_text(
        "#!/bin/sh\nexec ssh -o StrictHostKeyChecking=no -o LogLevel=ERROR "
        f'-o UserKnownHostsFile={folder}/known "$@"\n'
    )
    ssh.chmod(0o700)
    secret.write_text(
        f"add method * {{ssh:{port}}}\nadd user * d0\nadd password * {{{PASSWORD}}}\n"
        f"add sshcmd * {{{ssh}}}\n"
    )
    secret.chmod(0o600)
    turns = asyncio.Semaphore(RANCID_AT_ONCE)

    async def one(number: int) -> bytes:
        async with turns:
            process = await asyncio.create_subprocess_exec(
                *(str(MTLOGIN), "-f", str(secret), "-t", "60", "-c", RANCID_COMMANDS),
                f"127.0.1.{number + 1}",
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, "HOME": str(folder)},
            )
            out, _ = await process.communicate()
            return out

    started = time.perf_counter()
    outputs = await asyncio.gather(*(one(number) for number in range(RANCID_DEVICES)))
    rate = RANCID_DEVICES / (time.perf_counter() - started)
    whole = sum(b"/system identity" in out for out in outputs)
    if whole < RANCID_DEVICES:
        print(f"  RANCID got only {whole} of {RANCID_DEVICES} exports whole: {outputs[0][-200:]!r}")
    return rate


async def main(count: int, size: int, widths: list[int], repeats: int) -> None:
    names = [f"d{number:04}" for number in range(count)]
    text = export_text("7.14.3", size=size)
    double = RouterOSDouble(password=PASSWORD, text_of=lambda _: text, listen="0.0.0.0")
    folder = Path(tempfile.mkdtemp(prefix="configtrail-collect-"))
    folder.chmod(0o711)
    server = EmbeddedNats(
        folder / "nats", encryption_key=secrets.token_hex(32), user="bench", password="bench"
    )
    await server.start()
    try:
        async with serving(double), rig(server.url) as parts:
            print(
                f"{count} devices, exports of {len(text)} bytes, nats-server with sync_interval "
                f"always, {os.cpu_count()} cores, asyncssh {asyncssh.__version__}; medians of "
                f"{repeats} rounds"
            )
            await register(parts, double.port, names)
            run = Run(parts, double, server.url, count)
            pace, memory = await run.measure(widths[-1])
            print(
                f"first contact, {widths[-1]} at once: {pace.rate:.0f} devices/s, {memory:.0f} MB"
            )
            # From now on the collector knows the devices' versions, as it does day by day.
            async with parts.recording():
                await parts.intake_empty()
            best = 0.0
            for width in widths:
                rounds, memories = [], []
                for _ in range(repeats):
                    handshakes, readings = [
                        await bare_in_a_process(double.port, count, width, reading=reading)
                        for reading in (False, True)
                    ]
                    pace, memory = await run.measure(width)
                    rounds.append(Round(handshakes, readings, pace))
                    memories.append(memory)
                best = max(best, median(one.ours.rate for one in rounds))
                print(told(width, rounds, max(memories)), flush=True)
            theirs = await rancid(double.port, folder)
            if theirs is None:
                print("RANCID is not installed (Debian's package rancid): not compared")
            else:
                print(
                    f"RANCID, {RANCID_AT_ONCE} at once: {theirs:.2f} devices/s; ours is "
                    f"{best / theirs:.0f} times that"
                )
    finally:
        await server.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--size", type=int, default=30_000)
    parser.add_argument("--at-once", type=int, nargs="+", default=[10, 100, 300])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bare", type=int, nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.bare:
        sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(bare(*given.bare))))
    else:
        uvloop.run(main(given.devices, given.size, given.at_once, given.repeats))
