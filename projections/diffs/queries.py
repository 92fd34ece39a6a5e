"""Questions to the read model `diffs`, and a device's history, which joins it with `backups`.

The two stand at positions of their own: a snapshot may be seen here before its diff is.
"""

from __future__ import annotations

from datetime import datetime

import asyncpg
import msgspec
from msgspec import Struct

from domain.events import Attribution, ChangeSummary, Completeness, SectionChange, Source
from projections.rows import Reader


class Diff(Struct, frozen=True, kw_only=True):
    """What differs between two snapshots. The text of it is content `content_sequence`, and the
    changes in words are content `changes_sequence`, where there are any.

    `coarse`: a limit was hit, and it replaces more than it had to. `occurred_at`: when it was
    worked out. `changed_by`: who made the newer snapshot's change, where the device was asked.
    """

    tenant_id: str
    device_id: str
    from_snapshot_id: str
    to_snapshot_id: str
    lines_added: int
    lines_removed: int
    coarse: bool
    content_sequence: int
    commitment: str
    summaries: tuple[ChangeSummary, ...]
    summaries_more: int
    changes_sequence: int | None
    changes_commitment: str | None
    position: int
    occurred_at: datetime
    sections: tuple[SectionChange, ...]
    changed_by: Attribution | None


class HistoryDiff(Struct, frozen=True, kw_only=True):
    """The counts of the difference to what held before. The changes in words are content
    `changes_sequence`."""

    lines_added: int
    lines_removed: int
    coarse: bool
    content_sequence: int
    summaries: tuple[ChangeSummary, ...]
    summaries_more: int
    changes_sequence: int | None
    changes_commitment: str | None
    sections: tuple[SectionChange, ...]


class HistoryEntry(Struct, frozen=True, kw_only=True):
    """From `collected_at` on (until `valid_until`, None: still) the device had `snapshot_id`.

    `previous_snapshot_id` held before, None in the first entry. `diff` is None there, and while it
    is not worked out or not projected yet. `returned`: the snapshot was seen in an earlier entry
    already, which only happens around a late arrival. `late`, `completeness`, `warnings`,
    `source`, `actor` and sizes are the snapshot's own. `asked_by` is who asked for the backup,
    where somebody did; `changed_by` who made the change, where the device was asked.
    """

    snapshot_id: str
    previous_snapshot_id: str | None
    collected_at: datetime
    valid_until: datetime | None
    position: int
    version: int
    diff: HistoryDiff | None
    returned: bool
    late: bool
    completeness: Completeness
    warnings: tuple[str, ...]
    source: Source
    actor: str
    asked_by: str | None
    changed_by: Attribution | None
    trigger_id: str | None
    size_bytes: int
    line_count: int
    platform: str
    os_version: str | None


_SECTIONS = """
    LEFT JOIN LATERAL (
        SELECT array_agg(c.section ORDER BY c.ordinal) AS section_names,
               array_agg(c.added ORDER BY c.ordinal) AS sections_added,
               array_agg(c.removed ORDER BY c.ordinal) AS sections_removed
        FROM configtrail.changes c
        WHERE c.tenant_id = d.tenant_id AND c.device_id = d.device_id
          AND c.to_snapshot_id = d.to_snapshot_id AND c.from_snapshot_id = d.from_snapshot_id
    ) AS sections ON true
"""

# Of a diff between neighbours in time; another one spans more than the newer one's change.
_CHANGED_BY = """
    LEFT JOIN LATERAL (
        SELECT s.changed_by FROM configtrail.snapshots s
        WHERE s.tenant_id = d.tenant_id AND s.device_id = d.device_id
          AND s.snapshot_id = d.to_snapshot_id AND s.predecessor_id = d.from_snapshot_id
    ) AS told ON true
"""

_DIFF = """
    d.tenant_id, d.device_id, d.from_snapshot_id, d.to_snapshot_id, d.lines_added,
    d.lines_removed, d.coarse, d.content_sequence, d.commitment, d.summaries, d.summaries_more,
    d.changes_sequence, d.changes_commitment, d.position, d.occurred_at, changed_by,
    section_names, sections_added, sections_removed
"""

