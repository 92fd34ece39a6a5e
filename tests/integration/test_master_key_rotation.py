"""All keys are moved to another master key: beside programs that work, broken off, and for good."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest
from nats.aio.client import Client

from adapters.crypto.keys import (
    KeyRing,
    MasterKey,
    MasterKeys,
    TenantKeys,
    Wrapped,
    device_key_id,
    device_key_name,
    open_keyring,
    wrap,
)
from adapters.crypto.rotating import keys_under, move_keys, short
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.connection import connect
from adapters.jetstream.key_store import DEVICE_KEYS, KEYS, JetStreamKeyStore, device_keys_config
from adapters.roles.key_watch import KeyWatch
from domain.errors import KeyDestroyed, KeyUnavailable, MasterKeyUnknown
from tests.support import eventually, occurrences

OLD, NEW = MasterKey(b"o" * 32), MasterKey(b"n" * 32)
BOTH = MasterKeys(NEW, [OLD])
FLEET = [("acme", f"r{number}") for number in range(12)] + [("b.2", "r 1/x")]


class Noting(JetStreamKeyStore):
    """Notes everything that is ever kept wrapped, by name."""

    def __init__(self, nc: Client) -> None:
        super().__init__(nc.jetstream())
        self.kept: list[Wrapped] = []

    async def create(self, name: str, wrapped: bytes) -> bool:
        self.kept.append(Wrapped(name, wrapped))
        return await super().create(name, wrapped)

    async def replace(self, name: str, wrapped: bytes, by: bytes) -> bool:
        self.kept.append(Wrapped(name, by))
        return await super().replace(name, wrapped, by)


async def all_keys(keyring: KeyRing) -> list[TenantKeys]:
    """The keys of everybody, made when they are not there."""
    found = [await keyring.system()]
    found += [await keyring.tenant(tenant) for tenant in ("acme", "b.2")]
    return found + [await keyring.device(tenant, device, 0) for tenant, device in FLEET]


def name_of(tenant: str, device: str, era: int = 0) -> str:
    return device_key_name(tenant, device, device_key_id(tenant, device, era))


async def counts(key_store: JetStreamKeyStore) -> dict[str, int]:
    return (await keys_under(key_store)).counts


async def test_all_keys_are_moved_and_open_with_the_new_master_key_alone(
    key_store: JetStreamKeyStore, nc: Client
) -> None:
    before = KeyRing(OLD, key_store)
    await before.check()
    kept = await all_keys(before)
    assert await counts(key_store) == {short(OLD.master_id): len(kept) + 1}
    told: list[int] = []
    assert await move_keys(KeyRing(BOTH, key_store), told.append) == len(kept) + 1
    assert sorted(told) == told
    assert await counts(key_store) == {short(NEW.master_id): len(kept) + 1}
    after = KeyRing(NEW, key_store)
    await after.check()
    assert await all_keys(after) == kept
    with pytest.raises(KeyUnavailable, match="right one"):
        await KeyRing(OLD, key_store).check()
    with pytest.raises(KeyUnavailable, match="CONFIGTRAIL_MASTER_KEY_OLD"):
        await KeyRing(OLD, key_store).device(*FLEET[0], 0)
    # Done again it finds nothing to do.
    assert await move_keys(KeyRing(BOTH, key_store)) == 0
    for stream, count in ((KEYS, 4), (DEVICE_KEYS, len(FLEET))):
        assert (await nc.jetstream().stream_info(stream)).state.messages == count


async def test_of_how_devices_keys_were_wrapped_no_byte_is_left_nor_of_erased_ones(
    tmp_path: Path,
) -> None:
    # Without the server's own encryption, so that what is kept can be looked for.
    server = EmbeddedNats(
        tmp_path / "open", encryption_key=None, user="tests", password=secrets.token_hex(16)
    )
    await server.start()
    nc = await connect(server.url, name="test")
    try:
        store = Noting(nc)
        await store.ensure()
        before = KeyRing(OLD, store)
        await before.check()
        await all_keys(before)
        first = [one.wrapped for one in store.kept if "/" in one.name]
        assert all(occurrences(tmp_path, one) == 1 for one in first)
        rotating, erasing = KeyRing(BOTH, store), KeyRing(BOTH, store)
        erased = FLEET[::2]
        await asyncio.gather(
            move_keys(rotating),
            *(erasing.destroy(*one, device_key_id(*one, 0)) for one in erased),
            move_keys(KeyRing(BOTH, store)),
        )
        names = {name_of(*one) for one in erased}
        gone = first + [one.wrapped for one in store.kept if one.name in names]
        assert [one for one in gone if occurrences(tmp_path, one)] == []
        for one in erased:
            with pytest.raises(KeyDestroyed):
                await KeyRing(NEW, store).device(*one, 0)
            assert not await store.create(name_of(*one), b"anything")
        # Of each name there is one message: the keys, or the mark of destroyed ones.
        assert (await nc.jetstream().stream_info(DEVICE_KEYS)).state.messages == len(FLEET)
        await KeyRing(NEW, store).device(*FLEET[1], 0)
    finally:
        await nc.close()
        await server.stop()


async def test_what_was_broken_off_is_finished_and_left_over_copies_are_destroyed(
    key_store: JetStreamKeyStore, nc: Client
) -> None:
    before = KeyRing(OLD, key_store)
    await before.check()
    kept = await all_keys(before)
    # Killed after the new copy was kept and before the old one was destroyed.
    assert await KeyRing(BOTH, key_store).rewrap(name_of(*FLEET[3]), NEW)
    copies = (await nc.jetstream().stream_info(DEVICE_KEYS)).state.messages
    place = "configtrail-keys.acme.*.r4"
    again = await nc.jetstream().get_last_msg(DEVICE_KEYS, place)
    keys = await before.unwrapped(name_of(*FLEET[4]), again.data or b"")
    assert again.subject is not None
    await nc.jetstream().publish(again.subject, wrap(NEW, name_of(*FLEET[4]), keys))
    assert (await nc.jetstream().stream_info(DEVICE_KEYS)).state.messages == copies + 1
    # Both copies are told of, and the newer one counts.
    assert (await counts(key_store))[short(NEW.master_id)] == 2
    assert await KeyRing(BOTH, key_store).device(*FLEET[4], 0) == kept[3 + 4]
    await move_keys(KeyRing(BOTH, key_store))
    assert await all_keys(KeyRing(NEW, key_store)) == kept
    assert await counts(key_store) == {short(NEW.master_id): len(kept) + 1}
    assert (await nc.jetstream().stream_info(DEVICE_KEYS)).state.messages == copies


async def test_an_erasure_that_was_broken_off_leaves_no_copy_either(
    key_store: JetStreamKeyStore, nc: Client
) -> None:
    await all_keys(KeyRing(OLD, key_store))
    subject = (await nc.jetstream().get_last_msg(DEVICE_KEYS, "configtrail-keys.*.*.r4")).subject
    assert subject is not None
    # Killed after the mark was set and before the keys were destroyed.
    await nc.jetstream().publish(subject, headers={"KV-Operation": "PURGE"})
    with pytest.raises(KeyDestroyed):
        await KeyRing(OLD, key_store).device(*FLEET[4], 0)
    assert short(OLD.master_id) in await counts(key_store)
    await KeyRing(OLD, key_store).destroy(*FLEET[4], device_key_id(*FLEET[4], 0))
    info = await nc.jetstream().stream_info(DEVICE_KEYS, subjects_filter=subject)
    assert info.state.subjects == {subject: 1}


async def test_programs_that_make_keys_meanwhile_make_none_under_the_old_one_that_stays(
    nats_server: EmbeddedNats, key_store: JetStreamKeyStore
) -> None:
    await KeyRing(OLD, key_store).check()
    clients = [await connect(nats_server.url, name=f"test {number}") for number in range(4)]
    ended = asyncio.Event()
    made: dict[tuple[str, str], TenantKeys] = {}

    async def making(client: Client, tenant: str) -> None:
        keyring = KeyRing(BOTH, JetStreamKeyStore(client.jetstream()))
        number = 0
        while not ended.is_set() or number < 20:
            device = f"r{number}"
            made[tenant, device] = await keyring.device(tenant, device, 0)
            number += 1

    try:
        working = [
            asyncio.create_task(making(client, f"t{number}"))
            for number, client in enumerate(clients)
        ]
        await asyncio.gather(*(move_keys(KeyRing(BOTH, key_store)) for _ in range(2)))
        ended.set()
        await asyncio.gather(*working)
    finally:
        for client in clients:
            await client.close()
    assert set(await counts(key_store)) == {short(NEW.master_id)}
    after = KeyRing(NEW, key_store)
    for (tenant, device), keys in made.items():
        assert await after.device(tenant, device, 0) == keys


async def test_a_program_that_knows_only_the_old_one_works_until_then_and_is_refused_after(
    key_store: JetStreamKeyStore,
) -> None:
    late, ready = KeyRing(OLD, key_store), KeyRing(BOTH, key_store)
    await late.check()
    # Before keys are moved, those who know both make keys that the others can open.
    await ready.check()
    assert await late.device("acme", "r1", 0) == await ready.device("acme", "r1", 0)
    assert await ready.device("acme", "r2", 0) == await late.device("acme", "r2", 0)
    await move_keys(ready)
    with pytest.raises(KeyUnavailable, match="given"):
        await late.device("acme", "r3", 0)
    assert await key_store.get(name_of("acme", "r3")) is None
    # What it made while the sentinel was moved is found by whoever looks again.
    assert await key_store.create(name_of("acme", "r4"), await wrapped_by(OLD, "acme", "r4"))
    assert (await counts(key_store))[short(OLD.master_id)] == 1
    assert await move_keys(ready) == 1
    assert set(await counts(key_store)) == {short(NEW.master_id)}


async def test_a_running_program_that_knows_only_the_old_one_is_ended(
    key_store: JetStreamKeyStore,
) -> None:
    late, following = KeyRing(OLD, key_store), KeyRing(BOTH, key_store)
    await late.check()
    ending, going_on = (KeyWatch(one, every=0.01) for one in (late, following))
    async with asyncio.TaskGroup() as group:
        watching = [group.create_task(surely_ended(ending)), group.create_task(going_on.run())]
        await eventually(lambda: ending.looks > 0)
        await move_keys(following)
        await watching[0]
        seen = going_on.looks
        await eventually(lambda: going_on.looks > seen)
        watching[1].cancel()


async def surely_ended(watch: KeyWatch) -> None:
    with pytest.raises(MasterKeyUnknown, match="CONFIGTRAIL_MASTER_KEY"):
        await watch.run()


async def wrapped_by(master: MasterKey, tenant: str, device: str) -> bytes:
    return wrap(
        master, name_of(tenant, device), TenantKeys.generate(device_key_id(tenant, device, 0))
    )


async def test_keys_under_a_master_key_that_nobody_has_are_named(
    key_store: JetStreamKeyStore,
) -> None:
    await all_keys(KeyRing(OLD, key_store))
    third = MasterKey(b"3" * 32)
    with pytest.raises(KeyUnavailable, match=short(OLD.master_id)):
        await move_keys(KeyRing(MasterKeys(NEW, [third]), key_store))
    assert set(await counts(key_store)) == {short(OLD.master_id)}


async def test_one_that_can_not_be_moved_is_named_and_keeps_none_of_the_others_back(
    key_store: JetStreamKeyStore,
) -> None:
    before = KeyRing(OLD, key_store)
    kept = await all_keys(before)
    lost = MasterKey(b"3" * 32)
    name = name_of("acme", "r99")
    assert await key_store.create(name, await wrapped_by(lost, "acme", "r99"))
    tenant = await KeyRing(lost, key_store).unwrapped(name, await key_store.get(name) or b"")
    assert await key_store.create("9th", wrap(lost, "9th", tenant))
    for _ in range(2):
        with pytest.raises(KeyUnavailable, match=r"the keys of 9th.*1 more"):
            await move_keys(KeyRing(BOTH, key_store))
        assert await counts(key_store) == {
            short(NEW.master_id): len(kept),
            short(lost.master_id): 2,
        }
    assert await all_keys(KeyRing(NEW, key_store)) == kept
    # Whoever erases them is done with them.
    await key_store.destroy(name)
    await key_store.destroy("9th")
    assert await move_keys(KeyRing(BOTH, key_store)) == 0


async def test_erased_tenants_keep_no_program_from_its_start(key_store: JetStreamKeyStore) -> None:
    before = KeyRing(OLD, key_store)
    await before.tenant("9th")
    await before.destroy("9th", None, b"")
    await before.tenant("acme")
    with pytest.raises(KeyUnavailable, match="right one"):
        await KeyRing(NEW, key_store).check()
    await before.check()


async def test_a_program_that_has_its_key_in_a_file_follows(
    key_store: JetStreamKeyStore, tmp_path: Path
) -> None:
    path = tmp_path / "master.key"
    running = await open_keyring(key_store, master_key=None, key_file=path)
    kept = await all_keys(running)
    rotating = await open_keyring(key_store, master_key=None, key_file=path)
    await rotating.masters.begin()
    await move_keys(rotating)
    await rotating.masters.retire()
    made = await running.device("acme", "another", 0)
    running.forget("acme")
    assert await running.tenant("acme") == kept[1]
    fresh = await open_keyring(key_store, master_key=None, key_file=path)
    assert fresh.masters.former == []
    assert await fresh.device("acme", "another", 0) == made
    assert await all_keys(fresh) == kept


@pytest.mark.parametrize("doing", ["replaced", "destroyed", "started"])
async def test_the_stream_of_before_keys_could_be_moved_gets_room_when_that_matters(
    nc: Client, doing: str
) -> None:
    js = nc.jetstream()
    await js.add_stream(device_keys_config(1).evolve(max_msgs_per_subject=1))
    key_store, name = JetStreamKeyStore(js), name_of("acme", "r1")

    async def limit() -> int:
        return (await js.stream_info(DEVICE_KEYS)).config.max_msgs_per_subject

    # A program of before may run beside this one, and refuse to without its limit.
    await key_store.ensure_devices(1, create=False)
    assert await key_store.create(name, b"wrapped")
    assert await limit() == 1
    match doing:
        case "replaced":
            assert await key_store.replace(name, b"wrapped", b"anew")
        case "destroyed":
            await key_store.destroy(name)
        case _:
            await key_store.ensure()
            await key_store.ensure()
    assert await limit() == -1
    assert (await js.stream_info(DEVICE_KEYS)).state.messages == 1
