"""The audit table is not as it was made: `audit verify` says so in plain words."""

from __future__ import annotations

import pytest

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.source import JetStreamSource
from adapters.postgres.pool import open_pool
from adapters.postgres.tiles import TileStore
from adapters.tlog.evidence import SystemEvidence
from adapters.tlog.verify import Options, verify
from projections import rebuilds
from projections.audit.write import Audit
from projections.builder import ProjectionBuilder
from projections.writer import ProjectionWriter
from tests.logs import BASE, KEY, Story, seal
from tests.rig import rig


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ALTER COLUMN stored_at TYPE timestamp", "stored_at"),
        ("ALTER COLUMN occurred_at TYPE text", "occurred_at"),
        ("ALTER COLUMN position TYPE text", "position"),
        ("ALTER COLUMN position TYPE numeric", "position"),
        ("ALTER COLUMN details TYPE jsonb USING details::jsonb", "details"),
        ("DROP COLUMN actor", "actor"),
        ("", "its table is not there"),
    ],
)
async def test_a_table_that_was_made_another_one_is_named(
    nats_server: EmbeddedNats, postgres_dsn: str, change: str, told: str
) -> None:
    async with rig(nats_server.url) as one, open_pool(postgres_dsn) as pool:
        await Story(one, seed=6).tell(12)
        source = JetStreamSource(one.nc, one.js)
        writer = ProjectionWriter(pool, Audit(), source)
        await writer.prepare(await one.raw.identity())
        head = (await one.raw.ends())[1]
        await writer.apply([await source.at(position) for position in range(1, head + 1)])
        await seal(one, pool)
        evidence = SystemEvidence(one.raw, one.notes, TileStore(pool), pool, one.content)
        options = Options(BASE, (KEY.public,), content=False)
        assert (await verify(evidence, options)).ok
        await pool.execute(
            f"ALTER TABLE configtrail.audit {change}" if change else "DROP TABLE configtrail.audit"
        )
        report = await verify(evidence, options)
        (found,) = report.findings
        assert (found.what, found.kind, found.position) == ("audit row", "altered", 0)
        assert told in found.detail
        assert "projections rebuild audit" in found.detail
        assert (report.rows, report.sealed) == (0, head)
        # The advice holds.
        await rebuilds.begin(pool, Audit(), await one.raw.identity())
        await ProjectionBuilder(pool, source, Audit()).build()
        assert (await verify(evidence, options)).ok
