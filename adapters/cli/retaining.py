"""`retention` and `erase`: how long texts are kept, and what ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import BaseModel

from adapters.cli.arguments import Json
from adapters.cli.backup import whoami
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.session import Need, session
from adapters.cli.tables import cell, table, when
from adapters.retention.expiring import Judged
from adapters.retention.fleet import ever_held
from adapters.roles.keeper import LEASE, LEASE_SECONDS
from adapters.settings import Settings
from domain.events import LegalHoldPlaced, RetentionPolicy
from domain.retention import in_words

Days = Annotated[int | None, typer.Option("--days", help="Keep what held within so many days.")]
Last = Annotated[int | None, typer.Option("--last", help="Keep so many newest ones.")]
Daily = Annotated[int | None, typer.Option("--daily", help="Keep one a day, for so many days.")]
Weekly = Annotated[int | None, typer.Option("--weekly", help="Keep one a week.")]
Monthly = Annotated[int | None, typer.Option("--monthly", help="Keep one a month.")]
Reason = Annotated[str, typer.Option("--reason", help="For the audit trail.")]
OfDevice = Annotated[
    str | None, typer.Option("--device", metavar="DEVICE", help="One device; else the tenant.")
]
HoldName = Annotated[str, typer.Argument(metavar="NAME", help="What the hold is called.")]


class HoldOut(BaseModel):
    """A legal hold in force. `device` is None for one of the whole tenant."""

    hold: str
    device: str | None
    actor: str
    reason: str


class ShownOut(BaseModel):
    """What a tenant keeps."""

    policy: dict[str, int]
    words: str
    holds: list[HoldOut]


class TextOut(BaseModel):
    """What is to become of a text, or became of it. Without reasons to keep it, it goes."""

    device: str
    snapshot: str
    collected_at: datetime
    goes: bool
    reasons: list[str]


async def show_retention(
    settings: Settings, *, device: OfDevice = None, as_json: Json = False
) -> int:
    """Show the tenant's policy, and the legal holds in force on it and its devices, or on one."""
    async with session(settings, Need.NOTHING) as opened:
        system = opened.system
        keeper = system.keeping.keeper
        policy = await keeper.policy(settings.tenant) or RetentionPolicy()
        held = [device] if device else await ever_held(system.nc, system.js, settings.tenant)
        holds = [
            _hold_out(one, name)
            for name in held
            for one in await keeper.holds(settings.tenant, name)
        ]
    if as_json:
        numbers = {
            name: value
            for name in policy.__struct_fields__
            if (value := getattr(policy, name)) is not None
        }
        print_json(ShownOut(policy=numbers, words=in_words(policy), holds=holds))
        return 0
    out.print(in_words(policy), markup=False)
    for one in holds:
        where = f"the device {one.device}" if one.device else "the whole tenant"
        told = f"legal hold {one.hold} on {where}, by {one.actor}: {one.reason}"
        out.print(harmless(told), markup=False, soft_wrap=True)
    return 0


async def set_retention(
    settings: Settings,
    *,
    reason: Reason,
    days: Days = None,
    last: Last = None,
    daily: Daily = None,
    weekly: Weekly = None,
    monthly: Monthly = None,
    everything: Annotated[bool, typer.Option("--everything", help="Keep all.")] = False,
) -> int:
    """Set which texts the tenant keeps: those that any of the options keeps. The latest complete
    one of a live device is always kept."""
    policy = RetentionPolicy(days=days, last=last, daily=daily, weekly=weekly, monthly=monthly)
    if everything == (policy != RetentionPolicy()):
        raise typer.BadParameter("say what is kept by --days, --last, …, or --everything")
    async with session(settings, Need.NOTHING) as opened:
        done = await opened.system.keeping.keeper.set_policy(
            settings.tenant, policy, actor=whoami(), reason=reason
        )
    err.print(f"{in_words(policy)}{'' if done else ', as before'}", markup=False)
    return 0


async def place_hold(
    settings: Settings, *, name: HoldName, reason: Reason, device: OfDevice = None
) -> int:
    """Place a legal hold: nothing of the tenant, or of a device, expires or is erased."""
    async with session(settings, Need.NOTHING) as opened:
        done = await opened.system.keeping.keeper.hold(
            settings.tenant, device, name, actor=whoami(), reason=reason
        )
    err.print(f"{name}: {'placed' if done else 'in force already'}", markup=False)
    return 0


