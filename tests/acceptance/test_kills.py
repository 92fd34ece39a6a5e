"""Workers, Postgres and nats-server killed in mid-work leave the rows of an undisturbed run.

A short run; `python -m benchmarks.kills` makes the long one.
"""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.killing import killed_rows
from tests.generators import played

DEVICES = [("acme", f"r{number}") for number in range(40)]


async def test_kills_of_workers_and_servers_change_no_row(tmp_path: Path) -> None:
    events = played(1, 4_000, DEVICES).events
    disturbed, calm, victims = await killed_rows(tmp_path, events, kills=12, seed=3)
    assert disturbed == calm
    assert set(victims) == {"worker", "postgres", "nats"}
    assert len(disturbed["audit"]) == len(events)
