"""Rotation, while programs run that make and use keys.

A tenant's keys: its content key gets another one before it, and its devices' new texts come under
new keys of theirs; the former ones stay for what is under them.

The master key: first all keys but the sentinel are wrapped anew, then the sentinel, after which new
keys come under the new master key by themselves; then once more all that came under the old one
meanwhile. Whatever breaks it off, nothing is lost, and running it again goes on. Two at once do the
same as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing

from msgspec import Struct

from adapters.crypto.keys import SENTINEL, KeyRing
from adapters.crypto.wrapped_store import WrappedKeyStore
from adapters.crypto.wrapping import TenantKeys, master_id_of, wrap
from domain.errors import KeyDestroyed, KeyUnavailable, NotFound

_AT_ONCE = 32
_NAMES = 500


class Under(Struct, frozen=True):
    """How many keys are under which master key, by the first digits of its id."""

    counts: dict[str, int]

    def other_than(self, master_id: bytes) -> dict[str, int]:
        """Those that are not under this one."""
        mine = short(master_id)
        return {name: count for name, count in self.counts.items() if name != mine}


def short(master_id: bytes) -> str:
    """A master key's id as it is told: as errors do."""
    return f"{master_id.hex()[:8]}…"


async def keys_under(store: WrappedKeyStore) -> Under:
    """Under which master keys the keys of a store are, the sentinel and what was left behind
    included. Raises `Unavailable`."""
    counts: dict[str, int] = {}
    async with aclosing(_all(store)) as batches:
        async for batch in batches:
            for _, master_id in batch:
                counts[short(master_id)] = counts.get(short(master_id), 0) + 1
    return Under(counts)


async def move_keys(keyring: KeyRing, moved: Callable[[int], None] = lambda count: None) -> int:
    """Wrap all keys under the first master key of the key ring; how many were moved. From then on
    no key of the store needs a former one, unless a program that knows only that makes one.
    `moved` is told the count so far. Raises `KeyUnavailable` for those that can't be opened, when
    all others are moved, and `Unavailable`.
    """
    count = 0
    while True:
        before = count
        unopened: dict[str, KeyUnavailable] = {}
        count = await _move_all(keyring, before, moved, unopened)
        if await keyring.rewrap(SENTINEL, keyring.masters.first):
            count += 1
        elif count == before:
            break
    if unopened:
        first = next(iter(unopened.values()))
        more = f", and so {len(unopened) - 1} more" if len(unopened) > 1 else ""
        raise KeyUnavailable(
            first.key,
            f"{first.reason}{more}. All others are moved. What these open is lost unless that is "
            "done; where it can't be, erase it, and run this again",
        )
    return count


async def rotate_keys(keyring: KeyRing, name: str) -> TenantKeys:
    """Give a tenant (or `SYSTEM`) another content key, and its devices another one for new texts.
    Programs that run follow within the lifetime of what their key rings keep. Raises `NotFound`
    where there are no keys yet, `KeyUnavailable`, `Unavailable`."""
    while True:
        wrapped = await keyring.store.get(name)
        if wrapped is None:
            raise NotFound("tenant", name)
        keys = (await keyring.unwrapped(name, wrapped)).rotated()
        # Under the same master key: whoever moves keys to another one finds one of the two.
        master = await keyring.masters.find(master_id_of(wrapped))
        assert master is not None, "opened without its master key"
        if await keyring.store.replace(name, wrapped, wrap(master, name, keys)):
            keyring.forget(name)
            return keys


async def _move_all(
    keyring: KeyRing,
    count: int,
    moved: Callable[[int], None],
    unopened: dict[str, KeyUnavailable],
) -> int:
    master = keyring.masters.first
    async with aclosing(_all(keyring.store)) as batches:
        async for batch in batches:
            others = [one for one, under in batch if under != master.master_id and one != SENTINEL]
            for start in range(0, len(others), _AT_ONCE):
                names = dict.fromkeys(others[start : start + _AT_ONCE])
                count += sum(await _each(keyring, names, unopened))
                moved(count)
    return count


async def _each(
    keyring: KeyRing, names: Collection[str], unopened: dict[str, KeyUnavailable]
) -> list[bool]:
    moving = [keyring.rewrap(one, keyring.masters.first) for one in names]
    results: list[bool] = []
    found = await asyncio.gather(*moving, return_exceptions=True)
    for name, result in zip(names, found, strict=True):
        if isinstance(result, KeyUnavailable):
            unopened[name] = result
        elif isinstance(result, BaseException):
            raise result
        else:
            results.append(result)
    return results


async def _all(store: WrappedKeyStore) -> AsyncGenerator[list[tuple[str, bytes]], None]:
    """All names, each with the id of the master key that it is under. Destroyed keys are under
    none."""
    names = sorted(await store.names())
    for start in range(0, len(names), _NAMES):
        found = []
        for name in names[start : start + _NAMES]:
            try:
                wrapped = await store.get(name)
            except KeyDestroyed:
                continue
            if wrapped is not None:
                found.append((name, master_id_of(wrapped)))
        yield found
    async with aclosing(store.devices()) as batches:
        async for batch in batches:
            yield [(one.name, master_id_of(one.wrapped)) for one in batch]
