"""`configtrail up`: servers, roles and the API, until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

from adapters.access.first import FILE, first_key
from adapters.access.keys import NewKey
from adapters.cli.console import out
from adapters.cli.session import at
from adapters.composition import System, open_system, roles
from adapters.composition.chosen import API, NAMES, SEALER, check_chosen, of_chosen
from adapters.embedded.runtime import embedded
from adapters.http.app import create_app, serve
from adapters.roles.supervisor import running
from adapters.settings import Settings
from adapters.settling import settle_memory
from projections import ACCESS
from projections.checkpoints import wait_projected

# A busy machine may take its time to build the first read models.
_FIRST_KEY_SECONDS = 120.0


class Service:
    """A running service of some `roles`. `address` is the API's, or where it tells of its health,
    `first_key` the key that was just made for it."""

    def __init__(
        self,
        system: System,
        address: str,
        roles: frozenset[str],
        first_key: NewKey | None = None,
    ) -> None:
        self.system = system
        self.address = address
        self.roles = roles
        self.first_key = first_key


@asynccontextmanager
async def service(settings: Settings) -> AsyncIterator[Service]:
    """Everything that is chosen, running while the block runs. It ends in order: API, roles,
    connections, servers.

    Raises what `check_chosen`, `embedded`, `open_system` and `serve` raise, maybe in groups of
    exceptions.
    """
    own_servers = settings.nats_url is None and settings.postgres_dsn is None
    names = await asyncio.to_thread(check_chosen, settings, own_servers=own_servers)
    async with AsyncExitStack() as stack:
        if own_servers:
            own = await stack.enter_async_context(embedded(settings.data_dir))
            settings = at(settings, own)
        system = await stack.enter_async_context(open_system(settings))
        made = None
        if own_servers and settings.auth == "on":
            made = await first_key(system.keys, settings.data_dir)
        await stack.enter_async_context(running(of_chosen(roles(system), names)))
        if made is not None:
            # Whoever is told the key may use it at once.
            await wait_projected(system.pool, [ACCESS], made.position, _FIRST_KEY_SECONDS)
        started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        api = partial(
            serve,
            create_app(system, api=API in names),
            settings.http_host,
            settings.http_port,
            started=started.set_result,
            stopping=system.live.stop,
        )
        await stack.enter_async_context(running({"api": api}))
        yield Service(system, await started, names, made)


async def up(settings: Settings) -> int:
    """Run the service: every part in one process, until SIGINT or SIGTERM; or the parts that
    CONFIGTRAIL_ROLES names.

    Without CONFIGTRAIL_NATS_URL and CONFIGTRAIL_POSTGRES_DSN, servers are started in the data
    folder. Logs go to stderr.
    """
    async with service(settings) as running_service:
        tell_addresses(running_service, settings)
        settle_memory()
        await asyncio.Event().wait()
    return 0


def tell_addresses(running_service: Service, settings: Settings) -> None:
    """Say where what can be reached, without passwords."""
    url = running_service.system.settings.nats_url
    assert url is not None
    broker = urlsplit(url.get_secret_value().split(",")[0])
    embedded_servers = settings.nats_url is None
    where = f" (password in {settings.data_dir / 'runtime.json'})" if embedded_servers else ""
    names, address = running_service.roles, running_service.address
    if names != frozenset(NAMES):
        _tell("roles", ", ".join(one for one in NAMES if one in names))
    if SEALER in names and API in names:
        _tell("log", "signed by this same program: CONFIGTRAIL_ROLES runs the sealer apart")
    if API in names:
        _tell_key(running_service, settings)
        _tell("API", f"{address}/api  (described at /api/openapi.json)")
        shown = f"nats://{broker.hostname}:{broker.port or 4222}  config.snapshot.create{where}"
        _tell("intake", shown)
    else:
        _tell("health", f"{address}/healthz  /readyz  /metrics")
    out.print("ready; Ctrl-C stops it", markup=False, soft_wrap=True)


def _tell(what: str, told: str) -> None:
    out.print(f"{what:7} {told}", markup=False, highlight=False, soft_wrap=True)


def _tell_key(running_service: Service, settings: Settings) -> None:
    if settings.auth == "off":
        told = "off: whoever reaches the API from this machine may do everything"
    elif running_service.first_key is not None:
        told = f"{running_service.first_key.text}  (shown once; also in {settings.data_dir / FILE})"
    elif settings.nats_url is None:
        told = f"in {settings.data_dir / FILE}, unless it was taken away (see configtrail keys)"
    else:
        told = "configtrail keys create NAME --role admin --all-tenants makes the first one"
    _tell("key", told)
