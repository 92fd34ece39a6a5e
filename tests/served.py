"""A program that serves everything, with a provider of identities, asked by any of its routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from adapters.composition import System, open_system, roles
from adapters.embedded.nats import EmbeddedNats
from adapters.http.access import Route, routes_of
from adapters.http.app import create_app, serve
from adapters.roles.supervisor import running
from adapters.settings import Settings
from tests.identity import AUDIENCE, Provider


class Served:
    """A program that serves, with a provider of identities, and a client without credentials."""

    def __init__(self, system: System, app: Any, http: httpx.AsyncClient, idp: Provider) -> None:
        self.system = system
        self.app = app
        self.routes: list[Route] = list(routes_of(app).values())
        self.http = http
        self.idp = idp

    async def ask(self, route: Route, credentials: str | None, tenant: str = "acme") -> Any:
        """A request to a route that can do no harm: of a device that there is not."""
        path = route.path
        for name, value in {
            "{tenant}": tenant,
            "{device:path}": "none",
            "{group:path}": "none",
            "{snapshot_id}": "00000000-0000-0000-0000-000000000000",
            "{position}": "1",
            "{sequence}": "1",
            "{projection}": "audit",
            "{level}": "0",
            "{path:path}": "000",
            "{key_id}": "0" * 16,
        }.items():
            path = path.replace(name, value)
        assert "{" not in path, f"say what to put into {path}"
        [method] = route.methods - {"HEAD"}
        headers = {} if credentials is None else {"Authorization": f"Bearer {credentials}"}
        async with self.http.stream(method, path, headers=headers) as answer:
            # A feed has no end.
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                await answer.aread()
            return answer


@asynccontextmanager
async def everything_served(
    nats_server: EmbeddedNats, postgres_dsn: str, folder: Path
) -> AsyncIterator[Served]:
    """A whole program on a port."""
    with Provider() as idp:
        settings = Settings(
            nats_url=SecretStr(nats_server.url),
            postgres_dsn=SecretStr(postgres_dsn),
            data_dir=folder,
            oidc_issuer=idp.issuer,
            oidc_audience=AUDIENCE,
            oidc_grants="groups=netops acme operator",
            refusals_told_seconds=1,
            trigger_timeout_seconds=1,
            rate_burst=5_000,
        )
        async with open_system(settings) as system, running(roles(system)):
            app = create_app(system)
            started: asyncio.Queue[str] = asyncio.Queue()
            server = asyncio.create_task(serve(app, "127.0.0.1", 0, started=started.put_nowait))
            async with httpx.AsyncClient(base_url=await started.get(), timeout=30) as http:
                yield Served(system, app, http, idp)
            server.cancel()
            await asyncio.wait([server])
