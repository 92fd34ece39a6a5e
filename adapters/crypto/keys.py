"""Keys: made at first use, kept wrapped under the master key, unwrapped for a while.

A tenant has keys for what is its own: fingerprints, credentials, and texts of before its devices
had keys. A device has one for each era of its texts, so that they can be erased by destroying it;
its id follows from its place, so whoever holds a text finds the key by the id in the text's blob.

Rotating a tenant's keys begins a generation: its own content key is another one from then on, and
so is, from its next text on, that of each device in the era that it is in. The first key of an era
stands for all of them: when it is destroyed, none of that era's keys is given out any more.

Which master key new keys are wrapped under is told by the one of the sentinel, and not by each
program's settings: so programs that know the next one beside it and programs that don't yet can
work side by side until keys are moved, and the sentinel with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from adapters.crypto.master import MasterKey
from adapters.crypto.masters import MasterKeys
from adapters.crypto.wrapped_store import Wrapped, WrappedKeyStore
from adapters.crypto.wrapping import (
    KEY_ID_BYTES,
    TenantKeys,
    device_key_id,
    device_key_name,
    generation_key_id,
    generation_of,
    key_id_of,
    master_id_of,
    unwrap,
    wrap,
)
from domain.errors import KeyDestroyed, KeyUnavailable
from domain.ids import check_tenant_id

__all__ = [
    "KEY_ID_BYTES",
    "LIFETIME_SECONDS",
    "SENTINEL",
    "SYSTEM",
    "KeyRing",
    "MasterKey",
    "MasterKeys",
    "TenantKeys",
    "Wrapped",
    "WrappedKeyStore",
    "device_key_id",
    "device_key_name",
    "open_keyring",
    "unwrap",
    "wrap",
]

log = logging.getLogger(__name__)

# Names of our own: no tenant id begins with `_`.
SYSTEM: Final = "_system"
SENTINEL: Final = "_master"
# How long unwrapped keys are kept in memory, and so how long a program may not know of new ones.
LIFETIME_SECONDS: Final = 300.0
# A tenant's keys may have been put back from a copy of before they were rotated so often, and its
# devices' not.
_MORE_GENERATIONS: Final = 1_000


class KeyRing:
    """The keys of all tenants, as this program may use them.

    Unwrapped keys are forgotten `lifetime` seconds after they were fetched, and the least used
    when there are more than `capacity`.
    """

    def __init__(
        self,
        master: MasterKey | MasterKeys,
        store: WrappedKeyStore,
        *,
        capacity: int = 16_384,
        lifetime: float = LIFETIME_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.masters = MasterKeys(master) if isinstance(master, MasterKey) else master
        self.store = store
        self._capacity = capacity
        self._lifetime = lifetime
        self._clock = clock
        self._cache: OrderedDict[str, tuple[float, TenantKeys]] = OrderedDict()
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def tenant(self, tenant_id: str) -> TenantKeys:
        """The tenant's keys, made at first use: one key however many programs race for it.

        Raises `InvalidInput`, `KeyUnavailable` (wrong master key, destroyed key), `Unavailable`.
        """
        return await self._keys(check_tenant_id(tenant_id))

    async def ids(self, tenant_id: str) -> tuple[bytes, ...]:
        """The ids of the tenant's keys as they are now, made if there are none; of keys that can't
        be opened only that of the newest. Raises `InvalidInput`, `KeyDestroyed`, `Unavailable`."""
        self.forget(tenant_id)
        try:
            keys = await self.tenant(tenant_id)
        except KeyDestroyed:
            raise
        except KeyUnavailable:
            wrapped = await self.store.get(tenant_id)
            if wrapped is None:  # there are none, and whoever could make them is somebody else
                raise
            return (key_id_of(wrapped),)
        return keys.key_id, *(one.key_id for one in keys.former)

    async def check_not_erased(self, tenant_id: str) -> None:
        """Raises `KeyDestroyed` when the tenant was erased. The store is asked, not the memory of
        this program, and no keys are made. Raises `InvalidInput`, `Unavailable`."""
        await self.store.get(check_tenant_id(tenant_id))

    async def device(self, tenant_id: str, device_id: str, era: int) -> TenantKeys:
        """The key under which a device's new texts are kept in an era of theirs, made at first use.
        Of it only `content_key` is used. Raises as `tenant` does; `KeyDestroyed` when the era
        ended."""
        first = device_key_id(tenant_id, device_id, era)
        generation = (await self.tenant(tenant_id)).generation
        if not generation:
            return await self._keys(device_key_name(tenant_id, device_id, first), first)
        key_id = generation_key_id(first, generation)
        name = device_key_name(tenant_id, device_id, key_id)
        era_name = device_key_name(tenant_id, device_id, first)
        return await self._keys(name, key_id, era_name)

    async def opener(self, tenant_id: str, device_id: str, key_id: bytes) -> TenantKeys:
        """The keys of a text whose blob names `key_id`: the device's, else the tenant's, which kept
        texts before devices had keys. Raises as `tenant` does."""
        name = device_key_name(check_tenant_id(tenant_id), device_id, key_id)
        cached = self._cached(name)
        if cached is not None:
            return cached
        tenant = await self._keys(tenant_id)
        opening = tenant.opening(key_id)
        if opening.key_id == key_id or await self.store.get(name) is None:
            return opening
        return await self._keys(name, key_id)

    async def destroy(self, tenant_id: str, device_id: str | None, key_id: bytes) -> None:
        """Destroy the key that a device had in an era, in all generations, or without a device the
        tenant's. `key_id` is that of `device_key_id`. Other programs forget them within the
        lifetime of what they keep. Raises `Unavailable`."""
        name = check_tenant_id(tenant_id)
        if device_id is not None:
            name = device_key_name(tenant_id, device_id, key_id)
        await self.store.destroy(name)
        self.forget(name)
        if device_id is None:
            return
        # Asked after the first key was destroyed: nobody is given a later one from then on.
        for later in await self._later(tenant_id, device_id, key_id):
            await self.store.destroy(later)
            self.forget(later)

    async def of_era(self, tenant_id: str, device_id: str, era: int) -> tuple[bytes, ...]:
        """The ids of the keys that a device has in an era, its first one first. Raises as
        `tenant`."""
        first = device_key_id(check_tenant_id(tenant_id), device_id, era)
        later = await self._later(tenant_id, device_id, first)
        return first, *(bytes.fromhex(one.split("/")[1]) for one in later)

    async def _later(self, tenant_id: str, device_id: str, first: bytes) -> list[str]:
        """The names of the keys that a device has in an era beside its first one. Nothing is opened
        for it: what can't be opened can be erased."""
        own = device_key_name(tenant_id, device_id, first)
        names = [one for one in await self.store.of_device(tenant_id, device_id) if one != own]
        try:
            wrapped = await self.store.get(tenant_id)
        except KeyDestroyed:
            return names  # nothing is kept of the tenant any more, in any era
        if not names:
            return []
        generations = generation_of(wrapped or b"") + _MORE_GENERATIONS
        ids = (generation_key_id(first, number) for number in range(1, generations + 1))
        later = {device_key_name(tenant_id, device_id, one) for one in ids}
        return [one for one in names if one in later]

    def forget(self, name: str) -> None:
        """Ask the store anew for the keys of a name when they are needed next."""
        self._cache.pop(name, None)

    async def system(self) -> TenantKeys:
        """The keys for what belongs to no tenant: dead letters. Raises as `tenant` does."""
        return await self._keys(SYSTEM)

    async def system_opener(self, key_id: bytes) -> TenantKeys:
        """The keys of what belongs to no tenant and names `key_id`. Raises as `tenant` does."""
        opening = (await self.system()).opening(key_id)
        if opening.key_id != key_id:
            # They may have been rotated since this program asked for them.
            self.forget(SYSTEM)
            opening = (await self.system()).opening(key_id)
        return opening

    async def check(self) -> None:
        """Prove that the master key is the one of the store. To be called at every start.

        The first start leaves a sentinel wrapped under its master key; others unwrap it. Raises
        `KeyUnavailable` when the master key is another one.
        """
        if await self.store.get(SENTINEL) is None:
            # A store that lost its sentinel must not get one under a wrong master key.
            await self.check_opens()
        await self._fetch(SENTINEL)

    async def check_opens(self) -> None:
        """Prove that a master key opens keys of the store, where it has any; nothing is made.
        Raises `KeyUnavailable`, `Unavailable`."""
        for name in sorted(await self.store.names()):
            try:
                wrapped = await self.store.get(name)
            except KeyDestroyed:
                continue
            if wrapped is not None:
                await self.unwrapped(name, wrapped)
                return

    async def unwrapped(self, name: str, wrapped: bytes) -> TenantKeys:
        """Wrapped keys, opened with the master key that they are under. Raises
        `KeyUnavailable`."""
        master = await self.masters.find(master_id_of(wrapped))
        return unwrap(master or self.masters.first, name, wrapped)

    async def master(self) -> MasterKey:
        """The master key that new keys are wrapped under: the sentinel's, of which the store is
        asked. Raises `KeyUnavailable` when this program does not have it, `Unavailable`."""
        sentinel = await self.store.get(SENTINEL)
        if sentinel is None:
            return self.masters.first
        found = await self.masters.find(master_id_of(sentinel))
        if found is None:
            await self.unwrapped(SENTINEL, sentinel)  # which says so
            raise AssertionError("opened without its master key")
        return found

    async def rewrap(self, name: str, master: MasterKey) -> bool:
        """Wrap the keys of a name under a master key, in place of how they are wrapped; False when
        they are so already. Nothing of how they were wrapped is left then, nor of destroyed ones.
        Raises `KeyUnavailable`, `Unavailable`."""
        while True:
            try:
                wrapped = await self.store.get(name)
            except KeyDestroyed:
                await self.store.destroy(name)  # once more, in case that it was broken off
                return False
            if wrapped is None or master_id_of(wrapped) == master.master_id:
                await self.store.destroy_replaced(name)
                return False
            keys = await self.unwrapped(name, wrapped)
            if await self.store.replace(name, wrapped, wrap(master, name, keys)):
                return True

    async def _keys(
        self, name: str, key_id: bytes | None = None, era_name: str | None = None
    ) -> TenantKeys:
        cached = self._cached(name)
        if cached is not None:
            return cached
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            cached = self._cached(name)
            if cached is not None:
                return cached
            # Time counts from before the question: keys destroyed since then live no longer.
            asked = self._clock()
            keys = await self._fetch(name, key_id)
            if era_name is not None:
                await self._check_era(era_name, name)
            self._cache[name] = (asked + self._lifetime, keys)
            self._cache.move_to_end(name)
            while len(self._cache) > self._capacity:
                self._cache.popitem(last=False)
            return keys

    async def _check_era(self, era_name: str, name: str) -> None:
        """Raises `KeyDestroyed` when the era is ended in which a device got a key. To be asked when
        it has it: whoever ends the era destroys the first key, and then what there is else."""
        try:
            await self.store.get(era_name)
        except KeyDestroyed:
            await self.store.destroy(name)
            raise

    def _cached(self, name: str) -> TenantKeys | None:
        entry = self._cache.get(name)
        if entry is None:
            return None
        ends, keys = entry
        if self._clock() >= ends:
            del self._cache[name]
            return None
        self._cache.move_to_end(name)
        return keys

    async def _fetch(self, name: str, key_id: bytes | None = None) -> TenantKeys:
        wrapped = await self.store.get(name)
        if wrapped is None:
            wrapped = await self._made(name, key_id)
        return await self.unwrapped(name, wrapped)

    async def _made(self, name: str, key_id: bytes | None) -> bytes:
        tenant, of_device, _ = name.partition("/")
        if of_device:
            # Of a tenant whose key was destroyed nothing is kept any more.
            await self.store.get(tenant)
        master = await self.master()
        fresh = wrap(master, name, TenantKeys.generate(key_id))
        if await self.store.create(name, fresh):
            wrapped = fresh
        else:
            # What the store holds counts, whoever made it.
            wrapped = await self._must_get(name)
        # Whoever moves keys to another master key looks for them until after the sentinel was
        # moved, and so may have missed these.
        now = await self.master()
        if now.master_id != master.master_id:
            await self.rewrap(name, now)
            wrapped = await self._must_get(name)
        return wrapped

    async def _must_get(self, name: str) -> bytes:
        wrapped = await self.store.get(name)
        if wrapped is None:
            raise KeyUnavailable(f"the keys of {name}", "the store lost them just after making")
        return wrapped


