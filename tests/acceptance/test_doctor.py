"""`configtrail doctor` on installations that are fine, fresh, broken and gone."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path

import pytest

from adapters.embedded.nats import EmbeddedNats
from adapters.embedded.process import free_port
from adapters.jetstream.streams import EVENTS
from tests.acceptance.program import CONFIGTRAIL, Program
from tests.behaviour.event_store import append_many
from tests.rig import rig
from tests.support import eventually

KEY = "EHk0kAIC3m4SpXb0fHCq0o9lDkZlNm9Q6JQ5n0yqQ1s="
OTHER_KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
Findings = dict[str, list[dict[str, str]]]


@pytest.fixture
def environment(nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {
        **kept,
        "CONFIGTRAIL_NATS_URL": nats_server.url,
        "CONFIGTRAIL_POSTGRES_DSN": postgres_dsn,
        "CONFIGTRAIL_MASTER_KEY": KEY,
        "CONFIGTRAIL_DATA_DIR": str(tmp_path / "data"),
    }


async def run(environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        str(CONFIGTRAIL),
        "doctor",
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def findings(environment: dict[str, str]) -> tuple[int, Findings]:
    status, out, _ = await run(environment, "--json")
    found: Findings = {}
    for one in json.loads(out):
        found.setdefault(one["subject"], []).append(one)
    return status, found


async def test_a_fresh_installation_has_nothing_wrong(environment: dict[str, str]) -> None:
    status, found = await findings(environment)
    assert status == 0
    assert found["NATS server"][0]["verdict"] == "fine"
    assert re.fullmatch(r"nats-server [0-9.]+, API level \d+", found["NATS server"][0]["told"])
    assert found[EVENTS][0]["told"] == "is not there yet"
    assert "sync_interval: always" in found["durability"][0]["mend"]


async def test_a_running_one_is_fine_and_what_breaks_is_told_and_mended(
    environment: dict[str, str], nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    program = Program(
        tmp_path / "program", nats_url=nats_server.url, postgres_dsn=postgres_dsn, key=KEY
    )
    await program.start()
    try:
        async with rig(nats_server.url) as opened:
            await append_many(opened.events, 3)

            async def fine() -> bool:
                status, found = await findings(environment)
                worst = {one["verdict"] for name in found for one in found[name]}
                return status == 0 and worst == {"fine", "notice"} and len(found) > 12

            await eventually(fine, within=60)
            status, found = await findings(environment)
            assert {name for name in found if found[name][0]["verdict"] != "fine"} == {"durability"}
            assert found["read model audit"][0]["told"] == "holds all events up to 3"
            assert found["clock of NATS"][0]["verdict"] == "fine"

            live = (await opened.js.stream_info(EVENTS)).config
            await opened.js.update_stream(live.evolve(max_age=3600.0))
            status, found = await findings({**environment, "CONFIGTRAIL_MASTER_KEY": OTHER_KEY})
            assert status == 1
            assert "max_age is 3600.0 and must be" in found[EVENTS][0]["told"]
            assert "configtrail doctor --mend" in found[EVENTS][0]["told"]
            assert found["keys"][0]["verdict"] == "wrong"
            status, out, told = await run(environment, "--mend")
            assert status == 0
            assert "CONFIGTRAIL_EVENTS: max_age was 3600.0 and is" in told
            assert "fine    CONFIGTRAIL_EVENTS: 3 messages" in out
    finally:
        await program.kill()


async def test_servers_that_are_gone_are_named(environment: dict[str, str]) -> None:
    gone = {
        **environment,
        "CONFIGTRAIL_NATS_URL": f"nats://127.0.0.1:{free_port()}",
        "CONFIGTRAIL_POSTGRES_DSN": f"postgresql://nobody@127.0.0.1:{free_port()}/none",
    }
    status, out, _ = await run(gone)
    assert status == 1
    assert "WRONG   NATS: NATS does not answer" in out
    assert "WRONG   Postgres: no connection" in out
