"""A device's history: `diffs` joined with `backups`.

The two stand at positions of their own: a snapshot may be seen here before its diff is.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import asyncpg
from msgspec import Struct
from msgspec.json import Decoder

from domain.events import Attribution, ChangeSummary, Completeness, SectionChange, Source
from projections.backups.queries import attribution_of
from projections.diffs.queries import touches
from projections.rows import NEWEST, Place, Reader
from projections.words import places_of

_SECTIONS = Decoder(tuple[SectionChange, ...])
_SUMMARIES = Decoder(tuple[ChangeSummary, ...])


class HistoryDiff(Struct, frozen=True, gc=False):
    """The counts of the difference to what held before. The changes in words are content
    `changes_sequence`."""

    lines_added: int
    lines_removed: int
    coarse: bool
    content_sequence: int
    sections: tuple[SectionChange, ...]
    summaries: tuple[ChangeSummary, ...]
    summaries_more: int
    changes_sequence: int | None
    changes_commitment: str | None

    @property
    def places(self) -> list[str]:
        """The sections in which it is."""
        return places_of(self.sections, self.summaries)


_OF_DIFF = len(HistoryDiff.__struct_fields__)


class HistoryEntry(Struct, frozen=True, gc=False):
    """From `collected_at` on (until `valid_until`, None: still) a device had `snapshot_id`.

    `previous_snapshot_id` held before, None in the first entry. `diff` is None there, and while it
    is not worked out or not projected yet. `returned`: the snapshot was seen in an earlier entry
    already, which only happens around a late arrival. `late`, `completeness`, `warnings`,
    `source`, `actor` and sizes are the snapshot's own, `previous_completeness` is that of the one
    before. `asked_by` is who asked for the backup,
    where somebody did; `changed_by` who made the change, where the device was asked. `place` is the
    position of the observation that showed the change.
    """

    device_id: str
    snapshot_id: str
    previous_snapshot_id: str | None
    collected_at: datetime
    valid_until: datetime | None
    place: int
    returned: bool
    previous_completeness: Completeness | None
    asked_by: str | None
    position: int
    version: int
    late: bool
    completeness: Completeness
    source: Source
    actor: str
    trigger_id: str | None
    size_bytes: int
    line_count: int
    platform: str
    os_version: str | None
    warnings: tuple[str, ...]
    changed_by: Attribution | None
    diff: HistoryDiff | None

    @property
    def of_incomplete(self) -> bool:
        """Whether one of the two texts lacks something: lines are counted that may be there."""
        return "partial" in (self.completeness, self.previous_completeness)


# What a statement shows of an entry's snapshot and difference, after what is the entry's own.
SHOWN = """
    s.position, s.version, s.late, s.completeness, s.source, s.actor, s.trigger_id, s.size_bytes,
    s.line_count, s.platform, s.os_version, s.warnings,
    s.changed_by::text AS changed_by,
    d.lines_added, d.lines_removed, d.coarse, d.content_sequence, d.sections::text AS sections,
    d.summaries::text AS summaries, d.summaries_more, d.changes_sequence, d.changes_commitment
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
          AND (collected_at, position) <= ($3, $4)
        WINDOW newest_first AS (ORDER BY collected_at DESC, position DESC)
    )
"""
# The run that holds at the place, the last one of the page before, is read for when it began, and
# not listed again: a late arrival may have it begin before the place. None is left out of the first
# page.
_BEHIND = f"WHERE (valid_until IS NOT NULL OR $4 = {NEWEST[1]})"

# Only changes that touch a section or one below it.
IN_SECTION = f"""
    AND EXISTS (
        SELECT FROM configtrail.diffs d
        WHERE d.tenant_id = $1 AND d.device_id = $2
          AND d.to_snapshot_id = runs.snapshot_id
          AND d.from_snapshot_id = runs.previous_snapshot_id
          AND {touches("$5")}
    )
