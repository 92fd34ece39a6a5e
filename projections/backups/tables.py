"""The tables of the read model `backups`."""

TABLES = ("devices", "snapshots", "observations", "triggers")

# Ids compare byte by byte on every server, whatever its locale.
DDL = """
CREATE TABLE IF NOT EXISTS devices (
    tenant_id text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    platform text,
    os_version text,
    first_seen timestamptz,
    last_seen timestamptz,
    last_changed timestamptz,
    current_snapshot_id text COLLATE "C",
    snapshots bigint NOT NULL,
    confirmations bigint NOT NULL,
    last_failure_at timestamptz,
    last_failure_kind text,
    last_failure_message text,
    last_position bigint NOT NULL,
    PRIMARY KEY (tenant_id, device_id)
) WITH (fillfactor = 70);

-- From `shown_begin` on stands in JSON what pages show and what never changes: in a timeline, in a
-- list of snapshots, and in a timeline of the difference to `differs_from`, the newest one that was
-- told. To look up a row for each entry of a page and to make that of it cost several times what
-- else there is to do.
CREATE TABLE IF NOT EXISTS snapshots (
    tenant_id text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    snapshot_id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    collected_at timestamptz NOT NULL,
    first_seen timestamptz NOT NULL,
    last_confirmed timestamptz NOT NULL,
    confirmations bigint NOT NULL,
    fingerprint text NOT NULL,
    text_fingerprint text NOT NULL,
    commitment text NOT NULL,
    canonical text NOT NULL,
    content_sequence bigint NOT NULL,
    size_bytes bigint NOT NULL,
    line_count bigint NOT NULL,
    platform text NOT NULL,
    os_version text,
    source text NOT NULL,
    completeness text NOT NULL,
    warnings text[] NOT NULL,
    late boolean NOT NULL,
    predecessor_id text COLLATE "C",
    successor_id text COLLATE "C",
    trigger_id text COLLATE "C",
    actor text NOT NULL,
    text_gone text,
    text_gone_position bigint,
    changed_by jsonb,
    shown_begin text NOT NULL,
    shown_at text NOT NULL,
    shown_middle text NOT NULL,
    shown_end text NOT NULL,
    listed_middle text NOT NULL,
    listed_end text NOT NULL,
    differs_from text COLLATE "C",
    difference_told text,
    difference_where text,
    difference_shown text,
    PRIMARY KEY (tenant_id, device_id, snapshot_id)
) WITH (fillfactor = 80);
CREATE INDEX IF NOT EXISTS snapshots_by_time
    ON snapshots (tenant_id, device_id, collected_at, position);

-- One row a recorded observation. `starts_run`: the observation before it, in time, showed another
-- snapshot; the rows that start a run are the device's changes.
CREATE TABLE IF NOT EXISTS observations (
    tenant_id text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    collected_at timestamptz NOT NULL,
    position bigint NOT NULL,
    snapshot_id text COLLATE "C" NOT NULL,
    starts_run boolean NOT NULL,
    PRIMARY KEY (tenant_id, device_id, collected_at, position)
);
CREATE INDEX IF NOT EXISTS observations_runs
    ON observations (tenant_id, device_id, collected_at, position)
    INCLUDE (snapshot_id) WHERE starts_run;
CREATE INDEX IF NOT EXISTS observations_changes
    ON observations (tenant_id, collected_at, position)
    INCLUDE (device_id, snapshot_id) WHERE starts_run;

CREATE TABLE IF NOT EXISTS triggers (
    tenant_id text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    trigger_id text COLLATE "C" NOT NULL,
    actor text NOT NULL,
    asked_at timestamptz NOT NULL,
    finished_at timestamptz,
    outcome text,
    message text,
    snapshot_id text COLLATE "C",
    PRIMARY KEY (tenant_id, device_id, trigger_id)
);
CREATE INDEX IF NOT EXISTS triggers_open
    ON triggers (asked_at) WHERE outcome IS NULL;
"""
