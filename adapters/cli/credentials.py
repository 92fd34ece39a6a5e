"""`credentials` and `hostkeys`: who we are at devices, and which devices we trust."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec.structs import replace
from pydantic import BaseModel

from adapters.cli.arguments import Device, Json
from adapters.cli.backup import whoami
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.groups import Reason
from adapters.cli.session import Need, session
from adapters.cli.tables import cell, table, when
from adapters.collecting.credential_changes import CredentialKeeper, stored_credentials
from adapters.collecting.credentials import FILE_MAX, Stored, parse_secret
from adapters.collecting.grouping import named
from adapters.collecting.guarding import refuse_if_used
from adapters.collecting.registered import host_keys, registered_inventory
from adapters.collecting.registering import Registrar
from adapters.settings import Settings
from adapters.shapes.groups import CredentialOut
from domain.credentials import check_credential_name, reference_to
from domain.errors import InvalidInput

Name = Annotated[str, typer.Argument(metavar="NAME", help="As in store:NAME.")]


async def list_credentials(settings: Settings, *, as_json: Json = False) -> int:
    """List the tenant's stored credentials and the devices that use them; never what they are."""
    async with session(settings, Need.NOTHING) as opened:
        system = opened.system
        found = await stored_credentials(system.nc, system.js, system.credentials, settings.tenant)
    if as_json:
        print_json([CredentialOut(**msgspec.structs.asdict(one)) for one in found])
        return 0
    made = table("NAME", "PLACE", "HOLDS", "SET", "BY", "DEVICES")
    for one in found:
        made.add_row(
            cell(one.name),
            cell(one.place or "-"),
            cell(" ".join(one.holds) or "-"),
            cell(when(one.set_at)),
            cell(one.set_by or "-"),
            cell(named(one.devices) or "-"),
        )
    if found:
        out.print(made)
    return 0


async def set_credential(
    settings: Settings,
    *,
    name: Name,
    username: Annotated[str | None, typer.Option(help="Who logs in.")] = None,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="A private key, instead of a password.")
    ] = None,
    stands_for: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="env:NAME|file:PATH|vault:PATH",
            help="Where the secret lies, instead of here: it is looked up at each use.",
        ),
    ] = None,
    reason: Reason = None,
) -> int:
    """Store a credential, encrypted under the tenant's key; the inventory names it store:NAME.

    The password (or a JSON object of username, password, private_key, passphrase, enable) is asked
    for, or read from standard input when that is no terminal.
    """
    check_credential_name(name)
    if stands_for is not None and key_file is not None:
        raise typer.BadParameter("name --from or --key-file, not both")
    secret = Stored() if stands_for is not None else _given_secret(key_file)
    stored = replace(secret, username=username or secret.username)
    async with session(settings, Need.NOTHING) as opened:
        system = opened.system
        rotated = await CredentialKeeper(system.credentials, system.devices).set(
            settings.tenant, name, stored, actor=whoami(), reason=reason, reference=stands_for
        )
    done = "rotated" if rotated else "stored"
    err.print(harmless(f"{done}; name it in the inventory as store:{name}"), markup=False)
    return 0


async def remove_credential(
    settings: Settings,
    *,
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", help="Also while devices use it, which then can't be read.")
    ] = False,
    reason: Reason = None,
) -> int:
    """Remove a stored credential that no device uses any more."""
    async with session(settings, Need.NOTHING) as opened:
        system = opened.system
        inventory = await registered_inventory(system.nc, system.js, settings.tenant)
        if not force:
            refuse_if_used(inventory, name)
        users = inventory.users(reference_to(name))
        await CredentialKeeper(system.credentials, system.devices).remove(
            settings.tenant, name, actor=whoami(), reason=reason, used_by=len(users)
        )
    err.print(harmless(f"removed: {name}"), markup=False)
    return 0


def _given_secret(key_file: Path | None) -> Stored:
    if key_file is not None:
        try:
            secret = parse_secret(key_file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput("key-file", f"can't be read ({type(error).__name__})") from None
        if secret.private_key is None:
            raise InvalidInput("key-file", "must begin with -----BEGIN")
        return secret
    terminal = sys.stdin.isatty()
    try:
        given = getpass.getpass("password: ") if terminal else sys.stdin.read(FILE_MAX)
    except UnicodeDecodeError:
        given = None
    if given is None:  # raised out here: the error above carries the bytes along
        raise InvalidInput("password", "must be UTF-8 text")
    if not given.strip():
        raise InvalidInput("password", "must not be empty")
    return parse_secret(given)


class HostKeysOut(BaseModel):
    """A device's host keys, by fingerprint; `algorithm` is that of the pinned one."""

    device_id: str
    algorithm: str | None
    pinned: str | None
    expected: str | None
    refused: str | None


async def list_host_keys(settings: Settings, *, as_json: Json = False) -> int:
    """List the host keys of devices: pinned ones, expected ones, and refused ones."""
    async with session(settings, Need.NOTHING) as opened:
        found = await host_keys(opened.system.nc, opened.system.js, settings.tenant)
    told = [
        HostKeysOut(
            device_id=name,
            algorithm=one.pinned.algorithm if one.pinned else None,
            pinned=one.pinned.fingerprint if one.pinned else None,
            expected=one.expected,
            refused=one.refused.fingerprint if one.refused else None,
        )
        for name, one in found.items()
    ]
    if as_json:
        print_json(told)
        return 0
    made = table("DEVICE", "ALGORITHM", "PINNED", "EXPECTED", "REFUSED")
    for one in told:
        made.add_row(
            cell(one.device_id),
            cell(one.algorithm or "-"),
            cell(one.pinned or "-"),
            cell(one.expected or "-"),
            cell(one.refused or "-", "red" if one.refused else ""),
        )
    if told:
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
    told = f"only {expect} is accepted" if expect else "the next key that it shows is pinned"
    err.print(harmless(f"{device}: {told}"), markup=False)
    return 0
