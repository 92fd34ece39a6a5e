"""`rotate-master-key` and `rotate-tenant-key`: other keys, while programs run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from adapters.cli.console import err
from adapters.cli.session import Need, session
from adapters.crypto.keys import LIFETIME_SECONDS, SYSTEM, KeyRing
from adapters.crypto.rotating import keys_under, move_keys, rotate_keys, short
from adapters.settings import Settings
from domain.errors import KeyUnavailable

LEASE = "master-key"
LEASE_SECONDS = 10.0


async def rotate_master_key(settings: Settings) -> int:
    """Move all keys to another master key, and say when the old one can be thrown away.

    A master key in a file is made anew, and programs that use the file follow by themselves. One in
    CONFIGTRAIL_MASTER_KEY is the new one; CONFIGTRAIL_MASTER_KEY_OLD must have the old one beside
    it, here and in all programs. Broken off, run it again.
    """
    async with session(settings, Need.NOTHING) as opened:
        system = opened.system
        async with system.leases.hold(LEASE, LEASE_SECONDS, task="moving keys"):
            await _begin(system.keyring)
            with err.status("moving keys …") as status:
                moved = await move_keys(
                    system.keyring, lambda count: status.update(f"moving keys: {count} …")
                )
            under = await keys_under(system.keyring.store)
            await _tell(system.keyring, moved, under.counts)
    return 0


async def rotate_tenant_key(
    settings: Settings,
    *,
    system: Annotated[
        bool,
        typer.Option("--system", help="Instead of --tenant: the key to what belongs to no tenant."),
    ] = False,
) -> int:
    """Give the tenant another key, and each of its devices another one for its next texts.

    What is kept stays readable, by the former keys; stored credentials are sealed anew. What was
    seen before is known again all the same. Broken off, run it again.
    """
    name = SYSTEM if system else settings.tenant
    async with session(settings, Need.NOTHING) as opened:
        keys = await rotate_keys(opened.system.keyring, name)
        sealed = 0 if system else await opened.system.credentials.reseal(settings.tenant)
    whose = "what belongs to no tenant" if system else name
    said = f"{whose}: new key, after {keys.generation} former ones; "
    err.print(f"{said}{sealed} credentials sealed anew", markup=False, soft_wrap=True)
    err.print(f"programs that run use it within {LIFETIME_SECONDS / 60:g} minutes", markup=False)
    return 0


async def _begin(keyring: KeyRing) -> None:
    """Have a key to move to: one that is there beside the old one, else a new one."""
    masters = keyring.masters
    await masters.read_again()
    if not masters.former:
        await masters.begin()


async def _tell(keyring: KeyRing, moved: int, counts: dict[str, int]) -> None:
    masters = keyring.masters
    name = short(masters.first.master_id)
    others = {one: count for one, count in counts.items() if one != name}
    if others:
        one, count = min(others.items())
        raise KeyUnavailable(
            "the master key",
            f"{count} keys came under the former one ({one}) meanwhile: end the programs that know "
            "only that, and run this again",
        )
    said = f"{moved} keys moved: all {counts.get(name, 0)} are under the master key {name} now"
    err.print(said, markup=False, soft_wrap=True)
    if not moved:
        err.print(
            "nothing was under a former one: if you want yet another key, take former ones out of "
            "CONFIGTRAIL_MASTER_KEY_OLD and run this again; a key of yours must be the first line "
            "of the file, not a later one",
            soft_wrap=True,
        )
    retired = await masters.retire()
    err.print(await asyncio.to_thread(_way_on, masters.file, retired), markup=False, soft_wrap=True)


def _way_on(file: Path | None, retired: list[Path]) -> str:
    """What to do with the keys, old and new."""
    if file is None:
        return (
            "nothing needs the old one any more: take it out of CONFIGTRAIL_MASTER_KEY_OLD, of all "
            "programs, and destroy it when no copy of the keys from before is to be read again"
        )
    where = f"; the old one is in {', '.join(map(str, retired))}" if retired else ""
    return (
        f"keep a copy of {file} elsewhere{where}: destroy the old one when no copy of the keys "
        "from before is to be read again"
    )