GET_DIFF = f"""
    SELECT {_DIFF} FROM configtrail.diffs d {_SECTIONS} {_CHANGED_BY}
    WHERE d.tenant_id = $1 AND d.device_id = $2
      AND d.from_snapshot_id = $3 AND d.to_snapshot_id = $4
"""

# The diffs of a device, by when they were worked out.
LIST_DIFFS = f"""
    SELECT {_DIFF} FROM configtrail.diffs d {_SECTIONS} {_CHANGED_BY}
    WHERE d.tenant_id = $1 AND d.device_id = $2
    ORDER BY d.position DESC LIMIT $3 OFFSET $4
"""

# What the last observation before a snapshot's own first one showed.
PREDECESSOR = """
    SELECT before.snapshot_id
    FROM configtrail.snapshots s
    CROSS JOIN LATERAL (
        SELECT o.collected_at, o.position FROM configtrail.observations o
        WHERE o.tenant_id = s.tenant_id AND o.device_id = s.device_id
          AND o.collected_at >= s.first_seen AND o.snapshot_id = s.snapshot_id
        ORDER BY o.collected_at, o.position LIMIT 1
    ) first
    CROSS JOIN LATERAL (
        SELECT o.snapshot_id FROM configtrail.observations o
        WHERE o.tenant_id = s.tenant_id AND o.device_id = s.device_id
          AND (o.collected_at, o.position) < (first.collected_at, first.position)
        ORDER BY o.collected_at DESC, o.position DESC LIMIT 1
    ) before
    WHERE s.tenant_id = $1 AND s.device_id = $2 AND s.snapshot_id = $3
"""

# Each change of what a device had, in time order: where its observations begin to show another
# snapshot than before.
_RUNS = """
    WITH runs AS (
        SELECT snapshot_id, collected_at, position,
               lead(snapshot_id) OVER newest_first AS previous_snapshot_id,
               lag(collected_at) OVER newest_first AS valid_until
        FROM configtrail.observations
        WHERE tenant_id = $1 AND device_id = $2 AND starts_run
        WINDOW newest_first AS (ORDER BY collected_at DESC, position DESC)
    )
"""

# Only changes that touch a section or one below it.
_IN_SECTION = """
    WHERE EXISTS (
        SELECT FROM configtrail.changes c
        WHERE c.tenant_id = $1 AND c.device_id = $2
          AND c.to_snapshot_id = runs.snapshot_id
          AND c.from_snapshot_id = runs.previous_snapshot_id
          AND (c.section = $3 OR starts_with(c.section, $3 || ' '))
    )
"""


def _history_sql(where: str, limit: str, offset: str) -> str:
    return f"""
        {_RUNS}, page AS (
            SELECT * FROM runs {where}
            ORDER BY collected_at DESC, position DESC LIMIT {limit} OFFSET {offset}
        )
        SELECT page.snapshot_id, page.previous_snapshot_id, page.collected_at, page.valid_until,
               s.position, s.version, page.collected_at > s.first_seen AS returned, s.late,
               s.completeness, s.warnings, s.source, s.actor, t.actor AS asked_by, s.trigger_id,
               s.changed_by,
               s.size_bytes, s.line_count, s.platform, s.os_version,
               d.lines_added, d.lines_removed, d.coarse, d.content_sequence,
               d.summaries, d.summaries_more, d.changes_sequence, d.changes_commitment,
               section_names, sections_added, sections_removed
        FROM page
        JOIN configtrail.snapshots s
          ON s.tenant_id = $1 AND s.device_id = $2 AND s.snapshot_id = page.snapshot_id
        LEFT JOIN configtrail.triggers t
          ON t.tenant_id = $1 AND t.device_id = $2 AND t.trigger_id = s.trigger_id
        LEFT JOIN configtrail.diffs d
          ON d.tenant_id = $1 AND d.device_id = $2 AND d.to_snapshot_id = page.snapshot_id
         AND d.from_snapshot_id = page.previous_snapshot_id
        {_SECTIONS}
        ORDER BY page.collected_at DESC, page.position DESC
    """


