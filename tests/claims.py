"""Devices that another program reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.js import JetStreamContext

from adapters.collecting.claiming import Claiming, Claims
from adapters.collecting.schedule import BUCKET, Schedule
from adapters.jetstream.buckets import Bucket
from adapters.jetstream.leases import Leases


def another_programs(js: JetStreamContext, seconds: float = 20) -> Claims:
    """The claims of another program, called `another`."""
    return Claims(Schedule(Bucket(js, BUCKET)), Leases(js, holder="another"), seconds)


@asynccontextmanager
async def claimed(claims: Claims, tenant_id: str, device_id: str) -> AsyncIterator[Claiming]:
    """The device is claimed meanwhile."""
    async with claims.claiming(tenant_id, device_id) as claiming:
        assert await claiming.take(await claiming.look())
        yield claiming