"""


def history_sql(shown: str, also: str, limit: str, offset: str) -> str:
    """The statement of a page, newest first: a change's own columns, and what else is shown of its
    snapshot `s` and its difference `d`."""
    return f"""
        {_RUNS}, page AS (
            SELECT * FROM runs {_BEHIND} {also}
            ORDER BY collected_at DESC, position DESC LIMIT {limit} OFFSET {offset}
        )
        SELECT s.device_id, page.snapshot_id, page.previous_snapshot_id, page.collected_at,
               page.valid_until, page.position AS place,
               page.collected_at > s.first_seen AS returned,
               CASE lead(page.snapshot_id) OVER listed WHEN page.previous_snapshot_id
                   THEN lead(s.completeness) OVER listed
                   ELSE (
                       SELECT p.completeness FROM configtrail.snapshots p
                       WHERE p.tenant_id = $1 AND p.device_id = $2
                         AND p.snapshot_id = page.previous_snapshot_id
                   )
               END AS previous_completeness,
               t.actor AS asked_by, {shown}
        FROM page
        JOIN configtrail.snapshots s
          ON s.tenant_id = $1 AND s.device_id = $2 AND s.snapshot_id = page.snapshot_id
        LEFT JOIN configtrail.triggers t
          ON t.tenant_id = $1 AND t.device_id = $2 AND t.trigger_id = s.trigger_id
        LEFT JOIN configtrail.diffs d
          ON d.tenant_id = $1 AND d.device_id = $2 AND d.to_snapshot_id = page.snapshot_id
         AND d.from_snapshot_id = page.previous_snapshot_id
        WINDOW listed AS (ORDER BY page.collected_at DESC, page.position DESC)
        ORDER BY page.collected_at DESC, page.position DESC
    """


HISTORY = history_sql(SHOWN, "", "$5", "$6")
HISTORY_OF_SECTION = history_sql(SHOWN, IN_SECTION, "$6", "$7")

COUNT_HISTORY = """
    SELECT count(*) FROM configtrail.observations
    WHERE tenant_id = $1 AND device_id = $2 AND starts_run
"""
COUNT_HISTORY_OF_SECTION = f"{_RUNS} SELECT count(*) FROM runs {_BEHIND} {IN_SECTION}"


async def config_history(
    reader: Reader,
    tenant_id: str,
    device_id: str,
    *,
    limit: int = 50,
    offset: int = 0,
    section: str | None = None,
    before: Place | None = None,
) -> list[HistoryEntry]:
    """The device's changes, newest first, the first snapshot included.

    `section`: only those that touch this section or one below it (`/ip firewall`). `before`: only
    those behind the entry that stood at this place.
    """
    key = (tenant_id, device_id, *(before or NEWEST))
    if section is None:
        records = await reader.fetch(HISTORY, *key, limit, offset)
    else:
        records = await reader.fetch(HISTORY_OF_SECTION, *key, section, limit, offset)
    return [entry_of(one) for one in records]


async def count_history(
    reader: Reader, tenant_id: str, device_id: str, *, section: str | None = None
) -> int:
    """How many entries `config_history` can list."""
    count: int
    if section is None:
        count = await reader.fetchval(COUNT_HISTORY, tenant_id, device_id)
    else:
        count = await reader.fetchval(
            COUNT_HISTORY_OF_SECTION, tenant_id, device_id, *NEWEST, section
        )
    return count


def entry_of(record: asyncpg.Record) -> HistoryEntry:
    """The entry in a record, whose columns are in the order of the fields: a page has many, and by
    their names they would take several times as long."""
    values = tuple(record)
    *own, warnings, changed_by = values[:-_OF_DIFF]
    who, diff = attribution_of(changed_by), _diff_of(*values[-_OF_DIFF:])
    fields = [*own, tuple(warnings), who, diff]
    return HistoryEntry(*fields)


def _diff_of(
    lines_added: int,
    lines_removed: int,
    coarse: bool,
    content_sequence: int | None,
    sections: str,
    summaries: str,
    *others: Any,
) -> HistoryDiff | None:
    if content_sequence is None:
        return None
    return HistoryDiff(
        lines_added,
        lines_removed,
        coarse,
        content_sequence,
        _SECTIONS.decode(sections),
        _SUMMARIES.decode(summaries),
        *others,
    )
