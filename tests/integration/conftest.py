"""Fixtures of several tests: a whole program and its API, and the parts of one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.connection import close, connect
from adapters.jetstream.intake import CREATE
from adapters.jetstream.key_store import JetStreamKeyStore
from adapters.postgres.pool import open_pool
from adapters.roles.supervisor import running
from projections.rows import Pool
from tests.collecting_stack import Stack, opened_stack
from tests.rig import Rig, rig
from tests.served import Served, everything_served
from tests.serving import NOON, TEXTS, Api, export, program, settings_for
from tests.support import eventually
from tests.trigger_stack import TriggerStack, build


@pytest.fixture
async def api(nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path) -> AsyncIterator[Api]:
    settings = settings_for(nats_server, postgres_dsn, tmp_path, trigger_timeout_seconds=2)
    async with program(settings) as running_program:
        yield running_program


@pytest.fixture
async def served(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> AsyncIterator[Served]:
    async with everything_served(nats_server, postgres_dsn, tmp_path) as running_program:
        yield running_program


@pytest.fixture
async def filled(api: Api) -> Api:
    """Router r1 with three configurations an hour apart, the first one seen twice; one letter."""
    seen = [TEXTS[0], export("r1", "192.0.2.1", minute=30), TEXTS[1], TEXTS[2]]
    for hours, text in zip((0, 0.5, 1, 2), seen, strict=True):
        await api.system.intake.publish("acme", "r1", text, NOON + timedelta(hours=hours))
        await api.settled()
    await api.system.intake.publish_raw(CREATE, b'{"tenant_id": "acme", "device_id": ')
    await eventually(lambda: _has_letter(api))
    return api


async def _has_letter(api: Api) -> bool:
    return await api.system.dead_letters.count() > 0


@pytest.fixture
async def nc(nats_server: EmbeddedNats) -> AsyncIterator[Client]:
    client = await connect(nats_server.url, name="test")
    yield client
    await close(client)


@pytest.fixture
def js(nc: Client) -> JetStreamContext:
    return nc.jetstream()


@pytest.fixture
async def key_store(js: JetStreamContext) -> JetStreamKeyStore:
    store = JetStreamKeyStore(js)
    await store.ensure()
    return store


@pytest.fixture
async def connected(nats_server: EmbeddedNats) -> AsyncIterator[Rig]:
    async with rig(nats_server.url) as opened:
        yield opened


@pytest.fixture
async def pool(postgres_dsn: str) -> AsyncIterator[Pool]:
    async with open_pool(postgres_dsn) as opened:
        yield opened


@pytest.fixture
async def trigger_stack(nc: Client) -> TriggerStack:
    return await build(nc)


@pytest.fixture
async def recording(trigger_stack: TriggerStack) -> AsyncIterator[TriggerStack]:
    """The parts of a manual backup with a recorder at work."""
    async with running({"recorder": trigger_stack.recorder().run}):
        yield trigger_stack


@pytest.fixture
async def stack(nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Stack]:
    """What collecting needs."""
    async with opened_stack(nats_server.url, tmp_path) as opened:
        yield opened
