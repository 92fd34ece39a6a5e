"""The API as one ASGI application, and the server that runs it in this program's loop."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import Depends, FastAPI
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from adapters.http import (
    audit,
    changes,
    configs,
    dead_letters,
    devices,
    differences,
    fleet,
    groups,
    health,
    history,
    inventory,
    keys,
    live,
    parked,
    proofs,
    search,
    snapshots,
    statistics,
    trigger,
    uploads,
)
from adapters.http.access import Authorise, routes_of
from adapters.http.allowed import Allowed
from adapters.http.connections import Connection
from adapters.http.cors import Origins
from adapters.http.described import READING, REFUSALS
from adapters.http.description import describe
from adapters.http.direct import Direct
from adapters.http.errors import install_error_handlers
from adapters.http.freshness import freshness
from adapters.http.guard import LOOPBACK_NAMES, Guard, is_loopback
from adapters.http.rates import Rates
from adapters.http.slashes import Slashes
from adapters.roles.shielding import surely
from domain.errors import InvalidInput

if TYPE_CHECKING:
    from adapters.composition import System
    from adapters.settings import Settings

log = logging.getLogger(__name__)

# Requests under way may end in this time, then they are cancelled; a cancelled manual backup needs
# some more to record its end.
GRACE_SECONDS = 5
CANCELLED_SECONDS = 25.0


def create_app(system: System, *, api: bool = True) -> FastAPI:
    """The application over a connected system. Without `api` it tells of its health alone.

    Only the loopback's names and those in the settings are answered to. Raises `InvalidInput` when
    authentication is off where others can reach it, `ValueError` for a route that does not say
    who may use it.
    """
    settings = system.settings
    if settings.auth == "off" and not is_loopback(settings.http_host):
        raise InvalidInput(
            "CONFIGTRAIL_AUTH",
            "off lets everybody in, so it is only for CONFIGTRAIL_HTTP_HOST=127.0.0.1",
        )
    authorise = Authorise(system.refusals)
    app = FastAPI(
        dependencies=[Depends(authorise)],
        title="Configtrail",
        description="The configuration history of network devices.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        # Behind a proxy with TLS the address that it would be sent to has none.
        redirect_slashes=False,
        redoc_url=None,
    )
    install_error_handlers(app)
    if api:
        _include_api(app, system)
    app.include_router(health.router(system), responses=REFUSALS)
    authorise.know(app)
    describe(app)
    app.state.allowed = Allowed(routes_of(app).values())
    app.router.middleware_stack = Direct(app)
    app.add_middleware(
        Guard,
        metrics=system.metrics,
        allowed_hosts=_allowed_hosts(settings),
        authenticator=system.authenticator,
        refusals=system.refusals,
        rates=Rates(settings.rate_per_second, settings.rate_burst),
        origins=Origins(settings.http_cors_origins),
    )
    # Outside the guard: the address that it decides by is the one that routes are looked for by.
    app.add_middleware(Slashes)
    proxies = _proxies(settings)
    if proxies:
        # Outermost: limits and the audit trail are about who asks, not about who passes it on.
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=proxies)
    return app


def _include_api(app: FastAPI, system: System) -> None:
    projected = [Depends(freshness(system))]
    # Routes are looked for in this order, one after the other: what is asked most comes first.
    for routes in (
        snapshots.router(system),
        history.router(system),
        audit.router(system),
        devices.router(system),
        changes.router(system),
        fleet.router(system),
        differences.router(system),
        configs.router(system),
        search.router(system),
        statistics.router(system),
    ):
        app.include_router(routes, dependencies=projected, responses=READING)
    for routes in (
        trigger.router(system),
        uploads.router(system),
        live.router(system),
        proofs.router(system),
        inventory.router(system),
        groups.router(system),
        keys.router(system),
        dead_letters.router(system),
        parked.router(system),
    ):
        app.include_router(routes, responses=REFUSALS)
    # A device's id may have slashes, so that every address below devices could be one: it is last.
    device = devices.device_router(system)
    app.include_router(device, dependencies=projected, responses=READING)


def _proxies(settings: Settings) -> list[str]:
    named = [one.strip() for one in settings.http_proxies.split(",") if one.strip()]
    try:
        return [str(ipaddress.ip_network(one)) for one in named]
    except ValueError as error:
        raise InvalidInput(
            "CONFIGTRAIL_HTTP_PROXIES", "must be IP addresses or networks, with commas between"
        ) from error


def _allowed_hosts(settings: Settings) -> frozenset[str] | None:
    named = {name.strip().lower() for name in settings.http_names.split(",")} - {""}
    if "*" in named:
        return None
    host = settings.http_host.lower()
    # An address that means all addresses is no name that anybody asks by.
    return LOOPBACK_NAMES | named | ({host} - {"0.0.0.0", "::"})


class _Server(uvicorn.Server):
    """Leaves signals to the composition root."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def serve(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    started: Callable[[str], None] | None = None,
    stopping: Callable[[], Coroutine[Any, Any, None]] | None = None,
    public: bool = False,
) -> None:
    """Serve until cancelled; then requests under way may still end, within bounds. `public`: it is
    meant for everybody.

    `started` is called with the server's address (port 0 takes a free one), `stopping` before it
    waits for requests to end: those that end by themselves only then. Raises `InvalidInput`
    when the address can't be had.
    """
    bound = _bind(host, port)
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{bound.getsockname()[1]}"
    if public or is_loopback(host):
        log.info("serving %s", address)
    else:
        log.warning("serving %s WITHOUT TLS: put a proxy that has it in front of it", address)
    server = _Server(
        uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
    bound.setblocking(False)
    running = asyncio.create_task(server.serve(sockets=[bound]), name="http")
    try:
        if started is not None:
            started(address)
        await asyncio.shield(running)
    finally:
        server.should_exit = True
        if stopping is not None:
            await surely(stopping())
        await surely(_ended(server, running))


async def _ended(server: _Server, running: asyncio.Task[None]) -> None:
    await asyncio.wait([running])
    cancelled = set(server.server_state.tasks)
    if cancelled:
        _, left = await asyncio.wait(cancelled, timeout=CANCELLED_SECONDS)
        if left:
            log.error("%d requests did not end in time", len(left))
    running.result()


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # asyncio sends at once, without waiting for acknowledgements, only where it is told TCP.
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(1024)
        except OSError:
            bound.close()
            raise
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such port"
        raise InvalidInput(
            "CONFIGTRAIL_HTTP_HOST and CONFIGTRAIL_HTTP_PORT",
            f"{host} port {port} can't be served ({reason}); choose another one",
        ) from error
    return bound
