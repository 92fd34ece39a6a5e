"""A program that serves on a socket, filled with what a router sent, and a client of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct
from pydantic import SecretStr

from adapters.composition import System, open_system, roles
from adapters.embedded.nats import EmbeddedNats
from adapters.http.app import create_app, serve
from adapters.roles.supervisor import running
from adapters.settings import Settings
from tests.rig import api_key
from tests.support import eventually

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CANARY = "canary-secret-41d7"
HOME = "/api/tenants/acme/devices"


def export(name: str, address: str, *, minute: int = 0) -> str:
    return (
        f"# 2026-03-01 12:{minute:02d}:00 by RouterOS 7.14\n"
        f"/ppp secret\nadd name=u password={CANARY}\n"
        f"/ip address\nadd address={address}/24 interface=ether1\n"
        f"/system identity\nset name={name}\n"
    )


TEXTS = [export("r1", "192.0.2.1"), export("r1", "192.0.2.2"), export("r2", "192.0.2.2")]


class Api(Struct, frozen=True):
    """A program that serves, and a client of it."""

    system: System
    http: httpx.AsyncClient
    address: str
    server: asyncio.Task[None]

    async def stop(self) -> None:
        """Stop serving, as the composition root does."""
        self.server.cancel()
        await asyncio.wait([self.server])

    async def get(
        self, path: str, expect: int = 200, *, params: dict[str, str] | None = None, **more: Any
    ) -> Any:
        """The JSON at a path; the status must be as expected."""
        answer = await self.http.get(path, params={**(params or {}), **more})
        assert answer.status_code == expect, answer.text
        return answer.json()

    async def problem(self, path: str, expect: int, **params: Any) -> dict[str, str]:
        """What an error says, in the one form of all errors."""
        body: dict[str, str] = await self.get(path, expect, **params)
        own = {"type", "title", "status", "detail", "code", "request_id"}
        assert own <= set(body) <= own | {"field"}
        return body

    async def settled(self) -> int:
        """Wait until the intake is worked off, all diffs are told and everything is projected."""

        async def idle() -> bool:
            for stream, consumer in (
                ("CONFIGTRAIL_INTAKE", "recorder"),
                ("CONFIGTRAIL_EVENTS", "differ"),
            ):
                info = await self.system.js.consumer_info(stream, consumer)
                if info.num_pending or info.num_ack_pending:
                    return False
            return True

        await eventually(lambda: self._head_stands_still(idle))
        head = await self.system.events.head()
        for worker in self.system.projections:
            await worker.wait(head)
        return head

    async def _head_stands_still(self, idle: Callable[[], Any]) -> bool:
        before = await self.system.events.head()
        return bool(await idle()) and await self.system.events.head() == before


@asynccontextmanager
async def program(settings: Settings) -> AsyncIterator[Api]:
    async with open_system(settings) as system, running(roles(system)):
        addresses: asyncio.Queue[str] = asyncio.Queue()
        server = asyncio.create_task(
            serve(
                create_app(system),
                "127.0.0.1",
                0,
                started=addresses.put_nowait,
                stopping=system.live.stop,
            )
        )
        address = await addresses.get()
        try:
            headers = {"Authorization": f"Bearer {await api_key(system)}"}
            async with httpx.AsyncClient(base_url=address, timeout=30, headers=headers) as client:
                await eventually(lambda: _has_consumers(system))
                yield Api(system, client, address, server)
        finally:
            server.cancel()
            await asyncio.wait([server])
        assert server.cancelled()


async def _has_consumers(system: System) -> bool:
    names = {one.name for one in await system.js.consumers_info("CONFIGTRAIL_EVENTS")}
    names |= {one.name for one in await system.js.consumers_info("CONFIGTRAIL_INTAKE")}
    return {"differ", "recorder"} <= names


def settings_for(server: EmbeddedNats, dsn: str, folder: Path, **more: Any) -> Settings:
    return Settings(
        nats_url=SecretStr(server.url),
        postgres_dsn=SecretStr(dsn),
        data_dir=folder,
        master_key_file=folder / "master.key",
        **more,
    )


async def snapshot_ids(api: Api) -> list[str]:
    """Oldest first."""
    found = await api.get(f"{HOME}/r1/snapshots")
    return [one["id"] for one in reversed(found["items"])]
