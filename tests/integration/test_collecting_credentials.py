"""Credentials of collections: where they lie, what may be named, and which of two is used."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.collecting.collection import Collected, DeviceCollector, Failed
from adapters.collecting.credentials import BUCKET as CREDENTIALS
from adapters.collecting.credentials import Credentials, CredentialStore
from adapters.collecting.vault import Vault
from adapters.crypto.keys import KeyRing, MasterKey, MasterKeys
from adapters.crypto.rotating import move_keys
from adapters.embedded.files import write_private
from adapters.jetstream.buckets import Bucket
from adapters.roles.collector import Collector
from adapters.roles.devices import DeviceRepository
from adapters.roles.supervisor import running
from adapters.ssh.failures import DeviceUnread
from domain.errors import BackupFailed, MasterKeyUnknown
from domain.events import CollectionFailed, CollectionRecovered
from tests.collecting_stack import (
    ALICE,
    DEVICE,
    PASSWORD,
    TENANT,
    Stack,
    collect,
    collecting,
    only,
    settings,
)
from tests.doubles.routeros import RouterOSDouble, serving, silent_host
from tests.support import eventually


@asynccontextmanager
async def hanging_host() -> AsyncIterator[tuple[int, list[asyncio.StreamWriter]]]:
    """The port of a host that answers nothing until it goes away, and who asked it."""
    asked: list[asyncio.StreamWriter] = []

    async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(writer)

    server = await asyncio.start_server(taken, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()
        for writer in asked:
            writer.close()


async def test_a_credential_lies_sealed_and_is_bound_to_its_name(stack: Stack) -> None:
    bucket = Bucket(stack.rig.js, CREDENTIALS)
    raw = await bucket.get(TENANT, "main")
    assert raw is not None
    assert PASSWORD.encode() not in raw
    assert await stack.store.names(TENANT) == ["main"]
    await bucket.put(raw, TENANT, "other")
    with pytest.raises(Failed, match="store:other") as failed:
        await collect(stack, settings(1, credential="store:other"))
    assert failed.value.kind == "no_credential"
    await stack.store.remove(TENANT, "main")
    assert await stack.store.get(TENANT, "main") is None


@pytest.mark.parametrize(
    "reference", ["env:CONFIGTRAIL_MASTER_KEY", "env:HOME", "file:/etc/hostname", "file:../x"]
)
async def test_an_inventory_can_only_name_secrets_that_are_meant_for_it(
    stack: Stack, reference: str
) -> None:
    async with serving(RouterOSDouble()) as double:
        with pytest.raises(Failed) as failed:
            await collect(stack, settings(double.port, username="u", credential=reference))
    assert failed.value.kind == "no_credential"
    assert double.passwords == []


async def test_a_file_in_the_folder_of_credentials_is_a_secret(stack: Stack) -> None:
    secret = json.dumps({"username": "backup", "password": PASSWORD})
    (stack.folder / "routers").write_text(secret)
    async with serving(RouterOSDouble()) as double:
        await collect(stack, settings(double.port, credential="file:routers"))
    assert double.passwords == [PASSWORD]


@pytest.mark.parametrize("trusted", [False, True])
async def test_what_is_no_plain_file_is_no_credential(stack: Stack, trusted: bool) -> None:
    """Opening a named pipe waits for somebody who writes: for ever, and so does the program."""
    os.mkfifo(stack.folder / "pipe")
    (stack.folder / "folder").mkdir()
    credentials = Credentials(stack.store, None, stack.folder, trusted=trusted)
    for place in ("pipe", "folder"):
        with pytest.raises(DeviceUnread, match="no plain file") as failed:
            await credentials.find(TENANT, f"file:{place}", None)
        assert failed.value.kind == "no_credential"


async def test_the_time_of_a_reading_bounds_the_lookup_of_its_credential(stack: Stack) -> None:
    async with silent_host() as port:
        vault = Vault(f"http://127.0.0.1:{port}", "token")
        collector = DeviceCollector(
            devices=DeviceRepository(stack.rig.events),
            credentials=Credentials(stack.store, vault, stack.folder),
            schedule=stack.schedule,
            leases=stack.leases,
            intake=stack.rig.intake,
            keyring=stack.rig.keyring,
        )
        wanted = settings(1, credential="vault:secret/routers", timeout_seconds=1)
        with pytest.raises(Failed, match="was not to be had within 1 s") as failed:
            await collector.collect(TENANT, DEVICE, wanted, only(), source="scheduled")
    assert failed.value.kind == "no_credential"


async def test_a_vault_that_hangs_keeps_no_other_device_from_its_login(stack: Stack) -> None:
    """A login needs a thread of the event loop for a moment: here there is but one."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    (stack.folder / "routers").write_text(json.dumps({"username": "b", "password": PASSWORD}))
    async with hanging_host() as (port, asked), serving(RouterOSDouble()) as double:
        vault = Vault(f"http://127.0.0.1:{port}", "token")
        credentials = Credentials(stack.store, vault, stack.folder)
        hanging = [
            asyncio.create_task(credentials.find(TENANT, f"vault:secret/{number}", None))
            for number in range(30)
        ]
        await eventually(lambda: asked)
        async with asyncio.timeout(20):
            await collect(stack, settings(double.port))
            await collect(stack, settings(double.port, credential="file:routers"))
        assert not any(one.done() for one in hanging)
        for one in hanging:
            one.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_a_login_is_refused_only_with_the_credential_as_it_is_now(stack: Stack) -> None:
    """What was looked up a moment ago may be the one before: nobody has to mend that by hand."""
    collector = stack.collecting()
    secret = stack.folder / "routers"
    secret.write_text(PASSWORD)
    async with serving(RouterOSDouble()) as double:
        wanted = settings(double.port, credential="file:routers", username="backup")

        async def read() -> Collected:
            return await collector.collect(TENANT, DEVICE, wanted, only(), source="scheduled")

        await read()
        secret.write_text("rotated")
        double.password = "rotated"
        await read()
        assert double.passwords == [PASSWORD, PASSWORD, "rotated"]
        double.password = "another"
        with pytest.raises(Failed) as failed:
            await read()
        assert failed.value.kind == "auth_failed"
        assert double.passwords[3:] == ["rotated"], "tried once with one and the same"
        secret.unlink()
        with pytest.raises(Failed) as failed:
            await read()
        assert failed.value.kind == "no_credential"


