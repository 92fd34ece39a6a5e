"""`configtrail doctor` on installations that are fine, fresh, broken and gone."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from nats.js.api import AckPolicy, ConsumerConfig, StorageType

from adapters.embedded.nats import EmbeddedNats, nats_server_binary
from adapters.embedded.process import free_port
from adapters.jetstream.checkpoints import CHECKPOINTS
from adapters.jetstream.key_store import DEVICE_KEYS
from adapters.jetstream.streams import EVENTS, events_stream_config
from adapters.roles import differ
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
                notable = {name for name in found if found[name][0]["verdict"] != "fine"}
                return status == 0 and notable == {"durability"} and len(found) > 12

            await eventually(fine, within=60)
            status, found = await findings(environment)
            assert found["signed log"][0]["told"] == "signed up to 3"
            assert found["read model audit"][0]["told"] == "holds all events up to 3"
            assert found["clock of NATS"][0]["verdict"] == "fine"

            live = (await opened.js.stream_info(EVENTS)).config
            await opened.js.update_stream(live.evolve(max_age=3600.0))
            # The keys of devices open all texts.
            keys = (await opened.js.stream_info(DEVICE_KEYS)).config
            await opened.js.update_stream(keys.evolve(max_age=3600.0))
            status, found = await findings({**environment, "CONFIGTRAIL_MASTER_KEY": OTHER_KEY})
            assert status == 1
            assert "max_age is 3600.0 and must be" in found[EVENTS][0]["told"]
            assert "configtrail doctor --mend" in found[EVENTS][0]["told"]
            assert "max_age is 3600.0 and must be" in found[DEVICE_KEYS][0]["told"]
            assert found["keys"][0]["verdict"] == "wrong"
            status, out, told = await run(environment, "--mend")
            assert status == 0
            assert "CONFIGTRAIL_EVENTS: max_age was 3600.0 and is" in told
            assert "CONFIGTRAIL_DEVICE_KEYS: max_age was 3600.0 and is" in told
            assert "fine    CONFIGTRAIL_EVENTS: 3 messages" in out
    finally:
        await program.kill()


async def test_an_erased_tenant_is_nothing_wrong(
    environment: dict[str, str], nats_server: EmbeddedNats
) -> None:
    async with rig(nats_server.url) as parts:
        # Its name comes before all others.
        await parts.keyring.tenant("0")
        await parts.keyring.destroy("0", None, b"")
    _, found = await findings(environment)
    assert [one["verdict"] for one in found.get("master key", [])] == ["fine"], found
    assert "keys" not in found


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


async def test_a_wrong_password_is_told_as_one(
    environment: dict[str, str], nats_server: EmbeddedNats, postgres_dsn: str
) -> None:
    for name, url in (
        ("CONFIGTRAIL_NATS_URL", nats_server.url),
        ("CONFIGTRAIL_POSTGRES_DSN", postgres_dsn),
    ):
        parts = urlsplit(url)
        wrong = parts._replace(netloc=f"{parts.username}:wrong@{parts.hostname}:{parts.port}")
        status, out, _ = await run({**environment, name: wrong.geturl()})
        assert status == 1
        assert "refuses the user or the password" in out
        assert out.count("WRONG") == 1


async def test_a_server_without_jetstream_is_one_finding(
    environment: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    config = tmp_path / "plain.conf"
    config.write_text(f'listen: "127.0.0.1:{port}"')
    server = await asyncio.create_subprocess_exec(
        str(nats_server_binary()), "-c", str(config), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        status, found = await findings(
            {**environment, "CONFIGTRAIL_NATS_URL": f"nats://127.0.0.1:{port}"}
        )
    finally:
        server.terminate()
        await server.wait()
    assert status == 1
    wrong = [one for name in found for one in found[name] if one["verdict"] == "wrong"]
    assert [(one["subject"], one["told"]) for one in wrong] == [
        ("JetStream", "is not enabled on this server")
    ]
    assert "None" not in json.dumps(found)


async def test_holes_and_what_can_not_be_mended_are_told_beside_the_rest(
    environment: dict[str, str], nats_server: EmbeddedNats
) -> None:
    async with rig(nats_server.url) as opened:
        js = opened.js
        await js.delete_stream(EVENTS)
        lossy = events_stream_config().evolve(
            storage=StorageType.MEMORY, deny_delete=False, max_age=3600.0
        )
        await js.add_stream(lossy)
        await append_many(opened.events, 3)
        await js.delete_msg(EVENTS, 2)
        notes = (await js.stream_info(CHECKPOINTS)).config
        await js.update_stream(notes.evolve(max_age=3600.0))
        keys = (await js.stream_info("KV_CONFIGTRAIL_KEYS")).config
        await js.update_stream(keys.evolve(max_age=3600.0))
        status, found = await findings(environment)
        assert status == 1
        told = [one["told"] for one in found[EVENTS]]
        assert any("history has holes" in one for one in told)
        assert any("storage is 'memory' and must be 'file'" in one for one in told)
        assert any("max_age is 3600.0 and must be not set" in one for one in told)
        assert any("max_age" in one["told"] for one in found[CHECKPOINTS])
        assert any("max_age" in one["told"] for one in found["bucket CONFIGTRAIL_KEYS"])
        status, out, told_mended = await run(environment, "--mend")
        assert status == 1
        assert "CONFIGTRAIL_EVENTS: max_age was 3600.0 and is not set again" in told_mended
        assert "CONFIGTRAIL_CHECKPOINTS: max_age was 3600.0" in told_mended
        assert "storage is 'memory'" in out
        assert not re.search(r"<\w+\.|Traceback", out + told_mended)


async def test_consumers_that_stand_still_or_belong_to_nobody_are_told(
    environment: dict[str, str], nats_server: EmbeddedNats
) -> None:
    async with rig(nats_server.url) as opened:
        await append_many(opened.events, 20)
        wanted = differ.consumer_config(1.0)
        other = wanted.evolve(filter_subject="configtrail.>", max_ack_pending=12)
        await opened.js.add_consumer(EVENTS, other)
        await opened.js.add_consumer(
            EVENTS, ConsumerConfig(durable_name="left-behind", ack_policy=AckPolicy.EXPLICIT)
        )
        taking = await opened.js.pull_subscribe_bind("differ", stream=EVENTS)

        async def often() -> bool:
            await taking.fetch(12, timeout=5)
            info = await opened.js.consumer_info(EVENTS, "differ")
            return (info.num_redelivered or 0) >= 10

        await eventually(often)
        status, found = await findings(environment)
    told = [one["told"] for one in found["differ"]]
    assert status == 1
    assert "its filter_subject is 'configtrail.>', and 'configtrail.*.*.SnapshotCreated'" in told[0]
    assert any("messages came again" in one for one in told)
    assert any("nobody works" in one for one in told)
    assert found["recorder"][0]["told"] == "was never there"
    assert "20 messages wait" in found["consumer left-behind"][0]["told"]
    assert "nats consumer rm" in found["consumer left-behind"][0]["mend"]


@pytest.mark.parametrize("command", ["doctor", "replay"])
async def test_where_nothing_is_that_is_said_and_nothing_is_made(
    tmp_path: Path, command: str
) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        str(CONFIGTRAIL),
        command,
        cwd=tmp_path,
        env=kept,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 1
    assert b"there is nothing in the data folder .configtrail: run configtrail up" in out + err
    assert not await asyncio.to_thread(os.listdir, tmp_path)
