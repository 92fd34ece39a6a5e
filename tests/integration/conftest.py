"""Fixtures of the tests that talk to the API of a whole program."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.intake import CREATE
from tests.serving import NOON, TEXTS, Api, export, program, settings_for
from tests.support import eventually


@pytest.fixture
async def api(nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path) -> AsyncIterator[Api]:
    settings = settings_for(nats_server, postgres_dsn, tmp_path, trigger_timeout_seconds=2)
    async with program(settings) as running_program:
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
