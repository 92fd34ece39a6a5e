"""The table of the read model `audit`."""

TABLES = ("audit",)

# Each filter has an index in the order of the page, so that a page costs the same at any size. What
# tells most entries apart comes first: comparing a tenant that is the same first, and then looking
# for where the next text begins, was a tenth of what Postgres spent on an entry.
# `details` are JSON, kept as they were written: what is read back is compared byte by byte, and
# Postgres need not take them apart. Whoever looks into them casts them to jsonb.
DDL = """
CREATE TABLE IF NOT EXISTS audit (
    position bigint NOT NULL PRIMARY KEY,
    tenant_id text COLLATE "C" NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    occurred_at timestamptz NOT NULL,
    stored_at timestamptz NOT NULL,
    actor text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    resource_type text NOT NULL,
    resource_id text NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    correlation_id text COLLATE "C",
    causation_id text COLLATE "C",
    details text NOT NULL
);
CREATE INDEX IF NOT EXISTS audit_by_time
    ON audit (tenant_id, occurred_at, position);
CREATE INDEX IF NOT EXISTS audit_by_action
    ON audit (action, tenant_id, occurred_at, position);
CREATE INDEX IF NOT EXISTS audit_by_actor
    ON audit (actor, tenant_id, occurred_at, position);
CREATE INDEX IF NOT EXISTS audit_by_device
    ON audit (device_id, tenant_id, occurred_at, position);
CREATE INDEX IF NOT EXISTS audit_by_cause
    ON audit (correlation_id, tenant_id, occurred_at, position) WHERE correlation_id IS NOT NULL;
"""