async def test_a_credential_that_comes_later_is_used_without_a_persons_help(stack: Stack) -> None:
    ahead = timedelta()
    role = Collector(
        stack.rig.nc,
        stack.rig.js,
        collecting=stack.collecting(),
        schedule=stack.schedule,
        trigger=stack.trigger(),
        metrics=stack.rig.metrics,
        at_once=8,
        clock=lambda: datetime.now(UTC) + ahead,
    )
    async with serving(RouterOSDouble()) as double, collecting(stack, role):
        wanted = settings(double.port, credential="file:late", username="backup")
        await stack.registrar.configure(TENANT, DEVICE, wanted, actor=ALICE)
        await eventually(lambda: stack.count(CollectionFailed))
        assert double.logins == []
        (stack.folder / "late").write_text(PASSWORD)
        ahead = timedelta(minutes=2)
        await stack.registrar.configure(TENANT, "r2", settings(double.port), actor=ALICE)
        await eventually(lambda: stack.count(CollectionRecovered))


async def test_a_program_without_the_master_key_tells_nothing_of_its_devices(
    stack: Stack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Others, who have it, read them; what is wrong is no credential of any device."""
    caplog.set_level(logging.INFO)
    keys, known = stack.rig.keyring.store, stack.rig.keyring.masters.first
    fresh, path = MasterKey.generate(), tmp_path / "master.key"
    write_private(path, f"{known.to_base64()}\n")
    late = KeyRing(MasterKeys.load(None, path), keys)
    await move_keys(KeyRing(MasterKeys(fresh, [known]), keys))
    stack.store = CredentialStore(Bucket(stack.rig.js, CREDENTIALS), late)
    async with serving(RouterOSDouble()) as double:
        wanted = settings(double.port)
        with pytest.raises(MasterKeyUnknown):
            await collect(stack, wanted)
        await stack.registrar.configure(TENANT, DEVICE, wanted, actor=ALICE)
        async with running({"collector": stack.role().run}):
            await eventually(lambda: "is not collected now" in caplog.text)
            with pytest.raises(BackupFailed, match="lacks the master key") as failed:
                await stack.trigger().run(TENANT, DEVICE, actor=ALICE)
            assert "CONFIGTRAIL" not in failed.value.reason
        write_private(path, f"{fresh.to_base64()}\n{known.to_base64()}\n")
        assert (await collect(stack, wanted)).device_id == DEVICE
    assert await stack.count(CollectionFailed) == 0
