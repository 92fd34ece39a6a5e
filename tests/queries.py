"""Every query behind the API, asked at some place of a long history."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import asyncpg

from projections import backups, diffs
from projections.audit import AuditFilter, audit_page, get_entry, shown_audit
from projections.days import list_days
from projections.fleet import count_stale, get_member, list_fleet
from projections.rows import Reader
from tests.loading import Long

Query = Callable[[Any], Awaitable[object]]


class Paging:
    """A reader that counts the pages which its questions touch, in memory or not: what they cost,
    whatever else the machine does. Each question is asked twice."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.pages = 0

    async def _count(self, query: str, arguments: tuple[Any, ...]) -> None:
        told = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {query}"
        [explained] = json.loads(await self._reader.fetchval(told, *arguments))
        plan = explained["Plan"]
        self.pages += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """See `Reader.fetch`."""
        await self._count(query, args)
        return await self._reader.fetch(query, *args)

    async def fetchrow(self, query: str, *args: Any) -> asyncpg.Record | None:
        """See `Reader.fetchrow`."""
        await self._count(query, args)
        return await self._reader.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: Any) -> Any:
        """See `Reader.fetchval`."""
        await self._count(query, args)
        return await self._reader.fetchval(query, *args)


def queries(long: Long, reader: Reader, device: int, share: float) -> dict[str, Query]:
    """The queries by name; each is called with nothing that matters (a device's number). `share`:
    how far back they look, from 0 (the beginning of the history) to 1 (its end)."""
    tenant, name = long.tenant(device), long.device(device)
    # A page is full at the beginning too: else it would be compared with what has less to do.
    number = max(min(50, long.snapshots // 2), int(share * (long.snapshots - 1)))
    moment = long.snapshot_time(number) + timedelta(hours=1)
    offset = long.snapshots - 1 - number
    position = max(60 * long.tenants, int(share * long.audit) - long.tenants)
    position += (device % long.tenants - position) % long.tenants
    position = min(position, long.audit - long.tenants + (device % long.tenants))
    place = (moment, 1 << 60)
    since, until = long.audit_time(position - 3600), long.audit_time(position)
    now = long.snapshot_time(long.snapshots)

    async def snapshot_id() -> str:
        found = await backups.snapshot_at(reader, tenant, name, moment)
        assert found is not None
        return found.snapshot_id

    async def get_snapshot(_: Any) -> object:
        return await backups.get_snapshot(reader, tenant, name, await snapshot_id())

    async def diff_of_snapshot(_: Any) -> object:
        return await diffs.diff_of_snapshot(reader, tenant, name, await snapshot_id())

    return {
        "devices": lambda _: backups.list_devices(reader, tenant, limit=50),
        "devices, shown": lambda _: backups.shown_devices(reader, tenant, limit=50),
        "devices, searched and shown": lambda _: backups.shown_devices(
            reader, tenant, limit=50, search=name[-3:]
        ),
        "devices, searched": lambda _: backups.list_devices(reader, tenant, search=name[-3:]),
        "devices, counted": lambda _: backups.count_devices(reader, tenant),
        "tenant's numbers": lambda _: backups.stats(reader, tenant),
        "fleet": lambda _: list_fleet(reader, tenant, now, limit=50),
        "fleet, one": lambda _: get_member(reader, tenant, name, now),
        "device": lambda _: backups.get_device(reader, tenant, name),
        "snapshots": lambda _: backups.list_snapshots(
            reader, tenant, name, limit=50, offset=offset
        ),
        "snapshots, shown": lambda _: backups.shown_snapshots(
            reader, tenant, name, limit=50, before=place
        ),
        "snapshot": get_snapshot,
        "snapshot at a time": lambda _: backups.snapshot_at(reader, tenant, name, moment),
        "validity": lambda _: backups.validity(reader, tenant, name, limit=50, offset=offset),
        "history": lambda _: diffs.config_history(reader, tenant, name, limit=50, offset=offset),
        "history of a section": lambda _: diffs.config_history(
            reader, tenant, name, limit=50, offset=offset, section="/ip firewall"
        ),
        "history, shown": lambda _: diffs.shown_history(
            reader, tenant, name, limit=50, before=place
        ),
        "diffs": lambda _: diffs.list_diffs(reader, tenant, name, limit=50, offset=offset),
        "diff of a snapshot": diff_of_snapshot,
        "changes": lambda _: diffs.change_feed(reader, tenant, diffs.FeedFilter(), before=place),
        "changes of a device": lambda _: diffs.change_feed(
            reader, tenant, diffs.FeedFilter(device_id=name), before=place
        ),
        "changes of a section": lambda _: diffs.change_feed(
            reader, tenant, diffs.FeedFilter(section="/ip firewall"), before=place
        ),
        "changes of a rare section": lambda _: diffs.change_feed(
            reader, tenant, diffs.FeedFilter(section="/nothing"), before=place
        ),
        "changes with a risk": lambda _: diffs.change_feed(
            reader, tenant, diffs.FeedFilter(risk="input-chain"), before=place
        ),
        "snapshots, from here back": lambda _: backups.list_snapshots(
            reader, tenant, name, limit=50, before=place
        ),
        "validity, from here back": lambda _: backups.validity(
            reader, tenant, name, limit=50, before=place
        ),
        "history, from here back": lambda _: diffs.config_history(
            reader, tenant, name, limit=50, before=place
        ),
        "days": lambda _: list_days(reader, tenant, moment.date() - timedelta(29), moment.date()),
        "stale devices": lambda _: count_stale(reader, tenant, now + timedelta(days=1)),
        "fleet, from here on": lambda _: list_fleet(
            reader, tenant, now, limit=50, after=(now - timedelta(days=1), "")
        ),
        "audit entry": lambda _: get_entry(reader, tenant, position),
        "audit, from here back": lambda _: audit_page(reader, tenant, before=position),
        "audit, shown": lambda _: shown_audit(reader, tenant, before=position),
        "audit of an hour": lambda _: audit_page(
            reader, tenant, AuditFilter(since=since, until=until)
        ),
        "audit by action": lambda _: audit_page(
            reader, tenant, AuditFilter(action="config_diff_generated"), before=position
        ),
        "audit by actor": lambda _: audit_page(
            reader, tenant, AuditFilter(actor="user:ann"), before=position
        ),
        "audit of one cause": lambda _: audit_page(
            reader, tenant, AuditFilter(correlation_id=long.cause(position))
        ),
        "audit of a device": lambda _: audit_page(reader, tenant, AuditFilter(device_id=name)),
    }
