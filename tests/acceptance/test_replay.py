"""`configtrail replay` as it is used: in pipes, with filters, interrupted and resumed."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.streams import EVENTS, events_stream_config
from domain.envelope import Head
from tests.acceptance.program import CONFIGTRAIL
from tests.behaviour.event_store import append_many, failure
from tests.rig import Rig, rig
from tests.support import eventually


@pytest.fixture
async def log(nats_server: EmbeddedNats) -> AsyncIterator[Rig]:
    async with rig(nats_server.url) as opened:
        await append_many(opened.events, 3, "r1")
        await append_many(opened.events, 2, "r2\x1b[2J")
        await opened.events.append(failure(1, tenant="other"), Head())
        yield opened


@pytest.fixture
def environment(nats_server: EmbeddedNats, tmp_path: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {
        **kept,
        "CONFIGTRAIL_NATS_URL": nats_server.url,
        "CONFIGTRAIL_DATA_DIR": str(tmp_path / "data"),
    }


async def run(environment: dict[str, str], *arguments: str) -> tuple[int, list[str], str]:
    process = await asyncio.create_subprocess_exec(
        str(CONFIGTRAIL),
        "replay",
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode().splitlines(), err.decode()


async def test_every_event_is_a_line_of_json_and_options_select(
    log: Rig, environment: dict[str, str]
) -> None:
    status, lines, told = await run(environment)
    assert (status, told) == (0, "")
    assert [json.loads(line)["position"] for line in lines] == [1, 2, 3, 4, 5, 6]
    first = json.loads(lines[0])
    assert (first["type"], first["version"]) == ("configtrail.CollectionFailed.v1", 1)
    assert first["event"]["kind"] == "timeout"
    wanted: dict[tuple[str, ...], list[int]] = {
        ("--from", "3"): [3, 4, 5, 6],
        ("--tenant", "acme", "--device", "r1"): [1, 2, 3],
        ("--tenant", "other"): [6],
        ("--type", "SnapshotCreated"): [],
        ("--type", "CollectionFailed", "--from", "2000-01-01"): [1, 2, 3, 4, 5, 6],
        ("--from", "2099-01-01"): [],
    }
    found = await asyncio.gather(*(run(environment, *arguments) for arguments in wanted))
    for (status, lines, told), positions in zip(found, wanted.values(), strict=True):
        assert (status, told) == (0, "")
        assert [json.loads(line)["position"] for line in lines] == positions
    wrong = [
        ("--type", "Nothing"),
        ("--type", ""),
        ("--from", "yesterday"),
        ("--from", "0"),
        ("--device", ""),
        ("--tenant", ""),
    ]
    refused = await asyncio.gather(*(run(environment, *arguments) for arguments in wrong))
    assert [(status, lines) for status, lines, _ in refused] == [(2, [])] * len(wrong)


async def test_lines_can_be_cloudevents_or_a_table_and_never_steer_a_terminal(
    log: Rig, environment: dict[str, str]
) -> None:
    _, lines, _ = await run(environment, "--format", "cloudevents", "--from", "4")
    event = json.loads(lines[0])
    assert event["specversion"] == "1.0"
    assert (event["subject"], event["sequence"], event["position"]) == ("r2\x1b[2J", "1", "4")
    assert event["data"]["type"] == "CollectionFailed"
    for form in ("cloudevents", "table", "json"):
        _, lines, _ = await run(environment, "--format", form)
        assert len(lines) == 6
        assert not any("\x1b" in line for line in lines)


async def test_a_reader_that_has_enough_ends_it_quietly(
    log: Rig, environment: dict[str, str]
) -> None:
    for turn in range(4):
        await log.events.append_together(
            [failure(1_000 * turn + part, f"many{turn}") for part in range(1_000)], Head()
        )
    process = await asyncio.create_subprocess_shell(
        f"'{CONFIGTRAIL}' replay; echo $? >&2",
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    line = await process.stdout.readline()
    assert json.loads(line)["position"] == 1
    process.stdout._transport.close()  # type: ignore[attr-defined]  # as `head` does
    assert (await process.stderr.read()).decode().split() == ["141"]
    await process.wait()


async def test_it_follows_is_interrupted_and_goes_on_where_it_was(
    log: Rig, environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "position.json"
    process = await asyncio.create_subprocess_exec(
        str(CONFIGTRAIL),
        *("replay", "--follow", "--position-file", str(file)),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    seen = [json.loads(await process.stdout.readline())["position"] for _ in range(6)]
    await log.events.append(failure(1, "new"), Head())
    seen.append(json.loads(await process.stdout.readline())["position"])
    await eventually(lambda: file.exists() and json.loads(file.read_text())["position"] == 7)
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 128 + signal.SIGINT
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    await log.events.append(failure(2, "newer"), Head())
    status, lines, _ = await run(environment, "--position-file", str(file))
    assert status == 0
    assert [json.loads(line)["position"] for line in lines] == [8]
    await log.js.delete_stream(EVENTS)
    await log.js.add_stream(events_stream_config())
    status, lines, told = await run(environment, "--position-file", str(file))
    assert (status, lines) == (1, [])
    assert "begin anew without the checkpoint" in told


async def test_progress_is_shown_on_a_terminal_while_the_lines_go_elsewhere(
    log: Rig, environment: dict[str, str]
) -> None:
    master, terminal = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        str(CONFIGTRAIL),
        "replay",
        env={**environment, "TERM": "xterm"},
        stdout=asyncio.subprocess.PIPE,
        stderr=terminal,
    )
    os.close(terminal)
    shown = asyncio.create_task(asyncio.to_thread(_all_of, master))
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert [json.loads(line)["position"] for line in out.decode().splitlines()] == [*range(1, 7)]
    assert "replaying" in await shown


def _all_of(master: int) -> str:
    seen = b""
    with suppress(OSError):  # the other end is closed
        while chunk := os.read(master, 4096):
            seen += chunk
    os.close(master)
    return seen.decode()


async def test_a_position_file_that_can_not_be_kept_or_is_of_another_replay_is_refused(
    log: Rig, environment: dict[str, str], tmp_path: Path
) -> None:
    nowhere = tmp_path / "missing" / "position.json"
    status, lines, told = await run(environment, "--position-file", str(nowhere))
    assert (status, lines) == (1, [])
    assert "no position can be kept there (No such file or directory)" in told
    file = ("--position-file", str(tmp_path / "position.json"))
    status, lines, _ = await run(environment, *file, "--device", "r1", "--from", "2")
    assert (status, len(lines)) == (0, 3)
    status, lines, told = await run(environment, *file, "--device", "r1", "--from", "2")
    assert (status, lines) == (2, [])
    assert "--position-file" in told
    status, lines, told = await run(environment, *file)
    assert (status, lines) == (1, [])
    assert "give it a checkpoint of its own" in told
    assert (await run(environment, *file, "--device", "r1"))[:2] == (0, [])


async def test_a_full_device_ends_it_with_what_is_wrong(
    log: Rig, environment: dict[str, str]
) -> None:
    process = await asyncio.create_subprocess_shell(
        f"'{CONFIGTRAIL}' replay >/dev/full", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, told = await process.communicate()
    assert process.returncode == 1
    assert told.decode() == ("configtrail: the output can't be written: No space left on device\n")
