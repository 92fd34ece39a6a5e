"""`keys`: who may use the API, for what, and until when."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from adapters.cli.arguments import Json
from adapters.cli.backup import whoami
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.session import ATTACHED_PROJECTED_SECONDS, Need, projected, session
from adapters.cli.tables import cell, table
from adapters.settings import Settings
from adapters.shapes.keys import key_out
from domain.access import EVERY_TENANT, Permission, Role
from domain.errors import EventsParked, InvalidInput
from domain.granting import KEYS_BRANCH, branch_tenant
from projections import parking

AllTenants = Annotated[
    bool, typer.Option("--all-tenants", help="Instead of --tenant: for every tenant.")
]
_SPAN = re.compile(r"([1-9][0-9]{0,4})([hdw])\Z")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


async def create_key(
    settings: Settings,
    *,
    name: Annotated[str, typer.Argument(help="What uses it, for the audit trail.")],
    role: Annotated[Role, typer.Option(help="What it may do.")] = Role.VIEWER,
    only: Annotated[
        list[Permission] | None, typer.Option(help="No more than this of the role; repeatable.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="90d", help="After hours (h), days (d) or weeks (w).")
    ] = None,
    all_tenants: AllTenants = False,
) -> int:
    """Make an API key, and print it. It is shown this once: only its hash is kept."""
    ends = None if expires is None else datetime.now(UTC) + _span(expires)
    async with session(settings, Need.NOTHING) as opened:
        made = await opened.system.keys.create(
            _whose(settings, all_tenants),
            name,
            role,
            actor=whoami(),
            permissions=frozenset(only) if only else None,
            expires_at=ends,
        )
        if not opened.hosts:
            await projected(opened.system, made.position, ATTACHED_PROJECTED_SECONDS)
    out.print(made.text, markup=False, highlight=False, soft_wrap=True)
    err.print(f"key {made.key_id} made; this is the only time that it is shown", markup=False)
    return 0


async def list_keys(
    settings: Settings, *, all_tenants: AllTenants = False, as_json: Json = False
) -> int:
    """List API keys: never what they are."""
    async with session(settings, Need.READ_MODELS) as opened:
        found = await opened.system.keys.list(_whose(settings, all_tenants))
    if as_json:
        print_json([key_out(key, used) for key, used in found])
        return 0
    made = table("KEY", "NAME", "ROLE", "ONLY", "CREATED", "EXPIRES", "LAST USED", "STATE")
    now = datetime.now(UTC)
    for key, used in found:
        over = key.expires_at is not None and key.expires_at <= now
        state = "revoked" if key.revoked_at else "expired" if over else "in force"
        made.add_row(
            cell(key.key_id),
            cell(key.name),
            cell(key.role),
            cell(", ".join(key.permissions) or "-"),
            cell(_day(key.created_at)),
            cell(_day(key.expires_at)),
            cell(_day(used)),
            cell(state, "" if state == "in force" else "red"),
        )
    if found:
        out.print(made)
    return 0


async def revoke_key(
    settings: Settings,
    *,
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="Its id, as listed.")],
    reason: Annotated[str | None, typer.Option(help="For the audit trail.")] = None,
    all_tenants: AllTenants = False,
) -> int:
    """Revoke an API key: it is refused from then on."""
    whose = _whose(settings, all_tenants)
    async with session(settings, Need.NOTHING) as opened:
        position = await opened.system.keys.revoke(whose, key_id, actor=whoami(), reason=reason)
        if not opened.hosts:
            await projected(opened.system, position, ATTACHED_PROJECTED_SECONDS)
        lacking = await parking.holding_back(
            opened.system.pool, branch_tenant(whose), KEYS_BRANCH, position
        )
    if lacking:
        raise EventsParked(lacking, position)
    err.print(harmless(f"key {key_id} revoked"), markup=False)
    return 0


def _whose(settings: Settings, all_tenants: bool) -> str:
    return EVERY_TENANT if all_tenants else settings.tenant


def _span(text: str) -> timedelta:
    found = _SPAN.match(text)
    if found is None:
        raise InvalidInput("expires", "must be a number with h, d or w, such as 90d")
    return int(found[1]) * _UNITS[found[2]]


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "-"
