"""Both servers in one data folder: started together, kept running, stopped together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import structlog

from adapters.embedded.folder import DataFolder, Endpoints, published
from adapters.embedded.nats import EmbeddedNats, nats_session
from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.server import EmbeddedServer
from domain.errors import Unavailable

__all__ = ["Endpoints", "embedded", "running"]

_log = structlog.get_logger(__name__)

_STABLE_AFTER = 30.0
_LONGEST_PAUSE = 10.0
_ANSWER_SECONDS = 5.0


@asynccontextmanager
async def embedded(data_dir: Path, *, shared: bool = True) -> AsyncIterator[Endpoints]:
    """Run both servers for as long as the context lasts; they are restarted when they die.

    `shared`: `running` tells other commands on this machine, of the same user, where they are.

    Enter it in a thread that lives as long as the program: the kernel ties the servers' lives
    to it. Raises `DataFolderInUse`, `DataFolderUnusable` or `ServerFailed`; a server that dies
    and does not start again cancels the body and raises `ServerFailed`.
    """
    async with DataFolder(data_dir) as folder:
        secrets = folder.secrets()
        broker = EmbeddedNats(
            folder.path / "nats",
            encryption_key=secrets.jetstream_key,
            user=secrets.nats_user,
            password=secrets.nats_password,
        )
        database = EmbeddedPostgres(folder.path / "postgres", password=secrets.postgres_password)
        try:
            await _together(broker.start(), database.start())
            endpoints = Endpoints(nats_url=broker.url, postgres_dsn=database.dsn)
            if shared:
                folder.publish(endpoints)
            async with _kept_running(broker, database):
                yield endpoints
        finally:
            folder.withdraw()
            await _together(broker.stop(), database.stop())


async def running(data_dir: Path) -> Endpoints | None:
    """The servers of a data folder on which another program works, if one does. Raises
    `Unavailable` that names the one that does not answer."""
    endpoints = published(data_dir)
    if endpoints is None:
        return None
    try:
        connection = await asyncpg.connect(endpoints.postgres_dsn, timeout=_ANSWER_SECONDS)
        await connection.close(timeout=_ANSWER_SECONDS)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise _silent("Postgres", data_dir, error) from error
    try:
        async with nats_session(endpoints.nats_url) as client:
            await client.jetstream().account_info()
    except (OSError, TimeoutError) as error:
        raise _silent("nats-server", data_dir, error) from error
    return endpoints


def _silent(service: str, data_dir: Path, error: Exception) -> Unavailable:
    return Unavailable(f"the {service} of the data folder {data_dir}", type(error).__name__)


@asynccontextmanager
async def _kept_running(*servers: EmbeddedServer) -> AsyncIterator[None]:
    try:
        async with asyncio.TaskGroup() as group:
            keepers = [group.create_task(_keep_running(server)) for server in servers]
            try:
                yield
            finally:
                for keeper in keepers:
                    keeper.cancel()
    except BaseExceptionGroup as failures:
        # The group is our own affair: callers see the error that the body or a server raised.
        if len(failures.exceptions) == 1:
            raise failures.exceptions[0] from failures.exceptions[0].__cause__
        raise


async def _keep_running(server: EmbeddedServer) -> None:
    """Start a server again whenever it ends by itself, slower when it ends soon after a start."""
    clock = asyncio.get_running_loop().time
    pause = 0.0
    while True:
        began = clock()
        status = await server.ended()
        pause = 0.0 if clock() - began > _STABLE_AFTER else min(_LONGEST_PAUSE, 2 * pause + 0.1)
        _log.warning(
            "embedded_server_died", server=server.service, status=status, restart_in_seconds=pause
        )
        await asyncio.sleep(pause)
        await server.start()
        _log.info("embedded_server_restarted", server=server.service)


async def _together(*work: Coroutine[object, object, None]) -> None:
    """Do all at once to their ends; raise the first failure afterwards.

    None is cut short by another's failure: a half-stopped server helps nobody.
    """
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise
    failures = [error for task in tasks if (error := task.exception()) is not None]
    if failures:
        raise failures[0]
