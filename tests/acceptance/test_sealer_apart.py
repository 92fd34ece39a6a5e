"""The sealer as a program of its own: the others work, and none of them has the key that signs."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.checkpoints import CheckpointStore
from adapters.jetstream.connection import connect
from tests.acceptance.program import Program, command, ready
from tests.support import eventually

KEY = "EHk0kAIC3m4SpXb0fHCq0o9lDkZlNm9Q6JQ5n0yqQ1s="
HOME = "/api/tenants/default/devices"


@pytest.fixture
def programs(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> tuple[Program, Program]:
    """The sealer, and all that is not the sealer, each with a data folder of its own."""
    found = []
    for name, roles in (("sealer", "sealer"), ("others", "-sealer")):
        one = Program(tmp_path / name, nats_url=nats_server.url, postgres_dsn=postgres_dsn, key=KEY)
        one.environment["CONFIGTRAIL_ROLES"] = roles
        one.environment["CONFIGTRAIL_SEAL_SECONDS"] = "0.5"
        found.append(one)
    return found[0], found[1]


def keys_in(folder: Path) -> list[str]:
    return [one.name for one in folder.rglob("*.key")]


async def test_only_the_sealer_signs_and_has_the_key(
    programs: tuple[Program, Program], nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    sealer, others = programs
    await others.start()
    nc = await connect(nats_server.url, name="test")
    try:
        async with ready(others) as http:
            text = b"# by RouterOS 7.14\n/system identity\nset name=r1\n"
            made = await http.put(f"{HOME}/r1/config", content=text)
            assert made.status_code == 201
            # Nobody signs, and nobody made a key to sign with.
            checkpoints = CheckpointStore(nc.jetstream())
            assert await checkpoints.origins() == []
            assert await asyncio.to_thread(keys_in, tmp_path / "others") == []

            await sealer.start()
            async with ready(sealer) as health:
                # It is no API: it tells how it is, and how far it signed.
                assert (await health.get("/healthz")).status_code == 200
                assert (await health.get(HOME)).status_code in (401, 404)
                assert (await health.put(f"{HOME}/r2/config", content=text)).status_code != 201

                async def signed() -> bool:
                    told = (await health.get("/metrics")).text
                    position = float(made.json()["position"])
                    found = re.search(r"^configtrail_log_position (\S+)", told, re.MULTILINE)
                    return found is not None and float(found[1]) >= position

                await eventually(signed, within=60)
            assert await asyncio.to_thread(keys_in, tmp_path / "sealer") == ["log.key"]
            assert await asyncio.to_thread(keys_in, tmp_path / "others") == []

            # What needs the key is done where it is, and what needs none with the key that is told.
            status, keys, _ = await command(sealer.environment, "audit", "keys")
            assert status == 0
            status, _, told = await command(others.environment, "audit", "keys")
            assert status == 1
            assert "log key" in told
            status, told, errors = await command(
                others.environment, "audit", "verify", "--key", keys.splitlines()[0]
            )
            assert status == 0, told + errors
            status, _, told = await command(sealer.environment, "audit", "rotate-key")
            assert status == 0, told
            assert await asyncio.to_thread(keys_in, tmp_path / "others") == []
    finally:
        await nc.close()
        for one in programs:
            if not one.ended:
                await one.kill()


async def test_a_program_that_does_not_sign_does_not_start_where_the_key_is(
    programs: tuple[Program, Program], tmp_path: Path
) -> None:
    _, others = programs
    others.environment["CONFIGTRAIL_LOG_KEY"] = KEY
    await others.start()
    assert await others.wait() == 1
    assert "CONFIGTRAIL_LOG_KEY" in await asyncio.to_thread(others.log.read_text)
    del others.environment["CONFIGTRAIL_LOG_KEY"]
    folder = tmp_path / "others/data"
    await asyncio.to_thread(folder.mkdir)
    await asyncio.to_thread((folder / "log.key").write_text, "no key at all")
    await others.start()
    assert await others.wait() == 1
    assert "move it there" in await asyncio.to_thread(others.log.read_text)
    # The sealer would read it.
    others.environment["CONFIGTRAIL_ROLES"] = "sealer"
    await others.start()
    assert await others.wait() == 1
    assert "the log key" in await asyncio.to_thread(others.log.read_text)
