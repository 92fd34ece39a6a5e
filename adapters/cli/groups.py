"""`groups`: what groups of devices give their devices; and where a device's settings come from."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from adapters.cli.arguments import Device, Json
from adapters.cli.backup import whoami
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.inventory import pairs_of, tell_left_out, tell_unset
from adapters.cli.session import Need, session
from adapters.cli.tables import cell, table
from adapters.collecting.grouping import judged_group
from adapters.collecting.guarding import refuse_if_in_use
from adapters.collecting.registered import registered_inventory
from adapters.collecting.registering import Registrar
from adapters.settings import Settings
from adapters.shapes.groups import group_out
from adapters.shapes.inventory import settings_out
from domain.events import GivenSettings
from domain.groups import GIVEN, NOTHING

Group = Annotated[str, typer.Argument(metavar="GROUP", help="As in the field group.")]
Fields = Annotated[
    list[str], typer.Argument(metavar="FIELD=VALUE...", help="credential=store:main interval=1h …")
]
Reason = Annotated[str | None, typer.Option(help="For the audit trail.")]
_ORIGINS = {"device": "the device itself", "file": "the defaults of its file", "default": "-"}


async def list_groups(settings: Settings, *, as_json: Json = False) -> int:
    """List the registered groups: what they give, and to how many devices."""
    async with session(settings, Need.NOTHING) as opened:
        found = await registered_inventory(opened.system.nc, opened.system.js, settings.tenant)
    tell_left_out(found)
    if as_json:
        print_json([group_out(name, found) for name in found.groups])
        return 0
    made = table("GROUP", "DEVICES", "GIVES", numbers=("DEVICES",))
    for name, given in found.groups.items():
        made.add_row(cell(name), cell(len(found.members(name))), cell(_given(given)))
    if found.groups:
        out.print(made)
    err.print(harmless(f"{len(found.groups)} groups of tenant {settings.tenant}"), markup=False)
    return 0


async def set_group(
    settings: Settings, *, group: Group, fields: Fields, reason: Reason = None
) -> int:
    """Say what a group gives its devices: these fields, and nothing else.

    A device's own settings stand before its group's. It takes effect at once.
    """
    return await _configure(settings, group, fields, reason, change=False)


async def change_group(
    settings: Settings, *, group: Group, fields: Fields, reason: Reason = None
) -> int:
    """Change some of what a group gives its devices; `FIELD=` takes one away."""
    return await _configure(settings, group, fields, reason, change=True)


async def remove_group(settings: Settings, *, group: Group, reason: Reason = None) -> int:
    """Remove a group that no device is in any more."""
    async with session(settings, Need.NOTHING) as opened:
        system = opened.system
        refuse_if_in_use(await registered_inventory(system.nc, system.js, settings.tenant), group)
        await Registrar(system.devices).remove_group(
            settings.tenant, group, actor=whoami(), reason=reason
        )
    err.print(harmless(f"the group {group} is removed"), markup=False)
    return 0


async def show_device(settings: Settings, *, device: Device, as_json: Json = False) -> int:
    """Show how a device is read, and where each setting comes from."""
    async with session(settings, Need.NOTHING) as opened:
        found = await registered_inventory(opened.system.nc, opened.system.js, settings.tenant)
    now, origins = found.device(device)
    if as_json:
        print_json(settings_out(device, now, origins))
        return 0
    made = table("SETTING", "VALUE", "FROM")
    made.add_row(cell("addresses"), cell(" ".join(now.addresses)), cell(_ORIGINS["device"]))
    made.add_row(
        cell("group"),
        cell(now.group or "-"),
        cell("-" if now.group is None else _ORIGINS["device"]),
    )
    for name in GIVEN:
        value = getattr(now, name)
        origin = origins[name]
        made.add_row(
            cell(name),
            cell("-" if value is None else _shown(value)),
            cell(f"the group {now.group}" if origin == "group" else _ORIGINS[origin]),
        )
    out.print(made)
    return 0


async def _configure(
    settings: Settings, group: str, fields: list[str], reason: str | None, *, change: bool
) -> int:
    given = pairs_of(fields)
    async with session(settings, Need.NOTHING) as opened:
        system = opened.system
        inventory = await registered_inventory(system.nc, system.js, settings.tenant)
        defaults = judged_group(inventory, group, given, change=change)
        done = await Registrar(system.devices).configure_group(
            settings.tenant,
            group,
            defaults,
            actor=whoami(),
            origin="command line",
            reason=reason,
            instead_of=inventory.groups.get(group, NOTHING) if change else None,
        )
        await tell_unset(system, settings.tenant, [defaults.credential])
    here = len(inventory.members(group))
    told = f"gives {here} devices {_given(defaults)}" if done else "unchanged"
    err.print(harmless(f"{group}: {told}"), markup=False)
    return 0


def _given(given: GivenSettings) -> str:
    told = [f"{name}={_shown(value)}" for name, value in msgspec.to_builtins(given).items()]
    return " ".join(told) or "nothing"


def _shown(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
