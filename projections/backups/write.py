"""Brings what a batch means into the tables of `backups`, set by set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domain.decisions import creating_event_id
from domain.envelope import StoredEvent
from domain.errors import FollowsMissing, MalformedEvent
from projections.backups.fold import BackupOps, fold
from projections.backups.snapshot_rows import SNAPSHOT_COLUMNS, snapshot_row
from projections.backups.tables import DDL, TABLES
from projections.copying import copy_rows
from projections.rows import Connection, columns_of, storable, storable_or_none

_OBSERVATION_COLUMNS = (
    "tenant_id",
    "device_id",
    "collected_at",
    "position",
    "snapshot_id",
    "starts_run",
)

# Confirmations of snapshots that are there already.
CONFIRM = """
    UPDATE snapshots s
    SET confirmations = s.confirmations + seen.count,
        first_seen = least(s.first_seen, seen.oldest),
        last_confirmed = greatest(s.last_confirmed, seen.newest)
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::timestamptz[],
                $6::timestamptz[])
      AS seen(tenant_id, device_id, snapshot_id, count, oldest, newest)
    WHERE s.tenant_id = seen.tenant_id AND s.device_id = seen.device_id
      AND s.snapshot_id = seen.snapshot_id
"""

# What a timeline shows of differences to snapshots that are there already.
TELL = """
    UPDATE snapshots s
    SET differs_from = told.from_snapshot_id, difference_told = told.told,
        difference_where = told.place, difference_shown = told.shown
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
      AS told(tenant_id, device_id, snapshot_id, from_snapshot_id, told, place, shown)
    WHERE s.tenant_id = told.tenant_id AND s.device_id = told.device_id
      AND s.snapshot_id = told.snapshot_id
"""

# A late observation changes whether it and the one after it, in time, start a run.
MEND_RUNS = """
    WITH late AS (
        SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::bigint[])
            AS late(tenant_id, device_id, collected_at, position)
    ), touched AS (
        SELECT * FROM late
        UNION
        SELECT late.tenant_id, late.device_id, next.collected_at, next.position
        FROM late CROSS JOIN LATERAL (
            SELECT o.collected_at, o.position FROM observations o
            WHERE o.tenant_id = late.tenant_id AND o.device_id = late.device_id
              AND (o.collected_at, o.position) > (late.collected_at, late.position)
            ORDER BY o.collected_at, o.position LIMIT 1
        ) next
    )
    UPDATE observations o
    SET starts_run = o.snapshot_id IS DISTINCT FROM (
        SELECT before.snapshot_id FROM observations before
        WHERE before.tenant_id = o.tenant_id AND before.device_id = o.device_id
          AND (before.collected_at, before.position) < (o.collected_at, o.position)
        ORDER BY before.collected_at DESC, before.position DESC LIMIT 1
    )
    FROM touched
    WHERE o.tenant_id = touched.tenant_id AND o.device_id = touched.device_id
      AND o.collected_at = touched.collected_at AND o.position = touched.position
"""

# least() and greatest() pass over nulls. At the same time the failure recorded later counts.
UPSERT_DEVICES = """
    INSERT INTO devices AS d (
        tenant_id, device_id, last_position, snapshots, confirmations, first_seen, last_seen,
        current_snapshot_id, platform, os_version, last_changed,
        last_failure_at, last_failure_kind, last_failure_message
    )
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::timestamptz[],
        $7::timestamptz[], $8::text[], $9::text[], $10::text[], $11::timestamptz[],
        $12::timestamptz[], $13::text[], $14::text[]
    )
    ON CONFLICT (tenant_id, device_id) DO UPDATE SET
        last_position = excluded.last_position,
        snapshots = d.snapshots + excluded.snapshots,
        confirmations = d.confirmations + excluded.confirmations,
        first_seen = least(d.first_seen, excluded.first_seen),
        last_seen = greatest(d.last_seen, excluded.last_seen),
        current_snapshot_id = coalesce(excluded.current_snapshot_id, d.current_snapshot_id),
        platform = CASE WHEN excluded.current_snapshot_id IS NULL
            THEN d.platform ELSE excluded.platform END,
        os_version = CASE WHEN excluded.current_snapshot_id IS NULL
            THEN d.os_version ELSE excluded.os_version END,
        last_changed = coalesce(excluded.last_changed, d.last_changed),
        last_failure_at = greatest(d.last_failure_at, excluded.last_failure_at),
        last_failure_kind = CASE
            WHEN excluded.last_failure_at >= coalesce(d.last_failure_at, '-infinity')
            THEN excluded.last_failure_kind ELSE d.last_failure_kind END,
        last_failure_message = CASE
            WHEN excluded.last_failure_at >= coalesce(d.last_failure_at, '-infinity')
            THEN excluded.last_failure_message ELSE d.last_failure_message END
"""

FORGET_FAILURES = """
    UPDATE devices d
    SET last_failure_at = NULL, last_failure_kind = NULL, last_failure_message = NULL
    FROM unnest($1::text[], $2::text[]) AS retired(tenant_id, device_id)
    WHERE d.tenant_id = retired.tenant_id AND d.device_id = retired.device_id
