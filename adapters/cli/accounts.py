"""`accounts`: tenants that send to NATS, or replay from it, by themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Literal

import typer

from adapters.accounts.configuration import user_of
from adapters.accounts.folder import CONFIGURATION, AccountsFolder
from adapters.accounts.mirror import ensure_mirror
from adapters.cli.console import err, out
from adapters.jetstream.address import as_user
from adapters.jetstream.connection import close, connect
from adapters.settings import Settings
from domain.errors import InvalidInput

Folder = Annotated[Path, typer.Option("--folder", help="Where accounts.conf lies.")]
Tenants = Annotated[list[str] | None, typer.Argument(metavar="TENANT...")]
Whose = Annotated[str, typer.Argument(metavar="TENANT")]
_DEFAULT = Path("deploy/nats")


async def list_accounts(settings: Settings, *, folder: Folder = _DEFAULT) -> int:
    """List the tenants with a NATS account of their own."""
    for one in await asyncio.to_thread(AccountsFolder(folder).tenants):
        out.print(one.tenant_id, markup=False)
    return 0


async def add_accounts(
    settings: Settings, *, tenants: Tenants = None, folder: Folder = _DEFAULT
) -> int:
    """Give tenants an account: who uses it sends, and replays, for that tenant only.

    Without tenants it writes the configuration anew, with those that are there.
    """
    new = await asyncio.to_thread(AccountsFolder(folder).add, tenants or [])
    said = f", with accounts for {', '.join(new)}" if new else ""
    err.print(f"{folder / CONFIGURATION} is written{said}.", markup=False)
    err.print("Now let nats-server read it again: docker compose kill --signal HUP nats")
    return 0


async def remove_account(settings: Settings, *, whose: Whose, folder: Folder = _DEFAULT) -> int:
    """Take a tenant's account away."""
    await asyncio.to_thread(AccountsFolder(folder).remove, whose)
    err.print("Now let nats-server read it again: docker compose kill --signal HUP nats")
    return 0


async def show_account(
    settings: Settings,
    *,
    whose: Whose,
    kind: Annotated[Literal["poller", "reader", "keeper"], typer.Argument(metavar="USER")],
    folder: Folder = _DEFAULT,
) -> int:
    """Show what a poller or a reader of a tenant logs in with."""
    account = await asyncio.to_thread(AccountsFolder(folder).of, whose)
    name = user_of(whose, kind)
    out.print(f"user          {name}", markup=False)
    out.print(f"password      {getattr(account, kind)}", markup=False)
    out.print(f"inbox prefix  _INBOX_{name}", markup=False)
    return 0


async def mirror(settings: Settings, *, whose: Whose, folder: Folder = _DEFAULT) -> int:
    """Make a tenant's mirror of its events, from which its readers replay.

    It connects to the server of CONFIGTRAIL_NATS_URL as the tenant's keeper.
    """
    if settings.nats_url is None:
        raise InvalidInput("CONFIGTRAIL_NATS_URL", "must be set: embedded servers have no accounts")
    account = await asyncio.to_thread(AccountsFolder(folder).of, whose)
    keeper = as_user(settings.nats_url.get_secret_value(), user_of(whose, "keeper"), account.keeper)
    nc = await connect(keeper, name="configtrail-accounts", within=settings.connect_seconds)
    try:
        made = await ensure_mirror(nc.jetstream(), whose)
    finally:
        await close(nc)
    err.print("made" if made else "it is there")
    return 0
