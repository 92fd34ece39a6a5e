"""Whether the time of an answer tells that another tenant has something.

    python -m benchmarks.foreign_ids [--rounds 500]

A tenant's key asks, in turn and in any order, for what another tenant has and for what nobody has:
by the other's address, and for its ids under the asker's own. Told are the medians, their ratio,
and in how many rounds the other tenant's took longer: half of them, when time tells nothing. `z` is
how far from the half that is, in standard deviations. Ends with 1 when an answer differs, or a
ratio is off by more than a tenth and not by chance. No load beside it makes sense of it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import httpx
from pydantic import SecretStr

from adapters.embedded.runtime import embedded
from adapters.observability.logging import configure_logging
from adapters.settings import Settings
from domain.access import Role
from tests.rig import api_key
from tests.serving import TEXTS, Api, program

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINE, OTHERS = "acme", "other"
NO_SNAPSHOT = "00000000-0000-4000-8000-000000000000"
WARM_UP = 20
SURELY, MUCH = 4.0, 0.1


class Pair(NamedTuple):
    """Two addresses whose answers must be alike."""

    name: str
    foreign: str
    unknown: str


def pairs(snapshot: str, position: int) -> list[Pair]:
    """The other tenant has the device `theirs` with the snapshot, and the event at the position."""
    found = [
        Pair(f"tenant: {what}", f"/api/tenants/{OTHERS}/{what}", f"/api/tenants/nobody/{what}")
        for what in (
            *("devices", "fleet", "changes", "statistics", "audit-logs", "search?q=a", "keys"),
            *("inventory", "dead-letters", "log/checkpoint", "devices/theirs/snapshots"),
            *(f"devices/theirs/config/{snapshot}", f"log/proofs/{position}"),
        )
    ]
    home = f"/api/tenants/{MINE}"
    found += [
        Pair(f"device: {what}", f"{home}/devices/theirs{what}", f"{home}/devices/nobodys{what}")
        for what in (
            "",
            "/snapshots",
            "/validity",
            "/config-history",
            "/config/at?time=2026-04-01T00:00:00Z",
        )
    ]
    for what in ("", "/diff", "/download"):
        of = f"{home}/devices/mine/config/"
        found.append(Pair(f"snapshot{what}", f"{of}{snapshot}{what}", f"{of}{NO_SNAPSHOT}{what}"))
    log = f"{home}/log/proofs/"
    return [*found, Pair("event: proof", f"{log}{position}", f"{log}{position + 1_000_000}")]


async def filled(api: Api) -> tuple[str, int]:
    """A device of each tenant, with a few configurations; the other's last snapshot and event."""
    for tenant, device in ((MINE, "mine"), (OTHERS, "theirs")):
        for hours, text in enumerate(TEXTS):
            moment = NOON + timedelta(hours=hours)
            await api.system.intake.publish(tenant, device, text, moment)
    await api.settled()
    path = f"/api/tenants/{OTHERS}/devices/theirs/snapshots"
    newest = (await api.get(path))["items"][0]
    return newest["id"], newest["position"]


def plain(answer: httpx.Response, address: str) -> str:
    """What the answer says, but for what was asked for and for the request's own id."""
    body = answer.json()
    said = str({**body, "request_id": ""})
    for part in address.replace("?", "/").split("/"):
        if part in (OTHERS, "nobody", "theirs", "nobodys") or len(part) > 30 or part.isdigit():
            said = said.replace(part, "…")
    return f"{answer.status_code} {said}"


async def compared(http: httpx.AsyncClient, pair: Pair, rounds: int) -> bool:
    """Ask for both in turn, and print it; whether they are alike."""
    addresses = {"foreign": pair.foreign, "unknown": pair.unknown}
    times: dict[str, list[float]] = {name: [] for name in addresses}
    said: dict[str, str] = {}
    choice = random.Random(pair.name)
    for number in range(rounds + WARM_UP):
        for name in choice.sample(sorted(addresses), 2):
            started = time.perf_counter()
            answer = await http.get(addresses[name])
            took = (time.perf_counter() - started) * 1000
            if number >= WARM_UP:
                times[name].append(took)
            said[name] = plain(answer, addresses[name])
    medians = {name: statistics.median(each) for name, each in times.items()}
    ratio = medians["foreign"] / medians["unknown"]
    slower = sum(a > b for a, b in zip(times["foreign"], times["unknown"], strict=True)) / rounds
    z = (slower - 0.5) * 2 * rounds**0.5
    same = said["foreign"] == said["unknown"]
    alike = same and not (abs(z) > SURELY and abs(ratio - 1) > MUCH)
    print(
        f"{pair.name:45.45s}{said['foreign'][:4]}{medians['foreign']:9.2f}{medians['unknown']:9.2f}"
        f"{ratio:8.2f}{slower:8.0%}{z:7.1f}{'' if same else '   ANSWERS DIFFER'}",
        flush=True,
    )
    return alike


async def main(rounds: int) -> int:
    with tempfile.TemporaryDirectory(prefix="configtrail-ids-") as name:
        folder = Path(name)
        with (folder / "log").open("w") as log:
            configure_logging("INFO", stream=log)
            async with embedded(folder) as servers:
                settings = Settings(
                    nats_url=SecretStr(servers.nats_url),
                    postgres_dsn=SecretStr(servers.postgres_dsn),
                    data_dir=folder,
                    rate_per_second=1e6,
                    rate_burst=1_000_000,
                    seal_seconds=1.0,
                )
                async with program(settings) as api:
                    wanted = pairs(*await filled(api))
                    key = await api_key(api.system, Role.ADMIN, MINE)
                    mine = {"Authorization": f"Bearer {key}"}
                    print(f"{'':45s}     foreign  unknown   ratio  slower      z   (ms)")
                    async with httpx.AsyncClient(
                        base_url=api.address, headers=mine, timeout=30
                    ) as http:
                        alike = [await compared(http, one, rounds) for one in wanted]
    print(f"{alike.count(True)} of {len(alike)} alike")
    return 0 if all(alike) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    sys.exit(asyncio.run(main(parser.parse_args().rounds)))
