"""Questions to the read model `diffs`."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from domain.decisions import MOST_SECTIONS
from domain.events import Attribution, ChangeSummary, SectionChange
from domain.semantic.summary import MOST_SUMMARIES
from projections.rows import Reader, struct, structs


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


def touches(section: str) -> str:
    """Whether the diff `d` touches a section or one below it, or may: of one that has as many as
    are told, others are not, and of one whose comparison was stopped none is. What was only moved
    has no lines counted, but a summary."""
    return f"""(
        jsonb_array_length(d.sections) >= {MOST_SECTIONS}
        OR jsonb_array_length(d.summaries) >= {MOST_SUMMARIES}
        OR d.coarse AND d.sections || d.summaries = '[]'
        OR EXISTS (
            SELECT FROM jsonb_array_elements(d.sections || d.summaries) AS of(one),
                 LATERAL (SELECT of.one ->> 'section') AS named(section)
            WHERE named.section = {section} OR starts_with(named.section, {section} || ' ')
        )
    )"""


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
    d.lines_removed, d.coarse, d.content_sequence, d.commitment, d.sections, d.summaries,
    d.summaries_more, d.changes_sequence, d.changes_commitment, d.position, d.occurred_at,
    changed_by
"""

GET_DIFF = f"""
    SELECT {_DIFF} FROM configtrail.diffs d {_CHANGED_BY}
    WHERE d.tenant_id = $1 AND d.device_id = $2
      AND d.from_snapshot_id = $3 AND d.to_snapshot_id = $4
"""

# The diffs of a device, by when they were worked out.
LIST_DIFFS = f"""
    SELECT {_DIFF} FROM configtrail.diffs d {_CHANGED_BY}
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


async def get_diff(
    reader: Reader, tenant_id: str, device_id: str, from_snapshot_id: str, to_snapshot_id: str
) -> Diff | None:
    """The recorded difference between two snapshots; None when nobody worked it out (yet)."""
    record = await reader.fetchrow(GET_DIFF, tenant_id, device_id, from_snapshot_id, to_snapshot_id)
    return struct(Diff, record)


async def list_diffs(
    reader: Reader, tenant_id: str, device_id: str, *, limit: int = 100, offset: int = 0
) -> list[Diff]:
    """The device's recorded differences, the last one worked out first."""
    return structs(Diff, await reader.fetch(LIST_DIFFS, tenant_id, device_id, limit, offset))


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
