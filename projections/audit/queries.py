"""Questions to the read model `audit`: filtered pages, newest first, and the whole as a stream.

Order is by when it happened, at the same time by position: what arrives late stands in its place.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime

import asyncpg
from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from domain.errors import InvalidInput, RowUnreadable
from projections.rows import Reader

_DETAILS = Decoder(dict[str, object])


class AuditEntry(Struct, frozen=True, gc=False):
    """One event. `details` are all its fields, as in its published schema; `position` is its place
    in the stream, `version` its place in the device's history."""

    position: int
    tenant_id: str
    event_id: str
    occurred_at: datetime
    stored_at: datetime
    actor: str
    action: str
    resource_type: str
    resource_id: str
    device_id: str
    version: int
    correlation_id: str | None
    causation_id: str | None
    details: dict[str, object]


class AuditFilter(Struct, frozen=True, kw_only=True):
    """Which entries; None does not restrict. `since` ≤ occurred_at < `until`,
    `from_position` ≤ position ≤ `to_position`."""

    action: str | None = None
    actor: str | None = None
    device_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    from_position: int | None = None
    to_position: int | None = None
    correlation_id: str | None = None


class AuditPage(Struct, frozen=True, kw_only=True):
    """Entries, newest first. `total` counts all that the filter lets through, but no further than
    the bound asked for: then `total_is_exact` is False. `next_before` is the `before` of the next
    page, None on the last one."""

    entries: tuple[AuditEntry, ...]
    total: int
    total_is_exact: bool
    next_before: int | None


EVERYTHING = AuditFilter()
COUNT_LIMIT = 10_000

_ENTRY = """
    position, tenant_id, event_id, occurred_at, stored_at, actor, action, resource_type,
    resource_id, device_id, version, correlation_id, causation_id, details
"""

_TIMES = tuple([AuditEntry.__struct_fields__.index(one) for one in ("occurred_at", "stored_at")])

# Postgres has earlier and later times than Python.
_FIRST, _END = "0001-01-01 00:00:00+00", "10000-01-01 00:00:00+00"
_NO_TIME = "a time of it is before the year 1 or after 9999"

NEWEST_FIRST = "ORDER BY occurred_at DESC, position DESC"

_CONDITIONS = {
    "action": "action = {}",
    "actor": "actor = {}",
    "device_id": "device_id = {}",
    "since": "occurred_at >= {}",
    "until": "occurred_at < {}",
    "from_position": "position >= {}",
    "to_position": "position <= {}",
    "correlation_id": "correlation_id = {}",
}

GET_ENTRY = f"SELECT {_ENTRY} FROM configtrail.audit WHERE tenant_id = $1 AND position = $2"


def _where(tenant_id: str, wanted: AuditFilter) -> tuple[str, list[object]]:
    """The conditions that the filter really has: each combination gets a plan of its own."""
    arguments: list[object] = [tenant_id]
    conditions = ["tenant_id = $1"]
    for name, condition in _CONDITIONS.items():
        value = getattr(wanted, name)
        if value is not None:
            arguments.append(value)
            conditions.append(condition.format(f"${len(arguments)}"))
    return "WHERE " + " AND ".join(conditions), arguments


async def get_entry(reader: Reader, tenant_id: str, position: int) -> AuditEntry | None:
    """The entry at a position of the stream, when it is this tenant's. Raises `RowUnreadable`."""
    try:
        found = await reader.fetchrow(GET_ENTRY, tenant_id, position)
    except OverflowError as error:
        raise RowUnreadable(position, _NO_TIME) from error
    return None if found is None else _entry_of(found)


async def _records(
    reader: Reader, where: str, arguments: Sequence[object], behind: str
) -> list[asyncpg.Record]:
    try:
        return await reader.fetch(
            f"SELECT {_ENTRY} FROM configtrail.audit {where} {behind}", *arguments
        )
    except OverflowError as error:
        position = await reader.fetchval(
            f"SELECT position FROM (SELECT {_ENTRY} FROM configtrail.audit {where} {behind}) page"
            f" WHERE least(occurred_at, stored_at) < '{_FIRST}'"
            f" OR greatest(occurred_at, stored_at) >= '{_END}' LIMIT 1",
            *arguments,
        )
        raise RowUnreadable(position, _NO_TIME) from error


