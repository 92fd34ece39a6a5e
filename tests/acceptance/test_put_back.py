"""NATS was put back to an older copy under a Postgres that has seen more: the whole program."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.streams import EVENTS, events_stream_config
from adapters.postgres.pool import open_pool
from projections import ALL
from projections.checkpoints import checkpoints
from tests.acceptance.program import CONFIGTRAIL, Program
from tests.acceptance.test_faults import program
from tests.behaviour.event_store import append_many
from tests.rig import MASTER, rig
from tests.support import eventually


async def command(running: Program, *words: str) -> tuple[int, str]:
    """Exit status and all that it said."""
    process = await asyncio.create_subprocess_exec(
        str(CONFIGTRAIL),
        *words,
        env=running.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, told.decode()


async def test_verify_with_servers_of_its_own_tells_of_a_lost_past_too(tmp_path: Path) -> None:
    """Nothing runs: the command has its own servers, and brings the read models up to date."""
    alone = Program(tmp_path, nats_url=None, postgres_dsn=None, key=MASTER)
    data = tmp_path / "data"
    hold = ("retention", "hold", "--reason", "r")
    assert (await command(alone, *hold, "kept"))[0] == 0
    await asyncio.to_thread(shutil.copytree, data / "nats", tmp_path / "copy")
    assert (await command(alone, *hold, "lost"))[0] == 0
    status, told = await command(alone, "audit", "seal")
    assert (status, "signed up to position 2" in told) == (0, True), told
    assert (await command(alone, *hold, "newer"))[0] == 0
    status, told = await command(alone, "audit", "verify")
    assert (status, "1 events came after the last checkpoint" in told) == (0, True), told
    await asyncio.to_thread(shutil.rmtree, data / "nats")
    await asyncio.to_thread(shutil.copytree, tmp_path / "copy", data / "nats")
    status, told = await command(alone, "audit", "verify", "--json")
    assert status == 1, told
    findings = json.loads(told[told.index("{") :])["findings"]
    # The checkpoints are of the copy too: what was signed is known from Postgres.
    assert [(one["what"], one["kind"], one["position"]) for one in findings] == [
        ("event", "truncated", 2),
        ("audit row", "forked", 0),
    ]


async def test_up_ends_where_the_stream_is_made_anew_and_says_what_to_do(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    async with (
        program(tmp_path / "program", nats_server.url, postgres_dsn) as running,
        open_pool(postgres_dsn, application_name="test") as pool,
        rig(nats_server.url) as opened,
    ):
        await append_many(opened.events, 3, "kept")
        await caught_up(pool, 3)
        await opened.js.delete_stream(EVENTS)
        await opened.js.add_stream(events_stream_config())
        assert await running.wait() == 1
        told = await last_words(running)
        assert EVENTS in told
        assert "made anew" in told
        assert "docs/operator.md" in told

        await running.start()
        assert await running.wait() == 1
        told = await last_words(running)
        assert "created at" in told
        assert "docs/operator.md" in told or "configtrail projections rebuild" in told

        # The new one counts.
        running.environment["CONFIGTRAIL_LOG_NAME"] = "configtrail.example/anew"
        await append_many(opened.events, 2, "other")
        built = [command(running, "projections", "rebuild", one.name) for one in ALL]
        for status, said in await asyncio.gather(*built):
            assert (status, "up to position 2, and serving" in said) == (0, True), said
        await running.start()
        await append_many(opened.events, 1, "newest")
        await caught_up(pool, 3)
        assert await running.stop() == 0


async def last_words(running: Program) -> str:
    """What the program said at its end."""
    log = await asyncio.to_thread(running.log.read_text)
    (*_, last) = [line for line in log.splitlines() if line.startswith("configtrail: ")]
    return last


async def caught_up(pool: Any, position: int) -> None:
    async def there() -> bool:
        try:
            found = (await checkpoints(pool)).values()
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            return False
        return len(found) == len(ALL) and all(one.position == position for one in found)

    await eventually(there)


@pytest.mark.parametrize(
    ("grown", "why"), [(1, "is ahead of the stream"), (5, "was put back to an older copy")]
)
async def test_up_refuses_read_models_of_a_lost_past_and_rebuilding_them_is_the_way_out(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path, grown: int, why: str
) -> None:
    data, copy = tmp_path / "nats", tmp_path / "copy"
    async with (
        program(tmp_path / "program", nats_server.url, postgres_dsn) as running,
        open_pool(postgres_dsn, application_name="test") as pool,
    ):
        async with rig(nats_server.url) as opened:
            await append_many(opened.events, 3, "kept")
        await nats_server.stop()
        await asyncio.to_thread(shutil.copytree, data, copy)
        await nats_server.start()
        async with rig(nats_server.url) as opened:
            await append_many(opened.events, 3, "lost")
        await caught_up(pool, 6)
        status, told = await command(running, "audit", "seal")
        assert (status, "signed up to position 6" in told) == (0, True), told
        assert await running.stop() == 0
        await nats_server.stop()
        await asyncio.to_thread(shutil.rmtree, data)
        await asyncio.to_thread(shutil.copytree, copy, data)
        await nats_server.start()
        async with rig(nats_server.url) as opened:
            await append_many(opened.events, grown, "other")

        await running.start()
        assert await running.wait() == 1
        log = await asyncio.to_thread(running.log.read_text)
        # Whichever role looked first: the sealer, or one of the projections.
        assert "audit accept-loss" in log or (
            why in log and "run configtrail projections rebuild" in log
        ), log
        # Commands are mostly their own start: several at once use both cores.
        asked = [command(running, word) for word in ("devices", "doctor", "projections")]
        for status, told in await asyncio.gather(*asked):
            assert (status, why in told) == (1, True), told

        # Rows of the lost past keep nobody from checking what is there.
        status, told = await command(running, "audit", "verify", "--json")
        assert status == 1, told
        report = json.loads(told[told.index("{") :])
        assert (report["ok"], report["events"], report["rows"]) == (False, 3 + grown, 0)
        (stray,) = [one for one in report["findings"] if one["what"] == "audit row"]
        assert why in stray["detail"]

        built = [command(running, "projections", "rebuild", one.name) for one in ALL]
        for status, told in await asyncio.gather(*built):
            assert (status, f"up to position {3 + grown}, and serving" in told) == (0, True), told
        # What was signed of the lost past is said to be lost, which stays on record.
        await running.start()
        assert await running.wait() == 1
        assert "audit accept-loss" in await asyncio.to_thread(running.log.read_text)
        status, told = await command(running, "audit", "accept-loss", "--reason", "r", "--yes")
        assert (status, f"signed, and the stream ends at {3 + grown}" in told) == (0, True), told
        await running.start()
        async with rig(nats_server.url) as opened:
            await append_many(opened.events, 1, "newest")
        await caught_up(pool, 4 + grown)
        sound = [
            command(running, *words.split()) for words in ("projections verify audit", "doctor")
        ]
        assert [status for status, _ in await asyncio.gather(*sound)] == [0, 0]
        assert await running.stop() == 0
