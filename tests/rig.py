"""One program's worth of connected parts on a test's nats-server, without Postgres."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from functools import partial
from pathlib import Path
from secrets import token_hex

from adapters.composition import System
from adapters.composition.stores import Stores, open_stores
from adapters.jetstream.streams import INTAKE, INTAKE_SUBJECT
from adapters.observability.metrics import Metrics
from adapters.roles.differ import Differ
from adapters.roles.recorder import Recorder
from domain.access import EVERY_TENANT, Permission, Role
from domain.envelope import StoredEvent
from domain.errors import NameTaken
from tests.support import eventually

MASTER = "EHk0kAIC3m4SpXb0fHCq0o9lDkZlNm9Q6JQ5n0yqQ1s="


@dataclass(frozen=True, slots=True)
class Rig(Stores):
    """What a recorder, a differ or a test needs of NATS: what a program has, and metrics."""

    metrics: Metrics

    @asynccontextmanager
    async def recording(
        self, *, ack_wait: float = 5.0, clock: Callable[[], float] = time.time
    ) -> AsyncIterator[Recorder]:
        """A recorder that runs while the block runs."""
        recorder = Recorder(
            self.nc,
            self.js,
            devices=self.devices,
            content=self.content,
            keyring=self.keyring,
            dead_letters=self.dead_letters,
            metrics=self.metrics,
            ack_wait=ack_wait,
            clock=clock,
        )
        async with _running(recorder):
            yield recorder

    @asynccontextmanager
    async def diffing(
        self,
        *,
        ack_wait: float = 5.0,
        clock: Callable[[], float] = time.time,
        workers: Executor | None = None,
    ) -> AsyncIterator[Differ]:
        """A differ that runs while the block runs."""
        with workers or ProcessPoolExecutor(max_workers=1) as comparing:
            differ = Differ(
                self.nc,
                self.js,
                devices=self.devices,
                content=self.content,
                keyring=self.keyring,
                dead_letters=self.dead_letters,
                metrics=self.metrics,
                workers=comparing,
                ack_wait=ack_wait,
                clock=clock,
            )
            async with _running(differ):
                yield differ

    async def intake_empty(self) -> None:
        """Wait until every message on the intake was worked off."""

        async def empty() -> bool:
            info = await self.js.stream_info(INTAKE, subjects_filter=INTAKE_SUBJECT)
            return not info.state.subjects

        await eventually(empty, within=180)

    async def history(self, tenant_id: str, device_id: str) -> list[StoredEvent]:
        """A device's events."""
        async with aclosing(self.events.read_branch(tenant_id, device_id)) as branch:
            return [stored async for stored in branch]


@asynccontextmanager
async def _running(role: Recorder | Differ) -> AsyncIterator[None]:
    task = asyncio.create_task(role.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


async def api_key(
    system: System,
    role: Role = Role.ADMIN,
    tenant: str = EVERY_TENANT,
    *,
    only: frozenset[Permission] | None = None,
    expires_at: datetime | None = None,
) -> str:
    """A new key of the API, which every read model knows of."""
    create = partial(
        system.keys.create,
        tenant,
        role=role,
        actor="system:tests",
        permissions=only,
        expires_at=expires_at,
    )
    name = f"tests-{role.value}"
    try:
        made = await create(name)
    except NameTaken:
        made = await create(f"{name}-{token_hex(4)}")
    for worker in system.projections:
        await worker.wait(made.position)
    return made.text


@asynccontextmanager
async def rig(url: str) -> AsyncIterator[Rig]:
    """The parts of one program, connected."""
    async with open_stores(
        url,
        name="rig",
        replicas=1,
        intake_max_bytes=1 << 30,
        master_key=MASTER,
        key_file=Path("not used"),
    ) as stores:
        parts = {one.name: getattr(stores, one.name) for one in fields(stores)}
        yield Rig(**parts, metrics=Metrics())
