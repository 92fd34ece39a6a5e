"""A long history straight into the tables, set by set: for queries, where the stream plays no part.

The rows are such as the projections would write; every number in them is worked out from the
device's and the snapshot's.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import Struct

from projections import ALL
from projections.rows import Connection
from projections.schema import LIVE, lock_schemas, make_tables

START = datetime(2016, 1, 1, tzinfo=UTC)
CONFIRMATIONS = 3
_ACTIONS = (
    "config_snapshot_created",
    "config_snapshot_skipped_duplicate",
    "config_diff_generated",
    "config_backup_manual_trigger",
)


class Long(Struct, frozen=True):
    """How much there is: devices, snapshots of each (one a day), and rows of the audit trail (one
    a second)."""

    tenants: int
    devices: int
    snapshots: int
    audit: int

    def tenant(self, device: int) -> str:
        """Whose a device is."""
        return f"tenant-{device % self.tenants:03d}"

    def device(self, device: int) -> str:
        """A device's id."""
        return f"router-{device:06d}"

    def snapshot_time(self, number: int) -> datetime:
        """When a device's snapshot was collected."""
        return START + timedelta(days=number)

    def audit_time(self, position: int) -> datetime:
        """When the event at a position happened."""
        return START + timedelta(seconds=position)

    def cause(self, position: int) -> str:
        """What four events of the tenant around the position were caused by."""
        return f"trigger-{position // self.tenants // 100}"


_DEVICE = "'tenant-' || lpad((d % $1)::text, 3, '0'), 'router-' || lpad(d::text, 6, '0')"
_ID = "md5(d || '.' || {})::uuid::text"
_TIME = "'2016-01-01Z'::timestamptz + k * interval '1 day'"
_PLACE = "(k::bigint * $2 + d) * 8"
_SECTIONS = """'[{"section": "/ip firewall filter", "added": 2, "removed": 1},
    {"section": "/ip address", "added": 2, "removed": 1}]'"""
_BEFORE, _AFTER = _ID.format("(k - 1)"), _ID.format("k")
_TOLD = """'"component":"/ip firewall filter","summary":"+4 -2 lines'"""
_WHERE = "' in /ip firewall filter, /ip address'"
_SHOWN = f"""'"diff_id":"diff.' || {_BEFORE} || '.' || {_AFTER} || '","lines_added":4,'
    '"lines_removed":2,"sections":' || {_SECTIONS}::jsonb::text || ',"changes":[],'
    '"changes_more":0,"coarse":false,"old_snapshot_id":"' || {_BEFORE} || '"'"""
_GRID = "FROM generate_series(0, $2 - 1) d, generate_series(0, $3 - 1) k"

