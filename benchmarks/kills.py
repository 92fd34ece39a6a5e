"""200 kills over 50,000 events: the rows must be those of an undisturbed run.

    python -m benchmarks.kills [--kills 200] [--events 50000] [--seed 1]

Prints every hundredth of the way, and exits with 1 when a row differs.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.acceptance.killing import killed_rows
from tests.generators import played


async def main(kills: int, count: int, seed: int) -> int:
    devices = [("acme", f"r{number}") for number in range(max(10, count // 100))]
    events = played(seed, int(count * 1.2), devices).events[:count]
    if len(events) < count:
        raise SystemExit(f"only {len(events)} events came of it; ask for fewer")
    started = time.monotonic()

    def progress(kill: int, victim: str) -> None:
        if kill % max(1, kills // 20) == 0:
            seconds = time.monotonic() - started
            print(f"{seconds:6.0f} s  kill {kill:4d} of {kills}: {victim}", flush=True)

    with tempfile.TemporaryDirectory(prefix="configtrail-kills-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        disturbed, calm, victims = await killed_rows(
            folder, events, kills=kills, seed=seed, progress=progress
        )
    seconds = time.monotonic() - started
    same = disturbed == calm
    print(f"{len(events)} events, {kills} kills ({dict(victims)}), {seconds:.0f} s")
    for table, found in disturbed.items():
        print(f"  {table:16s} {len(found):8d} rows  {'same' if found == calm[table] else 'DIFFER'}")
    print("all rows are those of an undisturbed run" if same else "ROWS DIFFER")
    return 0 if same else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.kills, given.events, given.seed)))
