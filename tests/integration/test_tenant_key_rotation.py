"""A tenant's keys are rotated: what is new comes under new ones, what was there stays readable, and
what is erased is gone in all generations."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest

from adapters.collecting.credentials import BUCKET as CREDENTIALS
from adapters.collecting.credentials import CredentialStore, Stored
from adapters.crypto import blob
from adapters.crypto.blob import BlobContext
from adapters.crypto.keys import SYSTEM, KeyRing, MasterKey, MasterKeys, device_key_id, wrap
from adapters.crypto.rotating import keys_under, move_keys, rotate_keys, short
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.buckets import Bucket
from adapters.jetstream.connection import connect
from adapters.jetstream.content_store import CONTENT, JetStreamContentStore
from adapters.jetstream.dead_letters import DeadLetters
from adapters.jetstream.key_store import DEVICE_KEYS, KEYS, JetStreamKeyStore
from domain.errors import KeyDestroyed, KeyUnavailable, NotFound
from domain.events import ContentRef
from tests.rig import MASTER, Rig
from tests.support import occurrences

OLD = MasterKey.from_base64(MASTER)


def another(connected: Rig, master: MasterKey | MasterKeys = OLD) -> KeyRing:
    """The key ring of another program."""
    return KeyRing(master, JetStreamKeyStore(connected.js))


async def key_id_of(connected: Rig, ref: ContentRef) -> bytes:
    message = await connected.js.get_msg(CONTENT, seq=ref.sequence)
    return blob.key_id_of(message.data or b"")


async def test_new_texts_come_under_new_keys_and_old_ones_stay_readable(connected: Rig) -> None:
    running = JetStreamContentStore(connected.js, another(connected))
    refs = []
    for generation in range(3):
        refs.append(await connected.content.put("acme", "r1", "snapshot", b"text %d" % generation))
        await rotate_keys(connected.keyring, "acme")
    refs.append(await connected.content.put("acme", "r1", "snapshot", b"text 3"))
    other = await connected.content.put("b.2", "r1", "snapshot", b"text of another tenant")
    assert len({await key_id_of(connected, one) for one in refs}) == 4
    assert await key_id_of(connected, other) == device_key_id("b.2", "r1", 0)
    # Also a program that was there before reads what comes under keys that it never heard of.
    for content in (
        connected.content,
        running,
        JetStreamContentStore(connected.js, another(connected)),
    ):
        for number, one in enumerate(refs):
            found = await content.get("acme", "r1", "snapshot", one)
            assert found == b"text %d" % number
    keys = await connected.keyring.tenant("acme")
    assert keys.generation == 3
    assert keys.fingerprint_key == (await another(connected).tenant("acme")).fingerprint_key
    with pytest.raises(NotFound):
        await rotate_keys(connected.keyring, "nobody")


async def test_a_program_takes_the_new_keys_when_it_forgets_the_ones_it_had(connected: Rig) -> None:
    now = [0.0]
    store = JetStreamKeyStore(connected.js)
    running = KeyRing(OLD, store, lifetime=10, clock=lambda: now[0])
    before = await running.device("acme", "r1", 0)
    await rotate_keys(connected.keyring, "acme")
    assert await running.device("acme", "r1", 0) == before
    now[0] = 10
    after = await running.device("acme", "r1", 0)
    assert after.content_key != before.content_key
    assert after == await another(connected).device("acme", "r1", 0)


async def test_old_texts_under_the_tenants_own_key_stay_readable(connected: Rig) -> None:
    keys = await connected.keyring.tenant("acme")
    sealed, commitment = blob.seal(keys, BlobContext("acme", "r1", "snapshot"), b"old text")
    ack = await connected.js.publish("configtrail-content.acme.r1", sealed)
    await rotate_keys(connected.keyring, "acme")
    ref = ContentRef(sequence=ack.seq, commitment=commitment)
    assert await connected.content.get("acme", "r1", "snapshot", ref) == b"old text"
    assert not await connected.content.needs_device_keys()


async def test_credentials_are_sealed_anew_and_no_program_loses_one(connected: Rig) -> None:
    bucket = Bucket(connected.js, CREDENTIALS)
    store = CredentialStore(bucket, connected.keyring)
    running = CredentialStore(Bucket(connected.js, CREDENTIALS), another(connected))
    for name in ("one", "two"):
        await store.put("acme", name, Stored(username="backup", password=f"secret {name}"))
    assert await running.get("acme", "one") is not None
    sealed = await bucket.get("acme", "one")
    assert sealed is not None
    await rotate_keys(connected.keyring, "acme")
    # Not sealed anew yet, and set by a program that does not know of it yet.
    found = await store.get("acme", "one")
    assert found is not None
    assert found.password == "secret one"
    await running.put("acme", "two", Stored(password="set meanwhile"))
    assert await store.reseal("acme") == 2
    assert await store.reseal("acme") == 0
    assert await bucket.get("acme", "one") != sealed
    for one in (store, running, CredentialStore(bucket, another(connected))):
        found = await one.get("acme", "two")
        assert found is not None
        assert found.password == "set meanwhile"
    # What was changed meanwhile is not put back.
    assert not await bucket.replace(b"anything", sealed, "acme", "one")
    await bucket.put(b"x" * 100, "acme", "two")
    with pytest.raises(KeyUnavailable, match="credential two"):
        await running.get("acme", "two")


async def test_a_credential_that_can_not_be_opened_keeps_no_other_from_being_sealed_anew(
    connected: Rig,
) -> None:
    bucket = Bucket(connected.js, CREDENTIALS)
    store = CredentialStore(bucket, connected.keyring)
    for name in ("a", "b", "c", "d"):
        await store.put("acme", name, Stored(password=name))
    before = [await bucket.get("acme", name) for name in ("a", "d")]
    for name in ("b", "c"):
        await bucket.put(b"x" * 100, "acme", name)
    await rotate_keys(connected.keyring, "acme")
    with pytest.raises(KeyUnavailable, match=r"credential b.*1 more"):
        await store.reseal("acme")
    after = [await bucket.get("acme", name) for name in ("a", "d")]
    assert not set(before) & set(after)
    found = await CredentialStore(bucket, another(connected)).get("acme", "d")
    assert found is not None
    assert found.password == "d"


async def test_dead_letters_of_before_and_after_can_be_retried(connected: Rig) -> None:
    async def put(body: bytes) -> int:
        return await connected.dead_letters.put(
            "recorder",
            "config.snapshot.create",
            body,
            field="x",
            rule="must be y",
            tenant_id="acme",
            device_id=None,
            headers=None,
            dedupe_id=None,
        )

    running = DeadLetters(connected.js, another(connected))
    before = await put(b"before")
    assert await running.original(before) == b"before"
    await rotate_keys(connected.keyring, SYSTEM)
    after = await put(b"after")
    for letters in (connected.dead_letters, running):
        assert await letters.original(before) == b"before"
        assert await letters.original(after) == b"after"


async def test_rotations_at_once_and_a_new_master_key_lose_no_key(connected: Rig) -> None:
    await connected.keyring.tenant("acme")
    new = MasterKey(secrets.token_bytes(32))
    both = MasterKeys(new, [OLD])
    ring = another(connected, both)
    before = [await ring.device("acme", f"r{number}", 0) for number in range(8)]
    await asyncio.gather(
        move_keys(another(connected, both)),
        *(rotate_keys(another(connected, both), "acme") for _ in range(4)),
    )
    await move_keys(ring)
    assert set((await keys_under(ring.store)).counts) == {short(new.master_id)}
    after = another(connected, new)
    assert (await after.tenant("acme")).generation == 4
    for number, one in enumerate(before):
        assert await after.opener("acme", f"r{number}", one.key_id) == one


async def test_an_erased_device_has_no_key_of_any_generation_left_whoever_races(
    tmp_path: Path,
) -> None:
    # Without the server's own encryption, so that what is kept can be looked for.
    server = EmbeddedNats(
        tmp_path / "open", encryption_key=None, user="tests", password=secrets.token_hex(16)
    )
    await server.start()
    clients = [await connect(server.url, name=f"test {number}") for number in range(4)]
    try:
        stores = [JetStreamKeyStore(client.jetstream()) for client in clients]
        store = stores[0]
        await store.ensure()
        keyring = KeyRing(OLD, store)
        wrapped: list[bytes] = []
        for _ in range(3):
            await keyring.device("acme", "r1", 0)
            await keyring.device("acme", "r2", 0)
            await rotate_keys(keyring, "acme")
        for name in await store.of_device("acme", "r1"):
            wrapped.append(await store.get(name) or b"")
        assert len(await keyring.of_era("acme", "r1", 0)) == len(wrapped) == 3
        assert all(occurrences(tmp_path, one) == 1 for one in wrapped)

        async def late(theirs: JetStreamKeyStore) -> None:
            """Who still takes the device to be in the era that ends, and rotates the keys."""
            ring = KeyRing(OLD, theirs)
            for _ in range(3):
                await rotate_keys(ring, "acme")
                try:
                    await ring.device("acme", "r1", 0)
                except KeyDestroyed:
                    return

        await asyncio.gather(
            keyring.destroy("acme", "r1", device_key_id("acme", "r1", 0)),
            *(late(one) for one in stores[1:]),
        )
        # Once more, as whoever finishes an erasure does.
        await keyring.destroy("acme", "r1", device_key_id("acme", "r1", 0))
        assert [one for one in wrapped if occurrences(tmp_path, one)] == []
        for name in await store.of_device("acme", "r1"):
            with pytest.raises(KeyDestroyed):
                await store.get(name)
        for one in stores:
            with pytest.raises(KeyDestroyed):
                await KeyRing(OLD, one).device("acme", "r1", 0)
        # The next era, and the neighbour, have their keys.
        await keyring.device("acme", "r1", 1)
        assert len(await keyring.of_era("acme", "r2", 0)) == 3
        # Of a tenant all go, and of its own keys nothing is left in the bucket but the mark.
        await keyring.destroy("acme", "r2", device_key_id("acme", "r2", 0))
        await keyring.destroy("acme", None, b"")
        subject = "$KV.CONFIGTRAIL_KEYS.acme"
        info = await clients[0].jetstream().stream_info(KEYS, subjects_filter=subject)
        assert info.state.subjects == {subject: 1}
        with pytest.raises(KeyDestroyed):
            await rotate_keys(keyring, "acme")
        await keyring.destroy("acme", "r1", device_key_id("acme", "r1", 1))
        listed = [one async for batch in store.devices() for one in batch]
        assert listed == []
        info = await clients[0].jetstream().stream_info(DEVICE_KEYS, subjects_filter=">")
        assert set((info.state.subjects or {}).values()) == {1}
    finally:
        for client in clients:
            await client.close()
        await server.stop()


async def put_back(connected: Rig, wrapped: bytes) -> None:
    """The tenant's keys as they were, or as nobody can open them."""
    store = connected.keyring.store
    now = await store.get("acme")
    assert now is not None
    assert await store.replace("acme", now, wrapped)
    connected.keyring.forget("acme")


