"""What `doctor` says of read models that can't take events in."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.composition import open_system
from adapters.diagnosing.finding import Finding
from adapters.diagnosing.postgres import look_at_postgres
from adapters.embedded.nats import EmbeddedNats
from adapters.roles.supervisor import running
from domain.errors import PoisonEvent
from projections import AUDIT, rebuilds, stops
from projections.builder import ProjectionBuilder
from projections.checkpoints import wait_projected
from projections.engine import ProjectionWorker
from tests.behaviour.event_store import append_many
from tests.rebuilding import Allergic
from tests.serving import settings_for


async def test_a_read_model_that_stopped_or_lacks_events_is_told_as_that(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    async with open_system(settings_for(nats_server, postgres_dsn, tmp_path)) as system:

        async def told() -> list[Finding]:
            found = await look_at_postgres(postgres_dsn, system.source)
            return [one for one in found if one.subject == "read model audit"]

        await append_many(system.events, 3)
        model = Allergic(AUDIT, 2)
        async with running({"audit": ProjectionWorker(system.pool, system.source, model).run}):
            await wait_projected(system.pool, [model], 3, 20)
        fine, parked = await told()
        assert fine.verdict == "fine"
        assert parked.verdict == "notice"
        assert parked.told == "event 2 can't be taken in and is parked; 1 more waits behind it"
        assert parked.mend is not None
        assert "configtrail projections parked" in parked.mend
        await rebuilds.begin(system.pool, model, await system.source.identity())
        with pytest.raises(PoisonEvent):
            await ProjectionBuilder(system.pool, system.source, model).build()
        rebuild = (await told())[-1]
        assert (rebuild.verdict, "event 2 can't be taken in" in rebuild.told) == ("wrong", True)
        await append_many(system.events, 1, "r2")
        behind = (await told())[0]
        assert (behind.verdict, behind.told) == ("notice", "stands at 3 of 4")
        await stops.tell(system.pool, AUDIT, 3, "nothing of it can be taken in")
        stopped = (await told())[0]
        assert stopped.verdict == "wrong"
        assert stopped.told == "is stopped at 3 of 4: nothing of it can be taken in"
        assert "follows" not in (stopped.mend or "")


@pytest.mark.parametrize("table", ["stops", "rebuilds", "parked"])
async def test_a_read_model_is_built_though_a_table_about_it_is_not_there(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path, table: str
) -> None:
    async with open_system(settings_for(nats_server, postgres_dsn, tmp_path)) as system:
        await append_many(system.events, 3)
        async with running({"audit": ProjectionWorker(system.pool, system.source, AUDIT).run}):
            await wait_projected(system.pool, [AUDIT], 3, 20)
        await system.pool.execute(f"DROP TABLE configtrail.{table}")
        found = {one.subject: one for one in await look_at_postgres(postgres_dsn, system.source)}
        assert found["read model audit"].told == "holds all events up to 3"
        assert found["read models"].verdict == "notice"
        assert "configtrail up" in (found["read models"].mend or "")