HISTORY = _history_sql("", "$3", "$4")
HISTORY_OF_SECTION = _history_sql(_IN_SECTION, "$4", "$5")

COUNT_HISTORY = """
    SELECT count(*) FROM configtrail.observations
    WHERE tenant_id = $1 AND device_id = $2 AND starts_run
"""
COUNT_HISTORY_OF_SECTION = f"{_RUNS} SELECT count(*) FROM runs {_IN_SECTION}"


async def get_diff(
    reader: Reader, tenant_id: str, device_id: str, from_snapshot_id: str, to_snapshot_id: str
) -> Diff | None:
    """The recorded difference between two snapshots; None when nobody worked it out (yet)."""
    record = await reader.fetchrow(GET_DIFF, tenant_id, device_id, from_snapshot_id, to_snapshot_id)
    return None if record is None else _diff(record)


async def list_diffs(
    reader: Reader, tenant_id: str, device_id: str, *, limit: int = 100, offset: int = 0
) -> list[Diff]:
    """The device's recorded differences, the last one worked out first."""
    return [
        _diff(record)
        for record in await reader.fetch(LIST_DIFFS, tenant_id, device_id, limit, offset)
    ]


async def predecessor_of(
    reader: Reader, tenant_id: str, device_id: str, snapshot_id: str
) -> str | None:
    """The id of the snapshot that held before this one did, late arrivals counted; None when it is
    the first one, or unknown."""
    found: str | None = await reader.fetchval(PREDECESSOR, tenant_id, device_id, snapshot_id)
    return found


async def diff_of_snapshot(
    reader: Reader, tenant_id: str, device_id: str, snapshot_id: str
) -> Diff | None:
    """The difference that led to a snapshot, from the one that truly held before: a late arrival
    between the two counts. None for the first one, and while it is not worked out."""
    before = await predecessor_of(reader, tenant_id, device_id, snapshot_id)
    if before is None:
        return None
    return await get_diff(reader, tenant_id, device_id, before, snapshot_id)


async def config_history(
    reader: Reader,
    tenant_id: str,
    device_id: str,
    *,
    limit: int = 50,
    offset: int = 0,
    section: str | None = None,
) -> list[HistoryEntry]:
    """The device's changes, newest first, the first snapshot included.

    `section`: only those that touch this section or one below it (`/ip firewall`).
    """
    if section is None:
        records = await reader.fetch(HISTORY, tenant_id, device_id, limit, offset)
    else:
        records = await reader.fetch(
            HISTORY_OF_SECTION, tenant_id, device_id, section, limit, offset
        )
    return [_entry(record) for record in records]


async def count_history(
    reader: Reader, tenant_id: str, device_id: str, *, section: str | None = None
) -> int:
    """How many entries `config_history` can list."""
    count: int
    if section is None:
        count = await reader.fetchval(COUNT_HISTORY, tenant_id, device_id)
    else:
        count = await reader.fetchval(COUNT_HISTORY_OF_SECTION, tenant_id, device_id, section)
    return count


def _entry(record: asyncpg.Record) -> HistoryEntry:
    columns = _with_sections(record)
    counts = {name: columns.pop(name) for name in HistoryDiff.__struct_fields__}
    known = counts["content_sequence"] is not None
    return msgspec.convert({**columns, "diff": counts if known else None}, HistoryEntry)


def _diff(record: asyncpg.Record) -> Diff:
    return msgspec.convert(_with_sections(record), Diff)


def _with_sections(record: asyncpg.Record) -> dict[str, object]:
    columns = dict(record)
    names = columns.pop("section_names") or ()
    added = columns.pop("sections_added") or ()
    removed = columns.pop("sections_removed") or ()
    columns["sections"] = [
        SectionChange(section=name, added=plus, removed=minus)
        for name, plus, minus in zip(names, added, removed, strict=True)
    ]
    return columns
