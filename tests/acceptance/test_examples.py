"""The examples of the consumer guide, run as they are against a real server."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.streams import EVENTS, events_stream_config
from domain.envelope import Head
from tests.behaviour.event_store import append_many, failure
from tests.rig import Rig, rig

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
async def log(nats_server: EmbeddedNats) -> AsyncIterator[Rig]:
    async with rig(nats_server.url) as opened:
        await append_many(opened.events, 3, "r1")
        await opened.events.append_together(
            [failure(number, "core 1") for number in range(1_000)], Head()
        )
        yield opened


async def run(folder: Path, *command: str | Path) -> tuple[int, list[str], str]:
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode().splitlines(), err.decode()


async def check(log: Rig, folder: Path, *command: str | Path) -> None:
    """It replays all, goes on where it was, stops at what it does not know, and refuses a stream
    that its checkpoint is not of."""
    status, lines, told = await run(folder, *command)
    assert (status, told) == (0, "up to position 1009\n")
    assert len(lines) == 1_009
    assert "core=201" in lines[1_002]
    await log.events.append(failure(1, "new"), Head())
    status, lines, told = await run(folder, *command)
    assert (status, len(lines), told) == (0, 1, "up to position 1010\n")
    assert (await run(folder, *command))[1:] == ([], "up to position 1010\n")
    await log.js.publish(
        "configtrail.acme.r1.NewThing",
        b'{"type":"NewThing","actor":"user:ann"}',
        headers={"ce-type": "configtrail.NewThing.v1", "ce-time": "x", "ce-sequence": "4"},
    )
    status, lines, told = await run(folder, *command)
    assert (status, lines) == (1, [])
    assert "configtrail.NewThing.v1 is new" in told
    await log.js.delete_stream(EVENTS)
    await log.js.add_stream(events_stream_config())
    status, lines, told = await run(folder, *command)
    assert (status, lines) == (1, [])
    assert "the checkpoint is of another CONFIGTRAIL_EVENTS" in told


async def check_follow(log: Rig, server: EmbeddedNats, folder: Path, *command: str | Path) -> None:
    """Over a server that is killed and comes back, each event comes once, in order."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), "--follow", cwd=folder, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        lines = [await process.stdout.readline() for _ in range(1_003)]
        for turn in range(2):
            await server.kill()
            await server.start()
            await append_many(log.events, 3, f"after{turn}")
            lines += [await process.stdout.readline() for _ in range(3)]
        told = [line.decode().split() for line in lines[-6:]]
        assert [line[2] for line in told] == ["after0"] * 3 + ["after1"] * 3
        assert len(set(lines)) == 1_009
    finally:
        process.terminate()
        await process.wait()


async def test_python_with_nats_py_alone(
    log: Rig, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    shutil.copy(EXAMPLES / "replay.py", tmp_path)
    command = (sys.executable, "replay.py", nats_server.url)
    await check_follow(log, nats_server, tmp_path, *command, "followed.db")
    await check(log, tmp_path, *command, "events.db")
    with sqlite3.connect(tmp_path / "events.db") as db:
        rows = db.execute("SELECT device, failures FROM device ORDER BY device").fetchall()
    db.close()
    assert rows == [
        ("after0", 3),
        ("after1", 3),
        ("core=201", 1_000),
        ("new", 1),
        ("r1", 3),
    ]


async def test_javascript_with_the_official_client(
    log: Rig, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    shutil.copy(EXAMPLES / "replay.mjs", tmp_path)
    (tmp_path / "package.json").write_text(json.dumps({"private": True}))
    packages = ("@nats-io/transport-node@3", "@nats-io/jetstream@3")
    status, _, told = await run(tmp_path, npm, "install", "--no-audit", "--no-fund", *packages)
    if status:
        pytest.skip(f"npm can't install the client here: {told.strip().splitlines()[-1]}")
    command = (node, "replay.mjs", nats_server.url)
    await check_follow(log, nats_server, tmp_path, *command, "followed.json")
    await check(log, tmp_path, *command, "position.json")


async def test_the_plain_protocol_with_a_shell(
    log: Rig, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    parts = urlsplit(nats_server.url)
    where = (str(parts.hostname), str(parts.port), str(parts.username), str(parts.password))
    status, lines, _ = await run(tmp_path, bash, EXAMPLES / "peek.sh", *where, "2")
    assert status == 0
    assert "ce-type: configtrail.CollectionFailed.v1" in lines
    assert any('"failure_id":"acme-r1-1"' in line for line in lines)
    for wrong, said in (
        ((*where[:3], "wrong", "2"), "the server refuses"),
        ((*where, "9999"), "there is no event 9999"),
    ):
        status, _, told = await run(tmp_path, bash, EXAMPLES / "peek.sh", *wrong)
        assert status == 1
        assert said in told
