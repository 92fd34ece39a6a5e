"""`credentials` and `hostkeys`: who we are at devices, and which devices we trust."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer

from adapters.cli.arguments import Device
from adapters.cli.backup import whoami
from adapters.cli.console import err, harmless, out
from adapters.cli.session import Need, session
from adapters.cli.tables import cell, table
from adapters.collecting.credentials import FILE_MAX, Stored, parse_secret
from adapters.collecting.registered import host_keys
from adapters.collecting.registering import Registrar
from adapters.settings import Settings
from domain.errors import InvalidInput
from domain.ids import check_device_id

Name = Annotated[str, typer.Argument(metavar="NAME", help="As in store:NAME.")]


async def list_credentials(settings: Settings) -> int:
    """List the names of the tenant's stored credentials; never what they are."""
    async with session(settings, Need.NOTHING) as opened:
        names = await opened.system.credentials.names(settings.tenant)
    for name in names:
        out.print(harmless(name), markup=False)
    return 0


async def set_credential(
    settings: Settings,
    *,
    name: Name,
    username: Annotated[str | None, typer.Option(help="Who logs in.")] = None,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="A private key, instead of a password.")
    ] = None,
) -> int:
    """Store a credential, encrypted under the tenant's key; the inventory names it store:NAME.

    The password (or a JSON object of username, password, private_key, passphrase, enable) is asked
    for, or read from standard input when that is no terminal.
    """
    check_device_id(name)
    if key_file is not None:
        try:
            secret = parse_secret(key_file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput("key-file", f"can't be read ({type(error).__name__})") from None
        if secret.private_key is None:
            raise InvalidInput("key-file", "must begin with -----BEGIN")
    else:
        terminal = sys.stdin.isatty()
        given = getpass.getpass("password: ") if terminal else sys.stdin.read(FILE_MAX)
        if not given.strip():
            raise InvalidInput("password", "must not be empty")
        secret = parse_secret(given)
    stored = Stored(
        username=username or secret.username,
        password=secret.password,
        private_key=secret.private_key,
        passphrase=secret.passphrase,
        enable=secret.enable,
    )
    async with session(settings, Need.NOTHING) as opened:
        await opened.system.credentials.put(settings.tenant, name, stored)
    err.print(harmless(f"stored; name it in the inventory as store:{name}"), markup=False)
    return 0


async def remove_credential(settings: Settings, *, name: Name) -> int:
    """Remove a stored credential."""
    async with session(settings, Need.NOTHING) as opened:
        await opened.system.credentials.remove(settings.tenant, name)
    return 0


async def list_host_keys(settings: Settings) -> int:
    """List pinned host keys, and the devices that showed another one."""
    async with session(settings, Need.NOTHING) as opened:
        found = await host_keys(opened.system.nc, opened.system.js, settings.tenant)
    made = table("DEVICE", "ALGORITHM", "PINNED", "REFUSED")
    for name, (pinned, refused) in found.items():
        made.add_row(
            cell(name),
            cell(pinned.algorithm if pinned else "-"),
            cell(pinned.fingerprint if pinned else "-"),
            cell(refused.fingerprint if refused else "-", "red" if refused else ""),
        )
    if found:
        out.print(made)
    return 0


async def release_host_key(
    settings: Settings,
    *,
    device: Device,
    reason: Annotated[str, typer.Option(help="For the audit trail.")],
    expect: Annotated[
        str | None,
        typer.Option(metavar="SHA256:…", help="Accept only this key; else the next one shown."),
    ] = None,
) -> int:
    """Let a device show another host key than the pinned one, and be collected again."""
    async with session(settings, Need.NOTHING) as opened:
        await Registrar(opened.system.devices).release_host_key(
            settings.tenant,
            device,
            actor=whoami(),
            reason=reason,
            expected_fingerprint=expect,
        )
    err.print(harmless(f"{device}: the next contact pins its key"), markup=False)
    return 0