async def release_hold(
    settings: Settings, *, name: HoldName, reason: Reason, device: OfDevice = None
) -> int:
    """End a legal hold."""
    async with session(settings, Need.NOTHING) as opened:
        await opened.system.keeping.keeper.release(
            settings.tenant, device, name, actor=whoami(), reason=reason
        )
    err.print(f"{name}: released", markup=False)
    return 0


async def run_retention(
    settings: Settings,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would go, and why the rest stays.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Let go what the tenant's policy does not keep, now."""
    now = datetime.now(UTC)
    async with session(settings, Need.NOTHING) as opened:
        system = opened.system
        if dry_run:
            found = await _texts(system.keeping.retention.plan(settings.tenant, now))
        else:
            async with system.leases.hold(LEASE, LEASE_SECONDS):
                found = await _texts(system.keeping.retention.run(settings.tenant, now))
    if as_json:
        print_json(found)
        return 0
    if dry_run and found:
        made = table("DEVICE", "SNAPSHOT", "COLLECTED", "GOES", "KEPT BECAUSE")
        for one in found:
            made.add_row(
                cell(one.device),
                cell(one.snapshot[:8]),
                cell(when(one.collected_at)),
                cell("yes" if one.goes else "no", "red" if one.goes else ""),
                cell("; ".join(one.reasons) or "-"),
            )
        out.print(made)
    gone = sum(one.goes for one in found)
    said = f"{gone} texts {'would go' if dry_run else 'expired'}, {len(found) - gone} stay"
    err.print(said, markup=False)
    return 0


async def erase(
    settings: Settings,
    *,
    what: Annotated[
        str | None, typer.Argument(metavar="[DEVICE]", help="The device whose texts to erase.")
    ] = None,
    reason: Reason,
    whole_tenant: Annotated[
        bool, typer.Option("--whole-tenant", help="All texts of the tenant, and its key, for good.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show how many texts would be erased.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    as_json: Json = False,
) -> int:
    """Erase the texts of a device, or of the whole tenant, by destroying their keys.

    What happened stays in the log and is proven all the same. There is no way back.
    """
    if (what is None) != whole_tenant:
        raise typer.BadParameter("name a device, or give --whole-tenant")
    target = what or f"the whole tenant {settings.tenant}"
    async with session(settings, Need.NOTHING) as opened:
        eraser = opened.system.keeping.eraser
        if dry_run or not yes:
            planned = await eraser.plan(settings.tenant, what)
            texts, devices = sum(one.texts for one in planned), len(planned)
            amount = f"the keys of {texts} texts of {devices} devices"
        if dry_run:
            if as_json:
                print_json({one.device_id: one.texts for one in planned})
            else:
                err.print(harmless(f"{target}: would destroy {amount}"), markup=False)
            return 0
        if not yes:
            asked = f"destroy {amount}: erase all texts of {target}, for good?"
            await asyncio.to_thread(typer.confirm, harmless(asked), abort=True, err=True)
        if what is None:
            done = await eraser.tenant(settings.tenant, actor=whoami(), reason=reason)
        else:
            done = await eraser.device(settings.tenant, what, actor=whoami(), reason=reason)
    if as_json:
        print_json({"erasure": done.erasure_id, "devices": list(done.devices)})
        return 0
    said = "its texts are" if what else f"the texts of {len(done.devices)} devices are"
    err.print(harmless(f"{target}: {said} erased"), markup=False)
    err.print("copies of the key bucket in backups can still open them: see docs/retention.md")
    return 0


async def _texts(judged: AsyncGenerator[Judged, None]) -> list[TextOut]:
    async with aclosing(judged) as devices:
        return [
            TextOut(
                device=device.device_id,
                snapshot=one.kept.snapshot.snapshot_id,
                collected_at=one.kept.snapshot.collected_at,
                goes=not one.reasons,
                reasons=list(one.reasons),
            )
            async for device in devices
            for one in device.verdicts
        ]


def _hold_out(hold: LegalHoldPlaced, device: str | None) -> HoldOut:
    return HoldOut(hold=hold.hold_id, device=device, actor=hold.actor, reason=hold.reason)
