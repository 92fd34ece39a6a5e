"""`inventory`: which devices are collected, and how."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from adapters.cli.arguments import Device, Json
from adapters.cli.backup import whoami
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.session import Need, session
from adapters.cli.tables import cell, table
from adapters.collecting.credentials import read_file
from adapters.collecting.files import judge_inventory
from adapters.collecting.guarding import refuse_if_jumped_over
from adapters.collecting.netbox import NetBoxDevices, read_netbox
from adapters.collecting.planning import Plan, plan_of, refuse_if_led_astray, resolvable_entries
from adapters.collecting.registered import Inventory, registered_inventory
from adapters.collecting.registering import Registrar
from adapters.composition import System
from adapters.lookups import FILES
from adapters.settings import Settings
from adapters.shapes.inventory import settings_out
from adapters.ssh.failures import DeviceUnread
from adapters.ssh.profiles import PLATFORMS
from domain.credentials import stored_name
from domain.errors import InvalidInput
from domain.fields import printable
from domain.groups import group_of
from domain.inventory import Entry, Row, judge

NETBOX_TOKEN = "CONFIGTRAIL_NETBOX_TOKEN"
_ORIGIN_MAX = 255


class AppliedOut(BaseModel):
    """What an inventory changed, by device, and which groups."""

    added: list[str]
    changed: list[str]
    unchanged: int
    retired: list[str]
    absent: list[str]
    left_out: list[str]
    resting: list[str]
    groups: list[str]
    dry_run: bool


async def list_inventory(settings: Settings, *, as_json: Json = False) -> int:
    """List the registered devices and how they are read."""
    async with session(settings, Need.NOTHING) as opened:
        inventory = await registered_inventory(opened.system.nc, opened.system.js, settings.tenant)
    found = inventory.settings()
    tell_left_out(inventory)
    if as_json:
        print_json(
            [settings_out(name, one, inventory.origins(name)) for name, one in found.items()]
        )
        return 0
    made = table("DEVICE", "PLATFORM", "ADDRESS", "EVERY", "CREDENTIAL", "VIA", "GROUP", "STATE")
    for name, one in found.items():
        made.add_row(
            cell(name),
            cell(one.platform),
            cell(f"{' '.join(one.addresses)}{'' if one.port == 22 else f' port {one.port}'}"),
            cell(f"{one.interval_seconds / 3600:g} h"),
            cell(one.credential or "-"),
            cell(one.jump or "-"),
            cell(one.group or "-"),
            cell("on" if one.enabled else "off"),
        )
    if found:
        out.print(made)
    err.print(harmless(f"{len(found)} devices of tenant {settings.tenant}"), markup=False)
    return 0


async def apply_inventory(
    settings: Settings,
    *,
    path: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A .yaml or .csv, or a router.db.")
    ] = None,
    netbox: Annotated[
        str | None, typer.Option(metavar="URL", help=f"A NetBox; its token in {NETBOX_TOKEN}.")
    ] = None,
    default: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=VALUE", help="For devices of the NetBox; may be repeated."),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Retire devices that are not in it.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would change.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Register the devices of a file or a NetBox. With any mistake in it, nothing is done."""
    left_out: list[str] = []
    resting: list[str] = []
    found: NetBoxDevices | None = None
    if (path is None) == (netbox is None):
        raise typer.BadParameter("name a file, or --netbox URL")
    if path is not None:
        # A file may have any name; this one goes into events, and reasons.
        judged, origin = judge_inventory(path), printable(path.name, _ORIGIN_MAX)
        entries = await resolvable_entries(judged)
    else:
        assert netbox is not None
        token = os.environ.get(NETBOX_TOKEN)
        if not token:
            raise typer.BadParameter(f"the token of the NetBox must be in {NETBOX_TOKEN}")
        found = await read_netbox(netbox, token, pairs_of(default or []))
        origin, left_out, resting = "netbox", found.left_out, found.resting
    async with session(settings, Need.NOTHING) as opened:
        system = opened.system
        registered = await registered_inventory(system.nc, system.js, settings.tenant)
        if found is not None:
            judged = found.judged(registered.devices.keys() | registered.unread().keys())
            entries = await resolvable_entries(judged)
        kept = [*left_out, *resting]
        plan = plan_of(registered, entries, judged.groups, prune=prune, kept=kept)
        resting = [one for one in resting if one in registered.devices]
        registrar = Registrar(system.devices)
        if dry_run:
            await registrar.refuse_if_unread(settings.tenant, plan, prune=prune)
        else:
            await registrar.apply(settings.tenant, plan, actor=whoami(), origin=origin, prune=prune)
        named = (one.settings.credential for one in (*plan.added, *plan.changed))
        await tell_unset(system, settings.tenant, named)
    _show(plan, left_out, resting, pruned=prune, dry_run=dry_run, as_json=as_json)
    return 0


