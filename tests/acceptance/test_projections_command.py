"""`configtrail projections` beside a program that serves, as an operator uses it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg

from adapters.embedded.nats import EmbeddedNats
from adapters.embedded.runtime import embedded
from projections import ALL
from projections.poison import MOST_IN_A_ROW
from tests.acceptance.program import CONFIGTRAIL
from tests.acceptance.scenario import TENANT, readings
from tests.acceptance.test_faults import Observer, program
from tests.support import eventually


class Commands:
    """Runs commands in an environment that says which servers they are for."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    async def run(self, *words: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        process = await asyncio.create_subprocess_exec(
            str(CONFIGTRAIL),
            "projections",
            *words,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        told, complained = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode is not None
        return process.returncode, told.decode(), complained.decode()

    async def json(self, *words: str) -> tuple[int, Any]:
        """Exit status and the document."""
        status, told, complained = await self.run(*words, "--json")
        assert told, complained
        return status, json.loads(told)


async def test_what_is_parked_in_a_data_folder_is_seen_and_skipped_without_waiting_for_the_rest(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data"
    commands = Commands(
        {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME")},
            "CONFIGTRAIL_DATA_DIR": str(folder),
        }
    )
    assert await commands.json("parked", "list") == (0, [])  # everything is made
    async with embedded(folder) as there, Observer(there.nats_url, there.postgres_dsn) as observer:
        positions = [await from_the_future(observer, f"r{n}") for n in range(MOST_IN_A_ROW)]
    status, listed = await commands.json("parked", "list", "--projection", "audit")
    assert (status, [one["position"] for one in listed]) == (0, positions[:-1])
    for words, wrong, what in (
        ((str(1 << 70),), 2, "POSITION"),
        ((str(positions[3]), "--reason", "\udcff"), 1, "must be printable"),
    ):
        status, _, told = await commands.run("parked", "skip", "audit", *words)
        assert (status, what in told) == (wrong, True), told
    assert (await commands.run("parked", "retry", "audit", str(1 << 70)))[0] == 2
    assert (await commands.run("parked", "skip", "audit", str(positions[3])))[0] == 0
    assert (await commands.run("verify", "audit"))[0] == 0
    status, listed = await commands.json("parked", "list", "--projection", "audit")
    assert [one["position"] for one in listed] == [one for one in positions if one != positions[3]]


async def test_status_rebuild_verify_and_parked_events(
    tmp_path: Path, nats_server: EmbeddedNats, postgres_dsn: str
) -> None:
    played = readings(devices=4, each=8, seed=5)
    async with (
        program(tmp_path / "program", nats_server.url, postgres_dsn) as running,
        Observer(nats_server.url, postgres_dsn) as observer,
        asyncpg.create_pool(postgres_dsn, min_size=1, max_size=1) as pool,
    ):
        commands = Commands(running.environment)
        await observer.play(played)
        await observer.settled(len(played), 0)

        status, found = await commands.json("status")
        assert status == 0
        assert {one["name"] for one in found} == {one.name for one in ALL}
        assert all(one["active"] and one["reason"] is None for one in found)

        assert (await commands.run("verify", "audit"))[0] == 0
        await pool.execute("UPDATE configtrail.audit SET actor = 'user:mallory' WHERE position = 3")
        status, verified = await commands.json("verify", "audit")
        assert status == 1
        assert verified["differences"] == [
            {"table": "audit", "kind": "differs", "key": {"position": "3"}}
        ]
        status, _, told = await commands.run("rebuild", "audit")
        assert (status, "and serving" in told) == (0, True)
        assert (await commands.run("verify", "audit"))[0] == 0
        assert (await commands.run("rebuild", "audit", "--cancel"))[0] == 1  # there is none

        await poisoned(commands, observer, pool)
        await stopped(commands, observer, pool)
        assert await running.stop() == 0


async def poisoned(commands: Commands, observer: Observer, pool: Any) -> None:
    """An event of a type from the future is parked, tried again and skipped."""
    future = await from_the_future(observer, "r9")
    position = str(future)

    async def parked() -> bool:
        return bool(await pool.fetchval("SELECT count(*) FROM configtrail.parked") == len(ALL))

    await eventually(parked)
    status, listed = await commands.json("parked", "list")
    assert status == 0
    assert {one["projection"] for one in listed} == {one.name for one in ALL}
    assert {one["position"] for one in listed} == {future}
    assert "does not know" in listed[0]["error"]
    assert (await commands.run("status"))[0] == 0  # it is seen, and the others go on
    assert (await commands.run("parked", "retry", "audit", position))[0] == 1
    status, _, told = await commands.run("rebuild", "audit")
    assert status == 1
    assert f"event {position} can't be taken in" in told
    assert (await commands.run("rebuild", "audit", "--cancel"))[0] == 0
    for _ in range(2):  # the second time there is nothing to skip any more
        status, _, told = await commands.run("parked", "skip", "audit", position, "--reason", "no")
        assert status == (1 if "no parked event" in told else 0)
    assert (await commands.run("rebuild", "audit"))[0] == 0
    assert (await commands.run("verify", "audit"))[0] == 0
    kinds = await pool.fetch(
        "SELECT action FROM configtrail.audit WHERE tenant_id = $1 AND device_id = 'r9'", TENANT
    )
    assert [kind for (kind,) in kinds] == ["config_event_skipped"]
    left = await pool.fetch("SELECT DISTINCT projection FROM configtrail.parked ORDER BY 1")
    assert [name for (name,) in left] == ["access", "backups", "diffs", "fleet"]


async def stopped(commands: Commands, observer: Observer, pool: Any) -> None:
    """When the events of ten devices can't be taken in, another program knows why all stands, and
    the operator sees what is in the way, and has it go on."""
    positions = [
        await from_the_future(observer, f"r{number}") for number in range(10, 10 + MOST_IN_A_ROW)
    ]

    async def all_stand() -> bool:
        return bool(await pool.fetchval("SELECT count(*) FROM configtrail.stops") == len(ALL))

    await eventually(all_stand)
    status, found = await commands.json("status")
    assert status == 1
    assert all("no single event's fault" in one["reason"] for one in found)
    stands = {one["name"]: one["position"] for one in found}
    status, listed = await commands.json("parked", "list", "--projection", "audit")
    assert (status, [one["position"] for one in listed]) == (0, positions[: MOST_IN_A_ROW - 1])
    assert stands["audit"] == positions[MOST_IN_A_ROW - 1] - 1
    # What is there is right, as far as it goes; other commands say why they can't be answered.
    assert (await commands.run("verify", "audit"))[0] == 0
    assert (await commands.run("rebuild", "audit"))[0] == 1
    assert (await commands.run("rebuild", "audit", "--cancel"))[0] == 0
    first = str(positions[0])
    assert (await commands.run("parked", "retry", "audit", first))[0] == 1
    assert (await commands.run("parked", "skip", "audit", first))[0] == 0

    async def goes_on() -> bool:
        at = "SELECT position FROM configtrail.checkpoints WHERE projection = 'audit'"
        return bool(await pool.fetchval(at) > positions[-1])

    await eventually(goes_on)
    assert "audit" not in {
        name
        for (name,) in await pool.fetch(
            "SELECT projection FROM configtrail.stops JOIN"
            " configtrail.checkpoints USING (projection, position)"
        )
    }


async def from_the_future(observer: Observer, device: str) -> int:
    """Publish an event that no program knows; its position."""
    headers = {
        "ce-id": f"future.{device}",
        "ce-type": "configtrail.FromTheFuture.v1",
        "ce-time": "2026-03-01T12:00:00Z",
        "ce-sequence": "1",
    }
    ack = await observer.js.publish(
        f"configtrail.{TENANT}.{device}.FromTheFuture", b"{}", headers=headers
    )
    return ack.seq