async def open_keyring(
    store: WrappedKeyStore,
    *,
    master_key: str | None,
    key_file: Path,
    former: str | None = None,
) -> KeyRing:
    """A key ring with the master key checked against the store.

    Without `master_key` (base64) and without a key file, a new file is made, but only when the
    store holds nothing yet: a lost master key is never replaced in silence. `former` keys (base64,
    commas between) open what is not moved to the master key yet.
    Raises `KeyUnavailable`, `Unavailable`.
    """
    if master_key is None and not await asyncio.to_thread(key_file.exists):
        first = not await store.names()
        await asyncio.to_thread(_make_or_refuse, key_file, first)
    keyring = KeyRing(await asyncio.to_thread(MasterKeys.load, master_key, key_file, former), store)
    await keyring.check()
    return keyring


def _make_or_refuse(key_file: Path, first: bool) -> None:
    if first:
        # A file that is there now was made by another program of this installation.
        with contextlib.suppress(FileExistsError):
            MasterKey.generate_file(key_file)
            log.warning("made a new master key in %s: keep a copy of it elsewhere", key_file)
    elif not key_file.exists():
        # Asked again, after the store was: whoever wrapped keys meanwhile made the file before.
        raise KeyUnavailable(
            "the master key",
            f"keys are kept that are wrapped under it, but it is not in CONFIGTRAIL_MASTER_KEY, "
            f"and there is no file {key_file}; put it back from its copy: without it the kept "
            "texts can't be read",
        )
