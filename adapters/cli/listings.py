"""The commands that list: devices, fleet, history, audit."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated

import typer

from adapters.asked import known_action, section_named
from adapters.cli.arguments import Device, Json, Limit, Since, Until
from adapters.cli.changes import headline
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.session import Need, session
from adapters.cli.tables import audit_table, devices_table, fleet_table, history_table
from adapters.composition import System
from adapters.settings import Settings
from adapters.shapes.audit import audit_out
from adapters.shapes.devices import device_out
from adapters.shapes.fleet import member_out
from adapters.shapes.history import history_out
from domain.errors import ContentMissing, KeyDestroyed
from domain.granting import NO_TENANT
from projections import backups, diffs
from projections.audit import AuditEntry, AuditFilter, stream_audit
from projections.backups import require_device
from projections.fleet import list_fleet

PAGE = 500
# Further back a timeline names sections only: each text is read for its own.
_MOST_IN_WORDS = 200


async def devices(
    settings: Settings,
    *,
    search: Annotated[str | None, typer.Option(help="Only ids that contain this text.")] = None,
    not_seen_since: Since = None,
    as_json: Json = False,
) -> int:
    """List devices: how many versions, since when the current one holds, when last seen.

    `--not-seen-since` lists those without a fresh backup.
    """
    async with session(settings, Need.READ_MODELS) as opened:
        found: list[backups.Device] = []
        while True:
            page = await backups.list_devices(
                opened.system.pool,
                settings.tenant,
                limit=PAGE,
                offset=len(found),
                search=search,
                not_seen_since=not_seen_since,
            )
            found += page
            if len(page) < PAGE:
                break
    if as_json:
        print_json([device_out(one) for one in found])
        return 0
    if found:
        out.print(devices_table(found))
    err.print(_count(len(found), "device", f"of tenant {settings.tenant}"))
    return 0


async def fleet(settings: Settings, *, limit: Limit = 100, as_json: Json = False) -> int:
    """Show who waits longest for a backup, who fails, and what is under way."""
    async with session(settings, Need.READ_MODELS) as opened:
        found = await list_fleet(
            opened.system.pool, settings.tenant, datetime.now(UTC), limit=limit + 1
        )
    shown = found[:limit]
    if as_json:
        print_json([member_out(one) for one in shown])
    elif shown:
        out.print(fleet_table(shown))
    if len(found) > limit:
        err.print(f"there are more than {limit}; --limit shows more")
    return 0


async def history(
    settings: Settings,
    *,
    device: Device,
    section: Annotated[
        str | None, typer.Option(help="Only changes in this section, such as '/ip firewall'.")
    ] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> int:
    """Show one device's timeline: what it had when, and what changed, newest first."""
    async with session(settings, Need.READ_MODELS) as opened:
        await require_device(opened.system.rows_of(settings.tenant), settings.tenant, device)
        found = await diffs.config_history(
            opened.system.pool,
            settings.tenant,
            device,
            limit=limit + 1,
            section=section_named(section),
        )
        shown = found[:limit]
        words = {} if as_json else await in_words(opened.system, settings.tenant, device, shown)
    if as_json:
        print_json([history_out(one) for one in shown])
    elif shown:
        out.print(history_table(shown, words))
    elif section is None:
        err.print(harmless(f"{device} has no configuration yet"), markup=False)
    else:
        err.print(harmless(f"no change of {device} touches the section {section}"), markup=False)
    if len(found) > limit:
        err.print(f"there are more than {limit}; --limit shows more")
    return 0


async def in_words(
    system: System, tenant: str, device: str, entries: Sequence[diffs.HistoryEntry]
) -> dict[tuple[str | None, str], str]:
    """What changed first in each entry, by its two snapshots. A difference without words, or whose
    words are gone, is left to its numbers."""
    words: dict[tuple[str | None, str], str] = {}
    for entry in entries[:_MOST_IN_WORDS]:
        if entry.diff is None:
            continue
        try:
            told = await system.reading.told(tenant, device, entry.diff)
        except (ContentMissing, KeyDestroyed):
            continue
        if told is not None:
            words[entry.previous_snapshot_id, entry.snapshot_id] = headline(told)
    return words


async def audit(
    settings: Settings,
    *,
    action: Annotated[
        str | None, typer.Option(help="Only this action, such as config_snapshot_created.")
    ] = None,
    actor: Annotated[str | None, typer.Option(help="Only this actor, such as user:ann.")] = None,
    device: Annotated[str | None, typer.Option(help="Only this device.")] = None,
    since: Since = None,
    until: Until = None,
    correlation_id: Annotated[
        str | None, typer.Option("--correlation", help="Only what belongs to this id.")
    ] = None,
    of_none: Annotated[
        bool,
        typer.Option(
            "--all-tenants",
            help="Instead of --tenant: keys for every tenant, refused requests of strangers.",
        ),
    ] = False,
    limit: Limit = 50,
    as_json: Json = False,
) -> int:
    """Show who did what, newest first: every event there is, by when it happened."""
    wanted = AuditFilter(
        action=known_action(action),
        actor=actor,
        device_id=device,
        since=since,
        until=until,
        correlation_id=correlation_id,
    )
    async with session(settings, Need.READ_MODELS) as opened:
        whose = NO_TENANT if of_none else settings.tenant
        found = await _audit(opened.system, whose, wanted, limit + 1)
    shown = found[:limit]
    if as_json:
        print_json([audit_out(one) for one in shown])
    elif shown:
        out.print(audit_table(shown))
    else:
        err.print("no entry of the audit log matches")
    if len(found) > limit:
        err.print(f"there are more than {limit}; --limit shows more")
    return 0


async def _audit(system: System, tenant: str, wanted: AuditFilter, most: int) -> list[AuditEntry]:
    found: list[AuditEntry] = []
    stream = stream_audit(system.pool, tenant, wanted, batch=min(most, PAGE))
    async with aclosing(stream) as batches:
        async for batch in batches:
            found += batch
            if len(found) >= most:
                break
    return found[:most]


def _count(number: int, noun: str, rest: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)} {rest}"
