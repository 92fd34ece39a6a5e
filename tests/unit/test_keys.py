"""Keys: never shown, refused when others may read them, wrapped against exchange."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import stat
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.crypto.keys import (
    KeyRing,
    MasterKey,
    MasterKeys,
    TenantKeys,
    Wrapped,
    open_keyring,
    unwrap,
    wrap,
)
from adapters.crypto.master import read_keys
from adapters.crypto.rotating import move_keys
from domain.errors import InvalidInput, KeyUnavailable, MasterKeyUnknown

RAW = bytes(range(32))
MASTER = MasterKey(RAW)
TENANT_KEYS = TenantKeys(b"i" * 16, b"c" * 32, b"f" * 32)


class MemoryKeyStore:
    """A key store of one process; counts how often it is asked."""

    def __init__(self) -> None:
        self.wrapped: dict[str, bytes] = {}
        self.reads = 0

    async def get(self, tenant: str) -> bytes | None:
        self.reads += 1
        await asyncio.sleep(0)
        return self.wrapped.get(tenant)

    async def create(self, tenant: str, wrapped: bytes) -> bool:
        await asyncio.sleep(0)
        return self.wrapped.setdefault(tenant, wrapped) is wrapped

    async def replace(self, name: str, wrapped: bytes, by: bytes) -> bool:
        await asyncio.sleep(0)
        if self.wrapped.get(name) != wrapped:
            return False
        self.wrapped[name] = by
        return True

    async def destroy_replaced(self, name: str) -> None:
        await asyncio.sleep(0)

    async def names(self) -> list[str]:
        return [name for name in self.wrapped if "/" not in name]

    async def devices(self) -> AsyncGenerator[list[Wrapped], None]:
        await asyncio.sleep(0)
        yield [Wrapped(name, body) for name, body in self.wrapped.items() if "/" in name]

    async def of_device(self, tenant_id: str, device_id: str) -> list[str]:
        await asyncio.sleep(0)
        ends = (f"{tenant_id}/", f"/{device_id}")
        return [one for one in self.wrapped if one.startswith(ends[0]) and one.endswith(ends[1])]

    async def destroy(self, name: str) -> None:
        self.wrapped[name] = b""


def written(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_master_key_comes_from_base64() -> None:
    given = MasterKey.from_base64(base64.b64encode(RAW).decode() + "\n")
    assert given.derive("x") == MASTER.derive("x")


@pytest.mark.parametrize(
    "text", ["", "c2hvcnQ=", "secret-that-is-no-base64!", "é", base64.b64encode(bytes(33)).decode()]
)
def test_what_is_not_32_bytes_of_base64_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(KeyUnavailable) as refused:
        MasterKey.from_base64(text)
    assert not text or text not in str(refused.value)
    assert refused.value.__cause__ is None


def test_what_is_derived_differs_by_purpose_and_never_is_the_key() -> None:
    derived = {MASTER.derive("a"), MASTER.derive("b"), MasterKey(bytes(32)).derive("a"), RAW}
    assert len(derived) == 4


def test_keys_are_not_shown() -> None:
    for shown in (repr(MASTER), str(MASTER), repr(TENANT_KEYS), f"{TENANT_KEYS}"):
        for key in (RAW, b"c" * 32, b"f" * 32):
            assert key.hex() not in shown
            assert base64.b64encode(key).decode() not in shown
            assert repr(key)[2:-1] not in shown


def test_a_generated_file_is_private_and_gives_its_key_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "master.key"
    made = MasterKey.generate_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_keys(path)[0].derive("x") == made.derive("x")
    assert [file.name for file in path.parent.iterdir()] == ["master.key"]


def test_a_generated_file_never_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    first = MasterKey.generate_file(path)
    with pytest.raises(FileExistsError):
        MasterKey.generate_file(path)
    assert [one.master_id for one in read_keys(path)] == [first.master_id]
    assert [file.name for file in tmp_path.iterdir()] == ["master.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_key_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "master.key", base64.b64encode(RAW), mode)
    with pytest.raises(KeyUnavailable, match=f"mode {mode:04o}.*chmod 600"):
        read_keys(path)


@pytest.mark.parametrize("content", [b"", b"garbage", bytes(32), b"\xff" * 44, b"A" * 5000])
def test_a_key_file_with_something_else_in_it_is_refused(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path / "master.key", content)
    with pytest.raises(KeyUnavailable, match=r"master\.key"):
        read_keys(path)


def test_a_key_given_goes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    MasterKey.generate_file(path)
    given = MasterKeys.load(base64.b64encode(RAW).decode(), path)
    assert given.first.master_id == MASTER.master_id
    with pytest.raises(KeyUnavailable, match="there is no file"):
        MasterKeys.load(None, tmp_path / "absent")


def test_a_file_gives_the_key_first_and_then_former_ones(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    other = MasterKey(bytes(32))
    written(path, f"{MASTER.to_base64()}\n{other.to_base64()}\n\n".encode())
    found = MasterKeys.load(None, path)
    assert found.first.master_id == MASTER.master_id
    assert [one.master_id for one in found.former] == [other.master_id]
    written(path, f"{MASTER.to_base64()}\nno key!\n".encode())
    with pytest.raises(KeyUnavailable, match=r"master\.key.*not base64"):
        MasterKeys.load(None, path)


def test_former_keys_are_given_with_commas_between_and_never_quoted(tmp_path: Path) -> None:
    other, third = MasterKey(bytes(32)), MasterKey(b"3" * 32)
    given = f" {other.to_base64()}, {third.to_base64()},"
    found = MasterKeys.load(MASTER.to_base64(), tmp_path, given)
    assert {one.master_id for one in found.former} == {other.master_id, third.master_id}
    assert not MasterKeys.load(MASTER.to_base64(), tmp_path, "").former
    with pytest.raises(KeyUnavailable, match="CONFIGTRAIL_MASTER_KEY_OLD") as refused:
        MasterKeys.load(MASTER.to_base64(), tmp_path, "not-a-secret")
    assert "not-a-secret" not in str(refused.value)


async def test_a_key_in_a_file_is_made_anew_beside_the_old_one_which_is_retired_in_the_end(
    tmp_path: Path,
) -> None:
    path = tmp_path / "master.key"
    old = MasterKey.generate_file(path)
    running, masters = MasterKeys.load(None, path), MasterKeys.load(None, path)
    await masters.begin()
    new = masters.first
    assert new.master_id != old.master_id
    assert [one.master_id for one in read_keys(path)] == [new.master_id, old.master_id]
    # A program that runs takes it up when it meets it.
    found = await running.find(new.master_id)
    assert found is not None
    assert found.master_id == new.master_id
    assert await running.find(b"of nobody") is None
    # Broken off after the first file, then again.
    written(
        tmp_path / f"master.key.{old.master_id.hex()[:8]}.retired", f"{old.to_base64()}\n".encode()
    )
    (retired,) = await masters.retire()
    assert await masters.retire() == []
    assert [one.master_id for one in read_keys(path)] == [new.master_id]
    assert old.master_id in {one.master_id for one in read_keys(retired)}
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(retired.stat().st_mode) == 0o600
    with pytest.raises(InvalidInput, match="CONFIGTRAIL_MASTER_KEY_OLD"):
        await MasterKeys(MASTER).begin()


def test_wrapped_keys_come_back() -> None:
    wrapped = wrap(MASTER, "acme", TENANT_KEYS)
    assert unwrap(MASTER, "acme", wrapped) == TENANT_KEYS
    assert b"c" * 32 not in wrapped
    assert b"f" * 32 not in wrapped


@given(st.integers(0, 5))
def test_rotated_keys_come_back_with_all_former_ones(times: int) -> None:
    keys, before = TENANT_KEYS, [TENANT_KEYS]
    for _ in range(times):
        keys = keys.rotated()
        before.append(keys)
    found = unwrap(MASTER, "acme", wrap(MASTER, "acme", keys))
    assert found == keys
    assert found.generation == times
    for one in before:
        opening = found.opening(one.key_id)
        assert (opening.key_id, opening.content_key) == (one.key_id, one.content_key)
        assert opening.fingerprint_key == TENANT_KEYS.fingerprint_key
    assert len({one.content_key for one in before}) == times + 1
    assert found.opening(b"of nobody") is found


@given(st.data())
def test_wrapped_keys_that_were_touched_are_refused(data: st.DataObject) -> None:
    keys = data.draw(st.sampled_from([TENANT_KEYS, TENANT_KEYS.rotated()]))
    wrapped = bytearray(wrap(MASTER, "acme", keys))
    position = data.draw(st.integers(0, len(wrapped) - 1))
    wrapped[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(KeyUnavailable):
        unwrap(MASTER, "acme", bytes(wrapped))
    cut = bytes(wrapped[:position])
    with pytest.raises(KeyUnavailable):
        unwrap(MASTER, "acme", cut)


def test_wrapped_keys_of_another_tenant_are_refused() -> None:
    with pytest.raises(KeyUnavailable, match="exchanged"):
        unwrap(MASTER, "other", wrap(MASTER, "acme", TENANT_KEYS))


def test_a_wrong_master_key_is_named_with_what_to_do() -> None:
    with pytest.raises(KeyUnavailable, match=r"master key .* right one \(CONFIGTRAIL_MASTER_KEY"):
        unwrap(MasterKey(bytes(32)), "acme", wrap(MASTER, "acme", TENANT_KEYS))


async def test_keys_are_made_once_and_then_remembered_for_their_lifetime() -> None:
    store, now = MemoryKeyStore(), [0.0]
    keyring = KeyRing(MASTER, store, lifetime=10, clock=lambda: now[0])
    first = await asyncio.gather(*(keyring.tenant("acme") for _ in range(20)))
    assert len(set(map(id, first))) == 1
    reads = store.reads
    now[0] = 9.9
    assert await keyring.tenant("acme") is first[0]
    assert store.reads == reads
    now[0] = 10
    again = await keyring.tenant("acme")
    assert again == first[0]
    assert store.reads == reads + 1


async def test_keys_that_were_destroyed_are_gone_after_their_lifetime() -> None:
    store, now = MemoryKeyStore(), [0.0]
    keyring = KeyRing(MASTER, store, lifetime=10, clock=lambda: now[0])
    before = await keyring.tenant("acme")
    store.wrapped["acme"] = wrap(MASTER, "acme", TENANT_KEYS)
    now[0] = 10
    assert await keyring.tenant("acme") == TENANT_KEYS != before


async def test_no_more_keys_are_remembered_than_allowed() -> None:
    store = MemoryKeyStore()
    keyring = KeyRing(MASTER, store, capacity=2)
    for tenant in ("a", "b", "a", "c"):
        await keyring.tenant(tenant)
    reads = store.reads
    await keyring.tenant("a")
    await keyring.tenant("c")
    assert store.reads == reads
    await keyring.tenant("b")
    assert store.reads == reads + 1


async def test_tenants_have_keys_of_their_own() -> None:
    keyring = KeyRing(MASTER, MemoryKeyStore())
    all_keys = [await keyring.tenant("a"), await keyring.tenant("b"), await keyring.system()]
    values = [key for keys in all_keys for key in (keys.content_key, keys.fingerprint_key)]
    assert len(set(values)) == 6


@pytest.mark.parametrize("tenant", ["_system", "_master", "", "a/b"])
async def test_reserved_and_malformed_tenants_get_no_keys(tenant: str) -> None:
    store = MemoryKeyStore()
    with pytest.raises(InvalidInput):
        await KeyRing(MASTER, store).tenant(tenant)
    assert not store.wrapped


async def test_a_file_behind_a_link_is_written_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    target, path = tmp_path / "secrets/master.key", tmp_path / "master.key"
    old = MasterKey.generate_file(target)
    path.symlink_to(target)
    masters = MasterKeys.load(None, path)
    await masters.begin()
    assert path.is_symlink()
    assert [one.master_id for one in read_keys(target)][1:] == [old.master_id]
    (retired,) = await masters.retire()
    assert path.is_symlink()
    assert retired.parent == target.parent
    assert [one.master_id for one in read_keys(target)] == [masters.first.master_id]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes files of others")
async def test_a_file_stays_its_owners_whoever_moves_the_keys(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    MasterKey.generate_file(path)
    os.chown(path, 12_345, 12_346)
    masters = MasterKeys.load(None, path)
    await masters.begin()
    assert (path.stat().st_uid, path.stat().st_gid) == (12_345, 12_346)
    (retired,) = await masters.retire()
    for one in (path, retired):
        assert (one.stat().st_uid, one.stat().st_gid) == (12_345, 12_346)
        assert stat.S_IMODE(one.stat().st_mode) == 0o600


def retired_in(folder: Path) -> list[Path]:
    return list(folder.glob("*.retired"))


async def test_the_key_that_is_used_is_never_called_retired(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    twice, other = MASTER.to_base64(), MasterKey(bytes(32))
    written(path, f"{twice}\n{twice}\n{other.to_base64()}\n{other.to_base64()}\n".encode())
    (retired,) = await MasterKeys.load(None, path).retire()
    assert retired.name == f"master.key.{other.master_id.hex()[:8]}.retired"
    assert await asyncio.to_thread(retired_in, tmp_path) == [retired]
    written(path, f"{twice}\n{twice}\n".encode())
    assert await MasterKeys.load(None, path).retire() == []
    assert [one.master_id for one in read_keys(path)] == [MASTER.master_id]


@pytest.mark.parametrize("spoilt", ["gone", "others may read it", "no key in it"])
async def test_a_file_that_can_not_be_read_again_holds_no_other_key(
    tmp_path: Path, spoilt: str
) -> None:
    """Whoever works waits then, as for any master key that others have."""
    path = tmp_path / "master.key"
    store = MemoryKeyStore()
    running = await open_keyring(store, master_key=None, key_file=path)
    kept = await running.tenant("acme")
    await move_keys(KeyRing(MasterKeys(MASTER, [running.masters.first]), store))
    match spoilt:
        case "gone":
            path.unlink()
        case "others may read it":
            path.chmod(0o644)
        case _:
            path.write_text("x")
    for ask in (partial(running.tenant, "b.2"), running.master):
        with pytest.raises(MasterKeyUnknown, match=r"master\.key"):
            await ask()
    # What it knows it needs no file for.
    assert await running.tenant("acme") == kept


async def test_a_start_with_another_master_key_is_refused() -> None:
    store = MemoryKeyStore()
    await KeyRing(MASTER, store).check()
    await KeyRing(MASTER, store).check()
    with pytest.raises(KeyUnavailable, match="right one"):
        await KeyRing(MasterKey(bytes(32)), store).check()


async def test_a_lost_sentinel_is_not_made_anew_by_a_wrong_master_key() -> None:
    store = MemoryKeyStore()
    await KeyRing(MASTER, store).tenant("acme")
    with pytest.raises(KeyUnavailable, match="right one"):
        await KeyRing(MasterKey(bytes(32)), store).check()
    assert list(store.wrapped) == ["acme"]
    await KeyRing(MASTER, store).check()


async def test_the_first_start_makes_a_key_file_and_later_ones_use_it(tmp_path: Path) -> None:
    store, path = MemoryKeyStore(), tmp_path / "master.key"
    first = await (await open_keyring(store, master_key=None, key_file=path)).tenant("acme")
    again = await (await open_keyring(store, master_key=None, key_file=path)).tenant("acme")
    assert first == again


async def test_a_lost_master_key_is_refused_and_never_replaced(tmp_path: Path) -> None:
    store, path = MemoryKeyStore(), tmp_path / "master.key"
    await open_keyring(store, master_key=None, key_file=path)
    path.unlink()
    with pytest.raises(KeyUnavailable, match="put it back from its copy"):
        await open_keyring(store, master_key=None, key_file=path)
    assert not path.exists()


async def test_several_first_starts_at_once_share_one_master_key(tmp_path: Path) -> None:
    store, path = MemoryKeyStore(), tmp_path / "master.key"
    keyrings = await asyncio.gather(
        *(open_keyring(store, master_key=None, key_file=path) for _ in range(8))
    )
    keys = [await keyring.tenant("acme") for keyring in keyrings]
    assert all(found == keys[0] for found in keys)


def test_there_is_nothing_but_the_systems_randomness() -> None:
    """Of what makes keys, salts and ids of access, nothing draws from a generator with a seed."""
    root = Path(__file__).parents[2]
    modules = [
        one
        for folder in ("domain", "projections", "adapters/crypto", "adapters/access")
        for one in (root / folder).rglob("*.py")
    ]
    assert len(modules) > 50
    drawing = re.compile(r"^\s*(?:import|from) (?:random|numpy)\b", re.MULTILINE)
    assert [one for one in modules if drawing.search(one.read_text())] == []
