"""`configtrail rotate-master-key` beside a program that runs, and killed half-way."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from functools import partial
from pathlib import Path

import httpx
import pytest

from adapters.cli import collecting
from adapters.composition import open_system
from adapters.crypto.keys import SENTINEL, KeyRing, MasterKey, MasterKeys
from adapters.crypto.master import read_keys
from adapters.crypto.rotating import keys_under, move_keys, short
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.connection import connect
from adapters.jetstream.key_store import JetStreamKeyStore
from adapters.roles.key_watch import KeyWatch
from domain.errors import MasterKeyUnknown
from tests.acceptance.program import CONFIGTRAIL, Program, command, ready
from tests.serving import settings_for
from tests.support import eventually

HOME = "/api/tenants/default/devices"
OLD, NEW = MasterKey(secrets.token_bytes(32)), MasterKey(secrets.token_bytes(32))


def text(device: str) -> str:
    return f"# by RouterOS 7.14\n/system identity\nset name={device}\n"


async def upload(http: httpx.AsyncClient, device: str) -> str:
    """A new device's first configuration; the id of its snapshot."""
    made = await http.put(f"{HOME}/{device}/config", content=text(device).encode())
    assert made.status_code == 201, made.text
    return str(made.json()["snapshot_id"])


async def shown(http: httpx.AsyncClient, device: str, snapshot: str) -> str:
    async def there() -> str | None:
        found = await http.get(f"{HOME}/{device}/config/{snapshot}", params={"reveal": "true"})
        return found.json()["config_text"] if found.status_code == 200 else None

    return await eventually(there)


async def master_key_findings(environment: dict[str, str]) -> list[dict[str, str]]:
    _, out, _ = await command(environment, "doctor", "--json")
    return [one for one in json.loads(out) if one["subject"] == "master key"]


async def test_a_running_program_goes_on_through_a_rotation_of_the_key_in_its_file(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    program = Program(
        tmp_path / "program", nats_url=nats_server.url, postgres_dsn=postgres_dsn, key="unused"
    )
    del program.environment["CONFIGTRAIL_MASTER_KEY"]
    path = tmp_path / "program/data/master.key"
    await program.start()
    try:
        async with ready(program) as http:
            first = await upload(http, "before")
            (old,) = await asyncio.to_thread(read_keys, path)
            status, _, told = await command(program.environment, "rotate-master-key")
            assert status == 0, told
            assert "are under the master key" in told
            (new,) = await asyncio.to_thread(read_keys, path)
            assert new.master_id != old.master_id
            retired = path.with_name(f"master.key.{old.master_id.hex()[:8]}.retired")
            assert str(retired) in told
            assert (await asyncio.to_thread(read_keys, retired))[0].master_id == old.master_id
            second = await upload(http, "after")
            assert await shown(http, "before", first) == text("before")
            (finding,) = await master_key_findings(program.environment)
            assert finding["verdict"] == "fine"
            status, _, told = await command(program.environment, "rotate-tenant-key")
            assert status == 0, told
            assert "default: new key, after 1 former ones; 0 credentials" in told
            third = await upload(http, "later")
        # The new key alone is enough.
        await program.stop()
        await asyncio.to_thread(retired.unlink)
        await program.start()
        async with ready(program) as http:
            fourth = await upload(http, "latest")
            for device, snapshot in (
                ("before", first),
                ("after", second),
                ("later", third),
                ("latest", fourth),
            ):
                assert await shown(http, device, snapshot) == text(device)
    finally:
        await program.kill()


async def test_a_rotation_that_was_killed_is_told_of_and_goes_on(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    environment = Program(
        tmp_path / "program",
        nats_url=nats_server.url,
        postgres_dsn=postgres_dsn,
        key=NEW.to_base64(),
    ).environment
    status, _, told = await command(environment, "rotate-master-key")
    assert status == 1
    assert "CONFIGTRAIL_MASTER_KEY_OLD" in told
    nc = await connect(nats_server.url, name="test")
    try:
        store = JetStreamKeyStore(nc.jetstream())
        # The command above made the store's first key, under the new one.
        await KeyRing(MasterKeys(OLD, [NEW]), store).rewrap(SENTINEL, OLD)
        before = KeyRing(OLD, store)
        kept = [await before.device("acme", f"r{number}", 0) for number in range(300)]
        rotating = await asyncio.create_subprocess_exec(
            CONFIGTRAIL,
            "rotate-master-key",
            env=environment | {"CONFIGTRAIL_MASTER_KEY_OLD": OLD.to_base64()},
            stderr=asyncio.subprocess.DEVNULL,
        )

        async def begun() -> bool:
            return short(NEW.master_id) in (await keys_under(store)).counts

        await eventually(begun, within=120)
        rotating.kill()
        await rotating.wait()
        counts = (await keys_under(store)).counts
        findings = await master_key_findings(
            environment | {"CONFIGTRAIL_MASTER_KEY_OLD": OLD.to_base64()}
        )
        if short(OLD.master_id) in counts:
            told = f"{counts[short(OLD.master_id)]} keys are under the master key "
            assert findings[0]["told"].startswith(told + short(OLD.master_id))
            assert "rotate-master-key" in findings[0]["mend"]
            # Who does not have the old one any more is told that it is needed.
            status, out, _ = await command(environment, "doctor")
            assert status == 1
            assert f"under the master key {short(OLD.master_id)}" in out

        async def again() -> bool:
            status, _, told = await command(
                environment | {"CONFIGTRAIL_MASTER_KEY_OLD": OLD.to_base64()}, "rotate-master-key"
            )
            assert status == 0 or "master-key" in told, told  # the killed one's lease runs out
            return status == 0

        await eventually(again, within=120)
        assert set((await keys_under(store)).counts) == {short(NEW.master_id)}
        after = KeyRing(NEW, store)
        assert [await after.device("acme", f"r{number}", 0) for number in range(300)] == kept
        (finding,) = await master_key_findings(
            environment | {"CONFIGTRAIL_MASTER_KEY_OLD": OLD.to_base64()}
        )
        assert "nothing is under a former one" in finding["told"]
        # Whoever wants yet another one is told that this was none.
        status, _, told = await command(
            environment | {"CONFIGTRAIL_MASTER_KEY_OLD": OLD.to_base64()}, "rotate-master-key"
        )
        assert status == 0
        assert "0 keys moved" in told
        assert "take former ones out of CONFIGTRAIL_MASTER_KEY_OLD" in told
    finally:
        await nc.close()


async def test_a_collector_that_knows_only_the_old_one_is_ended(
    nats_server: EmbeddedNats,
    postgres_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(collecting, "KeyWatch", partial(KeyWatch, every=0.05))
    these = settings_for(nats_server, postgres_dsn, tmp_path)
    async with open_system(these) as system:
        running = asyncio.create_task(collecting.collector(these))
        try:
            known = system.keyring.masters.first
            await eventually(lambda: "role key watch starts" in caplog.text)
            await move_keys(KeyRing(MasterKeys(NEW, [known]), system.keyring.store))
            with pytest.raises(ExceptionGroup) as ended:
                await running
        finally:
            running.cancel()
    (failed,) = ended.value.exceptions
    assert isinstance(failed.__cause__, MasterKeyUnknown)
