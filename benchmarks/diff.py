"""How long comparing takes, beside `git diff --no-index` and `difflib` in the same run.

    .venv/bin/python -m benchmarks.diff [--lines 500,5000,50000,200000] [--runs 3]

Times are medians of processor time, in milliseconds: other work on the machine counts little.
`git` is a process of its own and reads files; its time includes that. `difflib` gets a minute.
Figures of different runs can't be compared; ratios of one run can.
"""

from __future__ import annotations

import argparse
import difflib
import multiprocessing
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from adapters.demo.export import wrapped
from domain.canonical import canonicalise
from domain.diffing import text_diff
from domain.redaction import Redactor
from domain.semantic.comparing import compare
from domain.semantic.telling import tell

DIFFLIB_SECONDS = 60
CASES = ("few", "many", "moved", "4 lines", "150 lines")


def export(lines: int, seed: int) -> list[str]:
    """The physical lines of a made-up export: rules, lists, leases and routes."""
    choice = random.Random(seed)

    def address() -> str:
        return ".".join(str(choice.randrange(1, 255)) for _ in range(4))

    def times(share: int, line: Callable[[int], str]) -> list[str]:
        return [line(n) for n in range(lines * share // 120)]

    logical = [
        "/ip dhcp-server lease",
        *times(
            20,
            lambda n: (
                f'add address={address()} comment="host {n}" mac-address='
                f"02:00:00:{n >> 16 & 255:02X}:{n >> 8 & 255:02X}:{n & 255:02X} server=lan"
            ),
        ),
        "/ip firewall address-list",
        *times(30, lambda n: f"add address={address()} list=blocked-{n % 7}"),
        "/ip firewall filter",
        *times(
            25,
            lambda n: (
                f'add action=accept chain=input comment="rule {n} for {address()}" '
                f"dst-port={choice.randrange(1, 60000)} protocol=tcp src-address={address()}"
            ),
        ),
        "/ip route",
        *times(10, lambda n: f"add disabled=no dst-address={address()}/32 gateway={address()}"),
    ]
    physical = [piece for line in logical for piece in wrapped(line, 80)][:lines]
    while physical[-1].endswith("\\"):  # a text that ends in a wrapped line is an odd one
        physical.pop()
    return physical


def pair(case: str, lines: int) -> tuple[list[str], list[str]]:
    """An old text and a new one, as lines."""
    choice = random.Random(lines)
    if case.endswith("lines"):
        kinds = [f"add address=10.0.0.{n % 250} list=l{n}" for n in range(int(case.split()[0]))]
        old, new = ([choice.choice(kinds) for _ in range(lines - 1)] for _ in range(2))
        return ["/ip firewall filter", *old], ["/ip firewall filter", *new]
    old = export(lines, lines)
    new = list(old)
    places = [n for n, line in enumerate(new) if line.startswith("add") and line[-1] != "\\"]
    if case == "few":
        for at in choice.sample(places, 10):
            new[at] += " log=yes"
    elif case == "many":
        for at in choice.sample(places, len(places) * 3 // 10):
            new[at] += " log=yes"
    else:
        size = max(1, len(new) // 40)
        blocks = [new[at : at + size] for at in range(0, len(new), size)]
        choice.shuffle(blocks)
        new = [line for block in blocks for line in block]
    return old, new


def spent() -> float:
    """Seconds of processor time that this process and its ended children have taken."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def milliseconds(work: Callable[[], object], runs: int) -> float:
    """The median time of the work."""
    taken = []
    for _ in range(runs):
        started = spent()
        work()
        taken.append((spent() - started) * 1e3)
        if sum(taken) > 10_000:
            break
    return statistics.median(taken)


def _with_difflib(old: str, new: str) -> None:
    for _ in difflib.unified_diff(old.splitlines(True), new.splitlines(True)):
        pass


def difflib_milliseconds(old: str, new: str) -> float | None:
    """The time of one run; None when it did not end in time."""
    started = spent()
    worker = multiprocessing.get_context("fork").Process(target=_with_difflib, args=(old, new))
    worker.start()
    worker.join(DIFFLIB_SECONDS)
    if worker.is_alive():
        worker.kill()
        worker.join()
        return None
    return (spent() - started) * 1e3


def measure(case: str, lines: int, runs: int, folder: Path) -> str:
    """A row of the table."""
    old, new = ("\n".join([*one, ""]) for one in pair(case, lines))
    paths = [folder / "old", folder / "new"]
    for path, text in zip(paths, (old, new), strict=True):
        path.write_text(text)
    raw = [text.encode() for text in (old, new)]
    before, after = (canonicalise(text, "routeros") for text in (old, new))
    redactor = Redactor(b"k" * 32, "r1")
    canonical = milliseconds(lambda: canonicalise(old, "routeros"), runs)
    semantic = milliseconds(lambda: tell(compare(before, after), redactor), runs)
    made = text_diff(raw[0], raw[1], before_label="old", after_label="new")
    unified = milliseconds(
        lambda: text_diff(raw[0], raw[1], before_label="old", after_label="new"), runs
    )
    command = ["git", "diff", "--no-index", "--patience", *map(str, paths)]
    git = milliseconds(lambda: subprocess.run(command, capture_output=True, check=False), runs)
    slow = difflib_milliseconds(old, new)
    told = "> 60,000" if slow is None else f"{slow:,.0f}"
    speed = len(old) / 1e3 / canonical
    coarse = "c" if made.coarse else " "
    return (
        f"{lines:>8,} {len(old) / 1e3:>9,.0f} {case:>10} {speed:>10.0f} {semantic:>10,.2f} "
        f"{unified:>9,.1f}{coarse} {git:>9,.1f} {unified / git:>6.2f} {told:>9}"
    )


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lines", default="500,5000,50000,200000")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    if shutil.which("git") is None:
        sys.stderr.write("git is needed beside it\n")
        return 1
    git = subprocess.run(["git", "version"], capture_output=True, text=True, check=True)
    sys.stdout.write(
        f"Python {platform.python_version()}, pygit2 {version('pygit2')}, "
        f"{git.stdout.strip()}, {os.cpu_count()} processors, "
        f"load {os.getloadavg()[0]:.1f} at the beginning, medians of {given.runs} runs; "
        "c: coarse, beyond the limit\n"
        f"{'lines':>8} {'kB':>9} {'case':>10} {'canon MB/s':>10} {'semantic':>10} "
        f"{'unified':>9}  {'git':>9} {'ratio':>6} {'difflib':>9}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        for lines in map(int, given.lines.split(",")):
            for case in CASES:
                sys.stdout.write(f"{measure(case, lines, given.runs, Path(folder))}\n")
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
