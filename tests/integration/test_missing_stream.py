"""A stream that somebody deleted: whoever needs it waits, and who only asks does not make it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from nats.js.errors import NotFoundError

from adapters.cli.session import Need, session
from adapters.composition import open_system
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.streams import EVENTS, ensure_streams
from adapters.roles.supervisor import running
from domain.errors import StreamMissing
from projections import AUDIT
from projections.checkpoints import wait_projected
from projections.engine import ProjectionWorker
from tests.behaviour.event_store import append_many
from tests.serving import settings_for
from tests.support import eventually


async def test_a_read_model_waits_for_a_missing_stream(
    nats_server: EmbeddedNats,
    postgres_dsn: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    async with open_system(settings_for(nats_server, postgres_dsn, tmp_path)) as system:
        await system.js.delete_stream(EVENTS)
        worker = ProjectionWorker(system.pool, system.source, AUDIT)
        async with running({"audit": worker.run}):
            await eventually(lambda: f"{EVENTS}: it is not there" in caplog.text)
            await ensure_streams(system.js, replicas=1, intake_max_bytes=1 << 30)
            await append_many(system.events, 2)
            await wait_projected(system.pool, [AUDIT], 2, 20)


@pytest.mark.parametrize("need", [Need.NOTHING, Need.READ_MODELS_AS_THEY_ARE])
async def test_who_only_asks_makes_no_stream_that_was_deleted(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path, need: Need
) -> None:
    settings = settings_for(nats_server, postgres_dsn, tmp_path)
    # Where nothing was made before, everything is.
    async with session(settings, Need.NOTHING) as opened:
        js = opened.system.js
        await append_many(opened.system.events, 1)
        await js.delete_stream(EVENTS)
        with pytest.raises(StreamMissing, match="put it back from a copy"):
            async with asyncio.timeout(20), session(settings, need):
                pass
        with pytest.raises(NotFoundError):
            await js.stream_info(EVENTS)
