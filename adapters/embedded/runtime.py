"""Both servers in one data folder: started together, kept running, stopped together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import nats
import nats.errors
import structlog

from adapters.embedded.folder import DataFolder, Endpoints, published
from adapters.embedded.nats import EmbeddedNats
from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.server import EmbeddedServer

__all__ = ["Endpoints", "embedded", "running"]

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def embedded(data_dir: Path) -> AsyncIterator[Endpoints]:
    """Run both servers for as long as the context lasts; they are restarted when they die.

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
            folder.publish(endpoints)
            async with _kept_running(broker, database):
                yield endpoints
        finally:
            folder.withdraw()
            await _together(broker.stop(), database.stop())


async def running(data_dir: Path) -> Endpoints | None:
    """The servers of a data folder on which another program works, when both answer."""
    endpoints = published(data_dir)
    if endpoints is None:
        return None
    try:
        connection = await asyncpg.connect(endpoints.postgres_dsn, timeout=5)
        await connection.close()
        client = await nats.connect(
            endpoints.nats_url, allow_reconnect=False, connect_timeout=5, error_cb=_say
        )
        await client.close()
    except (OSError, TimeoutError, nats.errors.Error, asyncpg.PostgresError) as error:
        _log.warning("embedded_servers_do_not_answer", error=type(error).__name__)
        return None
    return endpoints


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
        raise _only(failures) from failures.__cause__


async def _keep_running(server: EmbeddedServer) -> None:
    while True:
        status = await server.ended()
        _log.warning("embedded_server_died", server=server.service, status=status)
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


def _only(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure that is no group: callers expect errors, not groups of them."""
    first: BaseException = failures
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


async def _say(error: Exception) -> None:
    _log.warning("embedded_nats_probe", error=type(error).__name__)