async def set_device(
    settings: Settings,
    *,
    device: Device,
    fields: Annotated[
        list[str], typer.Argument(metavar="FIELD=VALUE...", help="address=192.0.2.1 platform=ios …")
    ],
) -> int:
    """Register one device, or register it anew with these fields."""
    row = Row(device, {"name": device, **pairs_of(fields)})
    async with session(settings, Need.NOTHING) as opened:
        system = opened.system
        registered = await registered_inventory(system.nc, system.js, settings.tenant)
        known = registered.devices.keys() | registered.unread().keys()
        (entry,) = await resolvable_entries(
            judge([row], PLATFORMS, known=known, groups=registered.groups)
        )
        refuse_if_led_astray(registered, [entry])
        done = await Registrar(system.devices).register(
            settings.tenant, entry, actor=whoami(), origin="command line"
        )
        await tell_unset(system, settings.tenant, [entry.settings.credential])
    err.print(harmless(f"{device}: {'registered' if done else 'unchanged'}"), markup=False)
    group = entry.settings.group
    if group is not None and group not in registered.groups:
        told = f"the group {group} gives nothing so far: configtrail groups set"
        err.print(harmless(told), markup=False)
    return 0


async def remove_device(
    settings: Settings,
    *,
    device: Device,
    reason: Annotated[str | None, typer.Option(help="For the audit trail.")] = None,
) -> int:
    """Take a device out of the inventory. Its history stays."""
    async with session(settings, Need.NOTHING) as opened:
        system = opened.system
        refuse_if_jumped_over(
            await registered_inventory(system.nc, system.js, settings.tenant), device
        )
        await Registrar(system.devices).retire(
            settings.tenant, device, actor=whoami(), reason=reason
        )
    err.print(harmless(f"{device}: retired; its history stays"), markup=False)
    return 0


def tell_left_out(inventory: Inventory) -> None:
    """Name the devices and groups of which can't be told how they are, and why."""
    groups = {name: why for name, why in inventory.left_out.items() if group_of(name) is not None}
    for name, why in {**groups, **inventory.unread()}.items():
        told = f"{name.strip()} is left out and not collected: {why}"
        err.print(harmless(told), markup=False)


async def tell_unset(system: System, tenant_id: str, references: Iterable[str | None]) -> None:
    """Name the credentials that are not there (yet), as far as it can be known here: their devices
    can't be read."""
    references = set(references)
    files = {one.removeprefix("file:") for one in references if one and one.startswith("file:")}
    for place in sorted(files):
        try:
            await FILES.run(read_file, system.settings.credentials_folder, place)
        except DeviceUnread as error:
            told = f"{error.reason} on this machine; it must be where the collectors run"
            err.print(harmless(told), markup=False)
    wanted = {name for one in references if (name := stored_name(one)) is not None}
    for name in sorted(wanted.difference(await system.credentials.names(tenant_id))):
        told = f"store:{name} is not there yet: configtrail credentials set {name}"
        err.print(harmless(told), markup=False)


def pairs_of(fields: list[str]) -> dict[str, str]:
    """`field=value` pairs. Raises `InvalidInput`, which does not quote them."""
    found = {}
    for one in fields:
        name, equals, value = one.partition("=")
        if not equals:
            raise InvalidInput("fields", "must be given as field=value")
        found[name.strip()] = value
    return found


def _show(
    plan: Plan,
    left_out: list[str],
    resting: list[str],
    *,
    pruned: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    def names(entries: tuple[Entry, ...]) -> list[str]:
        return [one.device_id for one in entries]

    if as_json:
        print_json(
            AppliedOut(
                added=names(plan.added),
                changed=names(plan.changed),
                unchanged=plan.unchanged,
                retired=list(plan.absent) if pruned else [],
                absent=[] if pruned else list(plan.absent),
                left_out=left_out,
                resting=resting,
                groups=[name for name, _ in plan.groups],
                dry_run=dry_run,
            )
        )
        return
    made = table("DEVICE", "CHANGE", "FROM")
    for name, _ in plan.groups:
        made.add_row(cell(f"group {name}"), cell("set"), cell("-"))
    for name in plan.unused_groups:
        made.add_row(cell(f"group {name}"), cell("removed" if pruned else "not in it"), cell("-"))
    for change, entries in (("added", plan.added), ("changed", plan.changed)):
        for one in entries:
            made.add_row(cell(one.device_id), cell(change), cell(one.where))
    for name in plan.absent:
        made.add_row(cell(name), cell("retired" if pruned else "not in it"), cell("-"))
    for name in left_out:
        made.add_row(cell(name), cell("left out: no address or platform"), cell("netbox"))
    for name in resting:
        made.add_row(cell(name), cell("left as it is: not active"), cell("netbox"))
    if made.row_count:
        out.print(made)
    told = f"{len(plan.added)} added, {len(plan.changed)} changed, {plan.unchanged} unchanged"
    err.print(f"{told}{'; nothing was done (--dry-run)' if dry_run else ''}", markup=False)
