"""Keys: made at first use, kept wrapped under the master key, unwrapped for a while.

A tenant has keys for what is its own: fingerprints, credentials, and texts of before its devices
had keys. A device has one for each era of its texts, so that they can be erased by destroying it;
its id follows from its place, so whoever holds a text finds the key by the id in the text's blob.
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
from typing import Final, Protocol

from adapters.crypto.master import MasterKey
from adapters.crypto.wrapping import (
    KEY_ID_BYTES,
    TenantKeys,
    device_key_id,
    device_key_name,
    unwrap,
    wrap,
)
from domain.errors import KeyUnavailable
from domain.ids import check_tenant_id

__all__ = [
    "KEY_ID_BYTES",
    "KeyRing",
    "MasterKey",
    "TenantKeys",
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


class WrappedKeyStore(Protocol):
    """Where wrapped keys lie, by name: a tenant's, or a device's (`device_key_name`). All of these
    raise `Unavailable` during an outage."""

    async def get(self, name: str) -> bytes | None:
        """The wrapped keys as the store last took them; None when it never had any of that name.

        Raises `KeyDestroyed` when they were destroyed.
        """
        ...

    async def create(self, name: str, wrapped: bytes) -> bool:
        """Keep the first wrapped keys of a name. False, and nothing done, when it ever had any.

        Returns when they are durable.
        """
        ...

    async def names(self) -> list[str]:
        """All names that have wrapped keys, without those of devices."""
        ...

    async def destroy(self, name: str) -> None:
        """Remove wrapped keys for good, so that none of that name can ever be made again. Done
        twice it is done once."""
        ...


class KeyRing:
    """The keys of all tenants, as this program may use them.

    Unwrapped keys are forgotten `lifetime` seconds after they were fetched, and the least used
    when there are more than `capacity`.
    """

    def __init__(
        self,
        master: MasterKey,
        store: WrappedKeyStore,
        *,
        capacity: int = 16_384,
        lifetime: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._master = master
        self._store = store
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

    async def check_not_erased(self, tenant_id: str) -> None:
        """Raises `KeyDestroyed` when the tenant was erased. The store is asked, not the memory of
        this program, and no keys are made. Raises `InvalidInput`, `Unavailable`."""
        await self._store.get(check_tenant_id(tenant_id))

    async def device(self, tenant_id: str, device_id: str, era: int) -> TenantKeys:
        """The key under which a device's texts are kept in an era of theirs, made at first use. Of
        it only `content_key` is used. Raises as `tenant` does; `KeyDestroyed` when the era ended.
        """
        check_tenant_id(tenant_id)
        key_id = device_key_id(tenant_id, device_id, era)
        return await self._keys(device_key_name(tenant_id, device_id, key_id), key_id)

    async def opener(self, tenant_id: str, device_id: str, key_id: bytes) -> TenantKeys:
        """The keys of a text whose blob names `key_id`: the device's, else the tenant's, which kept
        texts before devices had keys. Raises as `tenant` does."""
        name = device_key_name(check_tenant_id(tenant_id), device_id, key_id)
        cached = self._cached(name)
        if cached is not None:
            return cached
        tenant = await self._keys(tenant_id)
        if tenant.key_id == key_id or await self._store.get(name) is None:
            return tenant
        return await self._keys(name, key_id)

    async def destroy(self, tenant_id: str, device_id: str | None, key_id: bytes) -> None:
        """Destroy a device's key, or without a device the tenant's. Other programs forget it within
        the lifetime of what they keep. Raises `Unavailable`."""
        name = check_tenant_id(tenant_id)
        if device_id is not None:
            name = device_key_name(tenant_id, device_id, key_id)
        await self._store.destroy(name)
        self._cache.pop(name, None)

    async def system(self) -> TenantKeys:
        """The keys for what belongs to no tenant: dead letters. Raises as `tenant` does."""
        return await self._keys(SYSTEM)

    async def check(self) -> None:
        """Prove that the master key is the one of the store. To be called at every start.

        The first start leaves a sentinel wrapped under its master key; others unwrap it. Raises
        `KeyUnavailable` when the master key is another one.
        """
        if await self._store.get(SENTINEL) is None:
            # A store that lost its sentinel must not get one under a wrong master key.
            for name in sorted(await self._store.names())[:1]:
                unwrap(self._master, name, await self._must_get(name))
        await self._fetch(SENTINEL)

    async def _keys(self, name: str, key_id: bytes | None = None) -> TenantKeys:
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
            self._cache[name] = (asked + self._lifetime, keys)
            self._cache.move_to_end(name)
            while len(self._cache) > self._capacity:
                self._cache.popitem(last=False)
            return keys

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
        wrapped = await self._store.get(name)
        if wrapped is None:
            tenant, of_device, _ = name.partition("/")
            if of_device:
                # Of a tenant whose key was destroyed nothing is kept any more.
                await self._store.get(tenant)
            fresh = wrap(self._master, name, TenantKeys.generate(key_id))
            await self._store.create(name, fresh)
            # What the store holds counts, whoever made it.
            wrapped = await self._must_get(name)
        return unwrap(self._master, name, wrapped)

    async def _must_get(self, name: str) -> bytes:
        wrapped = await self._store.get(name)
        if wrapped is None:
            raise KeyUnavailable(f"the keys of {name}", "the store lost them just after making")
        return wrapped


async def open_keyring(
    store: WrappedKeyStore, *, master_key: str | None, key_file: Path
) -> KeyRing:
    """A key ring with the master key checked against the store.

    Without `master_key` (base64) and without a key file, a new file is made, but only when the
    store holds nothing yet: a lost master key is never replaced in silence.
    Raises `KeyUnavailable`, `Unavailable`.
    """
    if master_key is None and not await asyncio.to_thread(key_file.exists):
        first = not await store.names()
        await asyncio.to_thread(_make_or_refuse, key_file, first)
    keyring = KeyRing(await asyncio.to_thread(MasterKey.load, master_key, key_file), store)
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