# Each takes the numbers of tenants and devices, and of snapshots or (at the end) of audit rows.
_STATEMENTS = (
    f"""
        INSERT INTO devices SELECT {_DEVICE}, 'routeros', '7.15', '2016-01-01Z',
            '2016-01-01Z'::timestamptz + $3 * interval '1 day',
            '2016-01-01Z'::timestamptz + ($3 - 1) * interval '1 day',
            {_ID.format("($3 - 1)")}, $3, $3 * 3, NULL, NULL, NULL, $2 * $3::bigint * 8 + d
        FROM generate_series(0, $2 - 1) d
    """,
    f"""
        INSERT INTO fleet SELECT {_DEVICE},
            '2016-01-01Z'::timestamptz + $3 * interval '1 day' + d * interval '1 second',
            '2016-01-01Z'::timestamptz + ($3 - 1) * interval '1 day', NULL, NULL, d
        FROM generate_series(0, $2 - 1) d
    """,
    """
        INSERT INTO fleet_days SELECT 'tenant-' || lpad((d % $1)::text, 3, '0'),
            '2016-01-01'::date + k, count(*), count(*) * 3, 0
        FROM generate_series(0, $2 - 1) d, generate_series(0, $3 - 1) k
        GROUP BY 1, 2
    """,
    f"""
        INSERT INTO snapshots SELECT {_DEVICE}, {_ID.format("k")}, k + 1, {_PLACE}, {_TIME},
            {_TIME}, {_TIME} + interval '18 hours', 3, md5('f' || k), md5('t' || k), md5('c' || k),
            'routeros/1', {_PLACE}, 30000, 800, 'routeros', '7.15', 'scheduled', 'complete', '{{}}',
            false, NULL, NULL, NULL, 'system:recorder', NULL, NULL, NULL,
            '"id":"' || {_AFTER} || '.' || extract(epoch FROM {_TIME})::text || '","snapshot_id":"'
                || {_AFTER} || '"',
            '"' || to_char(({_TIME}) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') || 'Z"',
            '"late":false,"completeness":"complete","warnings":[],"source":"scheduled",'
                '"actor":"system:recorder"',
            '"changed_by":null,"trigger_id":null,"size_bytes":30000,"line_count":800,'
                '"position":' || ({_PLACE})::text,
            '"size_bytes":30000,"line_count":800,"platform":"routeros","os_version":"7.15",'
                '"source":"scheduled","completeness":"complete","warnings":[],"late":false',
            '"predecessor_id":null,"trigger_id":null,"actor":"system:recorder","position":'
                || ({_PLACE})::text || ',"version":' || (k + 1)::text, difference.*
        FROM generate_series(0, $2 - 1) d CROSS JOIN generate_series(0, $3 - 1) k
        LEFT JOIN LATERAL (SELECT {_BEFORE}, {_TOLD}, {_WHERE}, {_SHOWN}) difference ON k > 0
    """,
    f"""
        INSERT INTO observations SELECT {_DEVICE}, {_TIME} + o * interval '6 hours',
            {_PLACE} + o, {_ID.format("k")}, o = 0
        {_GRID}, generate_series(0, {CONFIRMATIONS}) o
    """,
    f"""
        INSERT INTO diffs (tenant_id, device_id, from_snapshot_id, to_snapshot_id,
            lines_added, lines_removed, coarse, content_sequence,
            commitment, sections, summaries, summaries_more, position, occurred_at)
        SELECT {_DEVICE}, {_BEFORE}, {_AFTER}, 4, 2, false, {_PLACE},
            md5('c' || k), {_SECTIONS}, '[]', 0, {_PLACE} + 7, {_TIME}
        {_GRID} WHERE k > 0
    """,
    f"""
        INSERT INTO audit SELECT p, 'tenant-' || lpad((p % $1)::text, 3, '0'), 'event.' || p,
            '2016-01-01Z'::timestamptz + p * interval '1 second',
            '2016-01-01Z'::timestamptz + p * interval '1 second',
            (ARRAY['system:recorder', 'system:differ', 'user:ann'])[1 + p % 3],
            (ARRAY{list(_ACTIONS)})[1 + p % 4], 'snapshot', md5(p::text),
            'router-' || lpad((p % $2)::text, 6, '0'), 1 + p / $2,
            CASE WHEN p / $1 % 25 = 0 THEN 'trigger-' || p / $1 / 100 END, NULL,
            jsonb_build_object('type', 'DuplicateSkipped', 'actor', 'system:recorder',
                'number', p)::text
        FROM generate_series(1::bigint, $3) p
    """,
)


async def load(connection: Connection, long: Long) -> None:
    """Make the tables of all projections, and fill them. Indexes are made after the rows, and
    tenants are kept apart as in a program's tables."""
    await connection.execute("SET statement_timeout = 0; SET synchronous_commit = off")
    await connection.execute("SET maintenance_work_mem = '256MB'")
    async with connection.transaction():
        await lock_schemas(connection)
        for projection in ALL:
            await make_tables(connection, projection, LIVE, ())
    await connection.execute("SET search_path = configtrail")
    made = await connection.fetch(
        "SELECT indexname, indexdef FROM pg_indexes"
        " WHERE schemaname = 'configtrail' AND indexname NOT LIKE '%_pkey'"
    )
    for name, _ in made:
        await connection.execute(f'DROP INDEX "{name}"')
    for statement in _STATEMENTS:
        last = long.audit if statement is _STATEMENTS[-1] else long.snapshots
        await connection.execute(statement, long.tenants, long.devices, last)
    for _, definition in made:
        await connection.execute(definition)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("RESET ALL")