def _entry_of(record: asyncpg.Record) -> AuditEntry:
    """The entry in a record, whose columns are in the order of the fields."""
    *own, details = record
    for place in _TIMES:
        # One without end comes without a zone.
        if own[place].tzinfo is None:
            own[place] = own[place].replace(tzinfo=UTC)
    try:
        fields = [*own, _DETAILS.decode(details)]
    except (DecodeError, RecursionError) as error:
        raise RowUnreadable(own[0], "its details are no JSON object") from error
    return AuditEntry(*fields)


async def audit_page(
    reader: Reader,
    tenant_id: str,
    wanted: AuditFilter = EVERYTHING,
    *,
    limit: int = 50,
    before: int | None = None,
    offset: int = 0,
    count_limit: int = COUNT_LIMIT,
    beyond: bool = False,
) -> AuditPage:
    """A page of the audit trail, newest first.

    Pages by `before` (the position of the last entry seen) cost the same however far back; pages by
    number (`offset`) cost more the further back. `beyond`: the filter is known to let through more
    than the bound, so nothing is counted. Raises `InvalidInput` for a `before` that is no entry of
    the tenant, and `RowUnreadable`.
    """
    total, where, arguments = await looked_for(
        reader, tenant_id, wanted, before=before, count_limit=count_limit, beyond=beyond
    )
    found = await entries_of(reader, where, arguments, limit + 1, offset)
    entries = tuple(found[:limit])
    return AuditPage(
        entries=entries,
        total=min(total, count_limit),
        total_is_exact=total <= count_limit,
        next_before=entries[-1].position if entries and len(found) > limit else None,
    )


async def entries_of(
    reader: Reader, where: str, arguments: Sequence[object], limit: int, offset: int
) -> list[AuditEntry]:
    """The entries for which the condition holds, newest first. Raises `RowUnreadable`."""
    asked = len(arguments)
    behind = f"{NEWEST_FIRST} LIMIT ${asked + 1} OFFSET ${asked + 2}"
    records = await _records(reader, where, [*arguments, limit, offset], behind)
    return [_entry_of(one) for one in records]


async def looked_for(
    reader: Reader,
    tenant_id: str,
    wanted: AuditFilter,
    *,
    before: int | None,
    count_limit: int,
    beyond: bool,
) -> tuple[int, str, list[object]]:
    """How many entries the filter lets through, one more than the bound where there are more; and
    the condition of those on a page, with its arguments. Raises as `audit_page`."""
    where, arguments = _where(tenant_id, wanted)
    total = count_limit + 1
    if not beyond:
        total = await reader.fetchval(
            "SELECT count(*) FROM"
            f" (SELECT FROM configtrail.audit {where} LIMIT {count_limit + 1}) AS counted",
            *arguments,
        )
    if before is not None:
        seen = await get_entry(reader, tenant_id, before)
        if seen is None:
            raise InvalidInput("before", "must be the position of an entry of the audit trail")
        arguments += [seen.occurred_at, before]
        where += (
            f" AND (occurred_at, position) < (${len(arguments) - 1}, ${len(arguments)}::bigint)"
        )
    return total, where, arguments


async def stream_audit(
    reader: Reader,
    tenant_id: str,
    wanted: AuditFilter = EVERYTHING,
    *,
    batch: int = 500,
) -> AsyncGenerator[list[AuditEntry], None]:
    """All entries that the filter lets through, newest first, in batches.

    Each is a question of its own, and nothing is held meanwhile: whoever takes them may take their
    time. An entry that comes in between is among them or not, and none is there twice. Raises
    `RowUnreadable`.
    """
    where, arguments = _where(tenant_id, wanted)
    place = len(arguments)
    further = f" AND (occurred_at, position) < (${place + 1}, ${place + 2}::bigint)"
    after: list[object] = []
    while True:
        records = await _records(
            reader,
            where + (further if after else ""),
            [*arguments, *after],
            f"{NEWEST_FIRST} LIMIT {batch}",
        )
        if not records:
            return
        yield [_entry_of(one) for one in records]
        if len(records) < batch:
            return
        after = [records[-1]["occurred_at"], records[-1]["position"]]