async def left_of(connected: Rig, device: str) -> list[str]:
    found = [one async for batch in connected.keyring.store.devices() for one in batch]
    return [one.name for one in found if one.name.endswith(f"/{device}")]


async def test_keys_of_generations_that_are_not_known_any_more_are_destroyed_too(
    connected: Rig,
) -> None:
    """The tenants' keys were put back from a copy of before they were rotated."""
    await connected.keyring.tenant("acme")
    copy = await connected.keyring.store.get("acme")
    assert copy is not None
    for _ in range(3):
        await rotate_keys(connected.keyring, "acme")
        await connected.keyring.device("acme", "r1", 0)
        await connected.keyring.device("acme", "r1", 1)
    await put_back(connected, copy)
    assert len(await connected.keyring.of_era("acme", "r1", 0)) == 4
    await connected.keyring.destroy("acme", "r1", device_key_id("acme", "r1", 0))
    assert len(await left_of(connected, "r1")) == 3
    await connected.keyring.destroy("acme", "r1", device_key_id("acme", "r1", 1))
    assert await left_of(connected, "r1") == []


@pytest.mark.parametrize("how", ["damaged", "cut", "under a master key that is lost"])
async def test_keys_that_nobody_can_open_are_destroyed_as_others(connected: Rig, how: str) -> None:
    await connected.keyring.device("acme", "r1", 0)
    await rotate_keys(connected.keyring, "acme")
    keys = await connected.keyring.tenant("acme")
    await connected.keyring.device("acme", "r1", 0)
    whole = await connected.keyring.store.get("acme") or b""
    match how:
        case "damaged":
            await put_back(connected, whole[:-1] + bytes([whole[-1] ^ 1]))
        case "cut":
            await put_back(connected, whole[:40])
        case _:
            await put_back(connected, wrap(MasterKey(b"3" * 32), "acme", keys))
    with pytest.raises(KeyUnavailable):
        await connected.keyring.tenant("acme")
    first = device_key_id("acme", "r1", 0)
    assert len(await connected.keyring.of_era("acme", "r1", 0)) == 2
    await connected.keyring.destroy("acme", "r1", first)
    assert await left_of(connected, "r1") == []
    assert await connected.keyring.ids("acme") == (keys.key_id,)
    await connected.keyring.destroy("acme", None, keys.key_id)
    with pytest.raises(KeyDestroyed):
        await connected.keyring.ids("acme")
    await move_keys(another(connected, MasterKeys(MasterKey(b"4" * 32), [OLD])))
