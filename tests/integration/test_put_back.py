"""A stream that was put back to a copy, and has grown since, is not taken for the one before."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.feed import Feed
from adapters.jetstream.source import JetStreamSource
from adapters.jetstream.streams import EVENTS
from adapters.postgres.pool import open_pool
from domain.errors import StreamMismatch
from projections import AUDIT, checkpoints, rebuilds
from projections.builder import ProjectionBuilder
from projections.engine import ProjectionWorker
from projections.schema import BUILD, LIVE
from projections.writer import ProjectionWriter
from tests.behaviour.event_store import append_many
from tests.rig import rig
from tests.support import eventually


async def exchange(nats: EmbeddedNats, source: Path, target: Path) -> None:
    """Make one folder the copy of the other, while the server rests."""

    def exchanged() -> None:
        if target.exists():
            shutil.rmtree(target)
        shutil.copytree(source, target)

    await nats.stop()
    await asyncio.to_thread(exchanged)
    await nats.start()


async def test_a_checkpoint_of_the_lost_time_is_refused_and_a_rebuild_is_the_way_out(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    data, copy = tmp_path / "nats", tmp_path / "copy"
    async with open_pool(postgres_dsn, application_name="test") as pool:
        async with rig(nats_server.url) as opened:
            await append_many(opened.events, 3, "r1")
            await exchange(nats_server, data, copy)
            await append_many(opened.events, 3, "lost")
            worker = ProjectionWorker(pool, JetStreamSource(opened.nc, opened.js), AUDIT)
            task = asyncio.create_task(worker.run())

            async def caught_up() -> bool:
                found = (
                    (await checkpoints.checkpoints(pool)).get("audit") if worker.position else None
                )
                return found is not None and found.position == 6

            await eventually(caught_up)
            task.cancel()
            await asyncio.wait([task])
        await exchange(nats_server, copy, data)
        async with rig(nats_server.url) as opened:
            await append_many(opened.events, 5, "other")
            source = JetStreamSource(opened.nc, opened.js)
            with pytest.raises(StreamMismatch, match="put back to an older copy and has grown"):
                await ProjectionWorker(pool, source, AUDIT).run()
            assert (await checkpoints.checkpoints(pool))["audit"].position == 6
            await rebuilds.begin(pool, AUDIT, await source.identity())
            await ProjectionBuilder(pool, source, AUDIT).build()
            assert (await checkpoints.checkpoints(pool))["audit"].position == 8
            devices = await pool.fetch("SELECT DISTINCT device_id FROM configtrail.audit")
            assert {device for (device,) in devices} == {"r1", "other"}
            task = asyncio.create_task(ProjectionWorker(pool, source, AUDIT).run())
            await append_many(opened.events, 1, "newest")

            async def goes_on() -> bool:
                return (await checkpoints.checkpoints(pool))["audit"].position == 9

            await eventually(goes_on)
            task.cancel()
            await asyncio.wait([task])


async def test_the_same_events_recorded_again_are_another_past(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    """Their ids are what they were: what else the lost time held can be told by the time alone."""
    data, copy = tmp_path / "nats", tmp_path / "copy"
    async with open_pool(postgres_dsn, application_name="test") as pool:
        async with rig(nats_server.url) as opened:
            await append_many(opened.events, 3, "r1")
            await exchange(nats_server, data, copy)
            await append_many(opened.events, 3, "again")
            source = JetStreamSource(opened.nc, opened.js)
            identity = await source.identity()
            await checkpoints.ensure(pool, AUDIT, identity)
            await rebuilds.begin(pool, AUDIT, identity)
            for place in (LIVE, BUILD):
                writer = ProjectionWriter(pool, AUDIT, source, place)
                await writer.prepare(identity)
                await writer.apply([await source.at(position) for position in range(1, 7)])
                await writer.prepare(identity)  # as any program does on the same stream
        await exchange(nats_server, copy, data)
        async with rig(nats_server.url) as opened:
            await append_many(opened.events, 3, "again")
            source = JetStreamSource(opened.nc, opened.js)
            for place in (LIVE, BUILD):
                writer = ProjectionWriter(pool, AUDIT, source, place)
                with pytest.raises(StreamMismatch, match="put back to an older copy and has grown"):
                    await writer.prepare(await source.identity())
            # What an older program moved has the event's id alone, and goes on.
            await pool.execute(
                "UPDATE configtrail.checkpoints SET position = 5, last_event = $1",
                (await source.at(5)).event_id,
            )
            await ProjectionWriter(pool, AUDIT, source).prepare(await source.identity())


@pytest.mark.parametrize("again", ["other", "lost"])
async def test_a_flow_that_has_read_nothing_yet_notices_it_too(
    nats_server: EmbeddedNats, tmp_path: Path, again: str
) -> None:
    """Positions that were taken in before the flow began are of the lost time as well."""
    data, copy = tmp_path / "nats", tmp_path / "copy"
    async with rig(nats_server.url) as opened:
        await append_many(opened.events, 3, "r1")
        await exchange(nats_server, data, copy)
        await append_many(opened.events, 3, "lost")
        flows = (
            JetStreamSource(opened.nc, opened.js).follow(6),
            Feed(opened.nc, opened.js, EVENTS).follow(6),
        )
        following = [asyncio.ensure_future(anext(one)) for one in flows]

        async def both_follow() -> bool:
            return (await opened.js.stream_info(EVENTS)).state.consumer_count == 2

        await eventually(both_follow)
        await exchange(nats_server, copy, data)
        await append_many(opened.events, 5, again)
        async with asyncio.timeout(30):
            for one in following:
                with pytest.raises(StreamMismatch, match="put back to an older copy"):
                    await one