"""

# Since when the current configuration holds, where late observations may have moved that.
MEND_LAST_CHANGED = """
    UPDATE devices d
    SET last_changed = (
        SELECT o.collected_at FROM observations o
        WHERE o.tenant_id = d.tenant_id AND o.device_id = d.device_id AND o.starts_run
        ORDER BY o.collected_at DESC, o.position DESC LIMIT 1
    )
    FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[])) AS late(tenant_id, device_id)
    WHERE d.tenant_id = late.tenant_id AND d.device_id = late.device_id
"""

# A shredding, which names no snapshot, is about all that the device had before it.
GO = """
    UPDATE snapshots s
    SET text_gone = gone.how, text_gone_position = gone.position
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[])
      AS gone(tenant_id, device_id, snapshot_id, position, how)
    WHERE s.tenant_id = gone.tenant_id AND s.device_id = gone.device_id
      AND s.snapshot_id = coalesce(gone.snapshot_id, s.snapshot_id)
      AND s.position < gone.position AND s.text_gone IS NULL
"""

ASK = """
    INSERT INTO triggers (tenant_id, device_id, trigger_id, actor, asked_at)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
    ON CONFLICT DO NOTHING
"""

# The first end counts; an end that nobody asked for has no row to go to.
FINISH = """
    UPDATE triggers t
    SET finished_at = ended.at, outcome = ended.outcome, message = ended.message,
        snapshot_id = ended.snapshot_id
    FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[],
                $7::text[])
      AS ended(tenant_id, device_id, trigger_id, at, outcome, message, snapshot_id)
    WHERE t.tenant_id = ended.tenant_id AND t.device_id = ended.device_id
      AND t.trigger_id = ended.trigger_id AND t.outcome IS NULL
"""


class Backups:
    """The projection `backups`."""

    name = "backups"
    version = 6
    tables = TABLES
    ddl = DDL

    def fold(self, batch: Sequence[StoredEvent]) -> BackupOps:
        """What the batch does to the tables."""
        return fold(batch)

    async def write(self, connection: Connection, ops: BackupOps) -> None:
        """Bring that into the tables. Raises `MalformedEvent` for a confirmation of a snapshot that
        its device does not have."""
        snapshots = [snapshot_row(new) for new in ops.snapshots.values()]
        await copy_rows(connection, "snapshots", SNAPSHOT_COLUMNS, snapshots)
        await _confirm(connection, ops)
        if ops.differences:
            told = [(*key, *difference) for key, difference in ops.differences.items()]
            await connection.execute(TELL, *columns_of(told, 7))
        await copy_rows(connection, "observations", _OBSERVATION_COLUMNS, ops.observations)
        if ops.retired:
            await connection.execute(FORGET_FAILURES, *columns_of(sorted(ops.retired), 2))
        await connection.execute(UPSERT_DEVICES, *columns_of(_device_rows(ops), 14))
        if ops.late:
            await connection.execute(MEND_RUNS, *columns_of(ops.late, 4))
            devices = [place[:2] for place in ops.late]
            await connection.execute(MEND_LAST_CHANGED, *columns_of(devices, 2))
        # One after the other: what expired first is not shredded later.
        for one in ops.gone:
            await connection.execute(GO, *columns_of([one], 5))
        if ops.asked:
            asked = [(*key, *value) for key, value in ops.asked.items()]
            await connection.execute(ASK, *columns_of(asked, 5))
        if ops.finished:
            finished = [
                (*key, end.at, end.outcome, end.message, end.snapshot_id)
                for key, end in ops.finished.items()
            ]
            await connection.execute(FINISH, *columns_of(finished, 7))


async def _confirm(connection: Connection, ops: BackupOps) -> None:
    if not ops.sightings:
        return
    rows = [(*key, seen.count, seen.oldest, seen.newest) for key, seen in ops.sightings.items()]
    status = await connection.execute(CONFIRM, *columns_of(rows, 6))
    if status != f"UPDATE {len(rows)}":
        # Parked, or skipped, is what was tried alone, so this is about one event.
        (*_, snapshot_id), seen = min(ops.sightings.items(), key=lambda one: one[1].position)
        why = (
            "it confirms a snapshot that is not among its device's here; where the event of that "
            "snapshot was skipped, skip this one too"
        )
        event_id = creating_event_id(snapshot_id)
        if event_id is None:
            raise MalformedEvent(seen.position, why)
        raise FollowsMissing(seen.position, event_id, why)


def _device_rows(ops: BackupOps) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for (tenant_id, device_id), change in ops.devices.items():
        current, failure = change.current, change.failure
        rows.append(
            (
                tenant_id,
                device_id,
                change.last_position,
                change.snapshots,
                change.confirmations,
                change.oldest,
                change.newest,
                current.snapshot_id if current else None,
                storable(current.platform) if current else None,
                storable_or_none(current.os_version) if current else None,
                current.collected_at if current else None,
                failure.attempted_at if failure else None,
                storable(failure.kind) if failure else None,
                storable(failure.message) if failure else None,
            )
        )
    return rows
