"""The tables of the read model `diffs`."""

TABLES = ("diffs",)

# `sections` and `summaries` stand in the rows: they are read with them, and found by nothing else.
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
    sections jsonb NOT NULL,
    summaries jsonb NOT NULL,
    summaries_more bigint NOT NULL,
    changes_sequence bigint,
    changes_commitment text,
    position bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, device_id, to_snapshot_id, from_snapshot_id)
);
"""
