"""The streams' settings are looked at while the program runs, not only at its start."""

from __future__ import annotations

import asyncio
import logging

import pytest

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.streams import EVENTS, ensure_streams, wanted_streams
from adapters.roles.stream_watch import StreamWatch
from tests.rig import rig
from tests.support import eventually


async def test_a_setting_that_loses_history_is_a_problem_until_it_is_mended(
    nats_server: EmbeddedNats, caplog: pytest.LogCaptureFixture
) -> None:
    async with rig(nats_server.url) as parts:
        wanted = wanted_streams(1, 1 << 30)
        watch = StreamWatch(parts.js, wanted, await parts.events.identity(), every=0.05)
        running = asyncio.create_task(watch.run())
        live = (await parts.js.stream_info(EVENTS)).config
        await parts.js.update_stream(live.evolve(max_age=3600))
        await eventually(lambda: watch.problems)
        [problem] = watch.problems
        assert f"{EVENTS}: max_age" in problem
        await parts.js.update_stream(live)
        await eventually(lambda: not watch.problems)
        await parts.js.delete_stream(EVENTS)
        await eventually(lambda: watch.problems)
        assert "it is gone" in watch.problems[0]
        await ensure_streams(parts.js, replicas=1, intake_max_bytes=1 << 30)
        await eventually(lambda: "recreated" in "".join(watch.problems))
        running.cancel()
        await asyncio.wait([running])
    told = [one.message for one in caplog.records if one.levelno >= logging.ERROR]
    assert len(told) == len(set(told)), "each problem is told once"
