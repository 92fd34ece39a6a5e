"""The tables of the read model `diffs`."""

TABLES = ("diffs", "changes")

DDL = """
CREATE TABLE IF NOT EXISTS diffs (
    tenant_id text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    from_snapshot_id text COLLATE "C" NOT NULL,
    to_snapshot_id text COLLATE "C" NOT NULL,
    lines_added bigint NOT NULL,
    lines_removed bigint NOT NULL,
    coarse boolean NOT NULL,
    content_sequence bigint NOT NULL,
    commitment text NOT NULL,
    summaries jsonb NOT NULL,
    summaries_more bigint NOT NULL,
    changes_sequence bigint,
    changes_commitment text,
    position bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, device_id, to_snapshot_id, from_snapshot_id)
);

CREATE TABLE IF NOT EXISTS changes (
    tenant_id text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    from_snapshot_id text COLLATE "C" NOT NULL,
    to_snapshot_id text COLLATE "C" NOT NULL,
    ordinal integer NOT NULL,
    section text NOT NULL,
    added bigint NOT NULL,
    removed bigint NOT NULL,
    PRIMARY KEY (tenant_id, device_id, to_snapshot_id, from_snapshot_id, ordinal)
);
"""
