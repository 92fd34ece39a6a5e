"""Importing a git history, all of it: read, recorded, compared, and shown by every read model.

    .venv/bin/python -m benchmarks.importing [--commits 20000] [--devices 200] [--limit 240]

The repository is made up: exports of 20 to 60 kB, each commit a few edits of one device. It is
imported as by the command alone, with servers and all roles of its own. Told are the seconds of
each stage, the memory of the process as commits go by, and who spent the processor's time. Ends
with status 1 when it took longer than the limit, or when memory grew with the commits.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from adapters.cli.session import Need, projected, session
from adapters.importing.git import Repository
from adapters.importing.importer import Imported, import_readings
from adapters.observability.logging import configure_logging
from adapters.settings import Settings
from benchmarks.cpu import spent
from benchmarks.diff import export

START = datetime(2024, 1, 1, tzinfo=UTC)
MARKS = (0.25, 0.5, 1.0)
# Python's allocator and the servers' read-ahead settle within the first quarter.
MOST_GROWTH_MB = 40
LOOK_SECONDS = 0.1


def versions(commits: int, devices: int) -> Iterator[tuple[str, str]]:
    """Names and texts, commit by commit: each device in its turn, with a few edits."""
    choice = random.Random(commits)
    texts = [export(choice.randrange(380, 1_150), seed) for seed in range(devices)]
    for commit in range(commits):
        lines = texts[commit % devices]
        if commit >= devices:
            for _ in range(choice.randrange(1, 5)):
                _edit(lines, choice)
        header = f"# 2024-01-01 00:{commit // devices:02}:00 by RouterOS 7.14.3"
        yield f"r{commit % devices:03}", "\n".join([header, *lines, ""])


def _edit(lines: list[str], choice: random.Random) -> None:
    """Change, add or remove one line that stands for itself."""
    while True:
        at = choice.randrange(1, len(lines))
        if lines[at].startswith("add") and not lines[at].endswith("\\"):
            break
    draw = choice.random()
    if draw < 0.6:
        words = [one for one in lines[at].split(" ") if not one.startswith("disabled=")]
        lines[at] = " ".join([*words, choice.choice(("disabled=yes", "disabled=no"))])
    elif draw < 0.8:
        lines.insert(at, lines[at].replace("add ", f"add comment=n{choice.randrange(9999)} ", 1))
    elif not lines[at - 1].startswith("/"):
        del lines[at]


def make_repository(path: Path, commits: int, devices: int) -> None:
    """A bare repository with the history, by `git fast-import`."""
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(path)], check=True)
    command = ["git", "-C", str(path), "fast-import", "--quiet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as git:
        assert git.stdin is not None
        for number, (name, text) in enumerate(versions(commits, devices)):
            raw = text.encode()
            at = int(START.timestamp()) + number * 60
            git.stdin.write(
                b"commit refs/heads/main\n"
                b"committer oxidized <oxidized@example.net> %d +0000\n"
                b"data 6\nupdate\nM 644 inline %s\ndata %d\n%s\n"
                % (at, name.encode(), len(raw), raw)
            )
    if git.returncode:
        raise SystemExit("git fast-import failed")


class Watch:
    """How far the stages are and when, and how much memory the process has meanwhile."""

    def __init__(self, commits: int) -> None:
        self._commits = commits
        self._done = {"sent": 0, "recorded": 0, "compared": 0}
        self.ended: dict[str, float] = {}
        self.memory: dict[int, float] = {}

    def told(self, stage: str, number: int) -> None:
        """What the importer tells."""
        self._done[stage] = number
        self.ended[stage] = time.perf_counter()

    async def run(self) -> None:
        """Look at the memory, as commits are sent and then as they are compared."""
        while True:
            for share in MARKS:
                mark = int(self._commits * share)
                if self._done["sent"] >= mark:
                    self.memory.setdefault(mark, resident())
            await asyncio.sleep(LOOK_SECONDS)


def resident() -> float:
    """The process's resident memory in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def measure(commits: int, devices: int, limit: float, folder: Path) -> int:
    """Import, print, and judge."""
    bare = folder / "history.git"
    making = multiprocessing.get_context("spawn").Process(
        target=make_repository, args=(bare, commits, devices)
    )
    making.start()
    await asyncio.to_thread(making.join)
    settings = Settings(data_dir=folder / "data", tenant="bench")
    watch = Watch(commits)
    async with session(settings, Need.EVERYTHING) as opened:
        others = spent(os.getpid()) - time.process_time()
        own, started = time.process_time(), time.perf_counter()
        readings = (await asyncio.to_thread(Repository(bare).history)).readings
        read = time.perf_counter()
        looking = asyncio.create_task(watch.run())
        done = await import_readings(opened.system, "bench", readings, watch.told)
        compared = time.perf_counter()
        await projected(opened.system, await opened.system.events.head(), limit)
        shown = time.perf_counter()
        own = time.process_time() - own
        others = spent(os.getpid()) - time.process_time() - others
        looking.cancel()
        stages = {"history read": read, **watch.ended, "all compared": compared, "shown": shown}
    seconds = shown - started
    for stage, at in stages.items():
        print(f"{stage:14}{at - started:8.1f} s")
    return _judged(done, commits, seconds, limit, watch, own, others)


def _judged(
    done: Imported,
    commits: int,
    seconds: float,
    limit: float,
    watch: Watch,
    own: float,
    others: float,
) -> int:
    print(f"{commits / seconds:.0f} commits/s; {done.created} new, {done.diffs} differences")
    print(f"processor: {own:.0f} s of the command's own, {others:.0f} s of servers and workers")
    for mark, megabytes in watch.memory.items():
        print(f"memory at {mark:7,} commits sent: {megabytes:.0f} MB")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"memory at most: {peak:.0f} MB")
    grown = peak - watch.memory[int(commits * MARKS[0])]
    if done.created + done.duplicates != commits or done.refused or done.diffs_failed:
        print("not all of it came in")
        return 1
    if seconds > limit or grown > MOST_GROWTH_MB:
        print(f"beyond the bounds of {limit:g} s and of {MOST_GROWTH_MB} MB of growth")
        return 1
    return 0


def main() -> int:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commits", type=int, default=20_000)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--limit", type=float, default=240.0)
    options = parser.parse_args()
    configure_logging("WARNING")
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f} at the beginning; {options.commits} commits of "
        f"{options.devices} devices; nats-server with sync_interval always"
    )
    with tempfile.TemporaryDirectory(prefix="configtrail-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        return uvloop.run(measure(options.commits, options.devices, options.limit, folder))


if __name__ == "__main__":
    sys.exit(main())
