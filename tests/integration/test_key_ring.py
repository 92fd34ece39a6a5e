"""The key ring over a real bucket: one key a tenant whoever races, and no key in silence."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js.api import StorageType

from adapters.crypto.keys import (
    KeyRing,
    MasterKey,
    TenantKeys,
    device_key_id,
    device_key_name,
    open_keyring,
)
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.connection import connect
from adapters.jetstream.key_store import BUCKET, JetStreamKeyStore
from domain.errors import KeyDestroyed, KeyUnavailable, StreamMisconfigured, Unavailable
from tests.support import eventually, occurrences

STREAM = f"KV_{BUCKET}"


@pytest.fixture
def master() -> MasterKey:
    return MasterKey(secrets.token_bytes(32))


async def test_eight_programs_that_race_get_one_key(
    nats_server: EmbeddedNats, key_store: JetStreamKeyStore, nc: Client, master: MasterKey
) -> None:
    clients = [await connect(nats_server.url, name=f"test {number}") for number in range(8)]
    try:
        keyrings = [KeyRing(master, JetStreamKeyStore(client.jetstream())) for client in clients]
        for tenant in ("acme", "b.2", "C-3"):
            keys = await asyncio.gather(*(keyring.tenant(tenant) for keyring in keyrings))
            assert all(found == keys[0] for found in keys)
    finally:
        for client in clients:
            await client.close()
    info = await nc.jetstream().stream_info(STREAM)
    # Nothing was ever written over: as many messages as ever were written.
    assert (info.state.messages, info.state.last_seq) == (3, 3)


async def test_keys_outlive_the_program_and_the_server(
    nats_server: EmbeddedNats, key_store: JetStreamKeyStore, nc: Client, master: MasterKey
) -> None:
    before = await KeyRing(master, key_store).tenant("acme")
    await nats_server.stop()
    await nats_server.start()
    await nc.close()
    again = await connect(nats_server.url, name="test")
    try:
        assert await KeyRing(master, JetStreamKeyStore(again.jetstream())).tenant("acme") == before
    finally:
        await again.close()


async def test_a_wrong_master_key_is_refused_at_the_start_and_at_use(
    key_store: JetStreamKeyStore, master: MasterKey
) -> None:
    right = KeyRing(master, key_store)
    await right.check()
    await right.tenant("acme")
    wrong = KeyRing(MasterKey(secrets.token_bytes(32)), key_store)
    with pytest.raises(KeyUnavailable, match="right one"):
        await wrong.check()
    with pytest.raises(KeyUnavailable, match="right one"):
        await wrong.tenant("acme")


async def test_programs_that_start_at_once_with_two_master_keys_are_not_both_let_in(
    key_store: JetStreamKeyStore,
) -> None:
    keyrings = [KeyRing(MasterKey(secrets.token_bytes(32)), key_store) for _ in range(2)]
    ends = await asyncio.gather(*(keyring.check() for keyring in keyrings), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["MasterKeyUnknown", "NoneType"]


async def test_a_key_file_is_made_at_the_first_start_only(
    key_store: JetStreamKeyStore, tmp_path: Path
) -> None:
    path = tmp_path / "master.key"
    keyring = await open_keyring(key_store, master_key=None, key_file=path)
    keys = await keyring.tenant("acme")
    assert (
        await (await open_keyring(key_store, master_key=None, key_file=path)).tenant("acme") == keys
    )
    kept = path.rename(tmp_path / "elsewhere")
    with pytest.raises(KeyUnavailable, match="put it back"):
        await open_keyring(key_store, master_key=None, key_file=path)
    assert not path.exists()
    kept.rename(path)
    assert (
        await (await open_keyring(key_store, master_key=None, key_file=path)).tenant("acme") == keys
    )


async def test_a_destroyed_key_is_not_made_anew(
    key_store: JetStreamKeyStore, nc: Client, master: MasterKey
) -> None:
    await KeyRing(master, key_store).tenant("acme")
    bucket = await nc.jetstream().key_value(BUCKET)
    await bucket.purge("acme")
    with pytest.raises(KeyUnavailable, match="destroyed"):
        await KeyRing(master, key_store).tenant("acme")
    assert not await key_store.create("acme", b"anything")


async def test_wrapped_keys_that_were_exchanged_are_refused(
    key_store: JetStreamKeyStore, nc: Client, master: MasterKey
) -> None:
    await KeyRing(master, key_store).tenant("acme")
    theirs = await key_store.get("acme")
    assert theirs is not None
    await key_store.create("other", theirs)
    with pytest.raises(KeyUnavailable, match="exchanged"):
        await KeyRing(master, key_store).tenant("other")


async def test_names_come_back_as_they_were(key_store: JetStreamKeyStore) -> None:
    names = {"acme", "a.b", "_master", "_system", "A-1_2"}
    for name in names:
        assert await key_store.create(name, b"x")
    assert set(await key_store.names()) == names


async def test_a_bucket_that_would_forget_keys_is_refused(
    key_store: JetStreamKeyStore, nc: Client
) -> None:
    js = nc.jetstream()
    config = (await js.stream_info(STREAM)).config
    assert config.storage == StorageType.FILE
    await js.update_stream(config.evolve(max_age=3600))
    with pytest.raises(StreamMisconfigured, match="max_age"):
        await key_store.ensure()


async def test_programs_may_make_the_bucket_at_once(nc: Client) -> None:
    stores = [JetStreamKeyStore(nc.jetstream()) for _ in range(4)]
    await asyncio.gather(*(one.ensure() for one in stores))
    assert await stores[0].names() == []


async def test_an_outage_is_told_as_such_and_passes(
    nats_server: EmbeddedNats, key_store: JetStreamKeyStore, nc: Client, master: MasterKey
) -> None:
    keyring = KeyRing(master, JetStreamKeyStore(nc.jetstream(timeout=1)))
    known = await keyring.tenant("acme")
    await nats_server.stop()
    assert await keyring.tenant("acme") is known
    with pytest.raises(Unavailable):
        await keyring.tenant("other")
    await nats_server.start()

    async def keys() -> TenantKeys | None:
        try:
            return await keyring.tenant("other")
        except Unavailable:
            return None

    assert await eventually(keys) != known


async def test_of_a_destroyed_device_key_no_byte_is_left_on_the_disk(tmp_path: Path) -> None:
    # Without the server's own encryption, so that what is kept can be looked for.
    server = EmbeddedNats(
        tmp_path / "open", encryption_key=None, user="tests", password=secrets.token_hex(16)
    )
    await server.start()
    nc = await connect(server.url, name="test")
    try:
        store = JetStreamKeyStore(nc.jetstream())
        await store.ensure()
        keyring = KeyRing(MasterKey(secrets.token_bytes(32)), store)
        key_id = device_key_id("acme", "r 1/x", 0)
        name = device_key_name("acme", "r 1/x", key_id)
        kept = await keyring.device("acme", "r 1/x", 0)
        assert await keyring.device("acme", "r 1/x", 1) != kept
        wrapped = await store.get(name)
        assert wrapped is not None
        assert occurrences(tmp_path, wrapped) == 1
        await asyncio.gather(*(keyring.destroy("acme", "r 1/x", key_id) for _ in range(4)))
        assert occurrences(tmp_path, wrapped) == 0
        with pytest.raises(KeyDestroyed):
            await keyring.device("acme", "r 1/x", 0)
        assert not await store.create(name, wrapped)
        assert await store.names() == ["acme"]
    finally:
        await nc.close()
        await server.stop()
