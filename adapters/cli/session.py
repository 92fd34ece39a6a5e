"""Which servers a command uses, and what runs beside it. The one place that decides.

1. Servers that the settings name. They are served by `configtrail up` somewhere: commands only ask.
2. Else those of a program that runs on the data folder: it has all roles, so commands only ask.
3. Else embedded servers, for as long as the command takes, and with them what it needs: a listing
   brings the read models up to date first, an import records and compares too. Nobody else is told
   of them, since they are gone soon; a second command meanwhile waits for the folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from enum import Enum

import asyncpg
from msgspec import Struct
from nats.aio.client import Client
from nats.errors import Error as NatsError
from pydantic import SecretStr

from adapters.cli.console import err, harmless
from adapters.composition import System, open_system, roles
from adapters.embedded.errors import DataFolderInUse, NothingHere
from adapters.embedded.folder import is_kept
from adapters.embedded.runtime import Endpoints, embedded, running
from adapters.jetstream.connection import close, connect
from adapters.jetstream.event_store import JetStreamEventStore
from adapters.roles import supervisor
from adapters.settings import Settings
from adapters.tlog.reader import StreamReader, open_reader
from domain.errors import InvalidInput, StreamMismatch, Unavailable
from projections import stops
from projections.belonging import strays
from projections.checkpoints import wait_projected

FOLDER_SECONDS = 60.0
# A read model that is built anew at start, from a long history, takes its time.
PROJECTED_SECONDS = 300.0
ATTACHED_PROJECTED_SECONDS = 15.0
# One that can't go on may be about to be tried again, by a program that can take in what it lacks.
STOPPED_SECONDS = 15.0
_LOOK_SECONDS = 0.2
_ASK_SECONDS = 0.5
_PROBE_SECONDS = 2.0


class Need(Enum):
    """What must run for a command."""

    NOTHING = "nothing"
    # For what is asked when a read model can't go on: of other programs nothing is awaited, and own
    # ones go as far as they get.
    READ_MODELS_AS_THEY_ARE = "read models as they are"
    READ_MODELS = "read models"
    EVERYTHING = "everything"


class Session(Struct, frozen=True):
    """A connected system. `hosts`: the servers and roles are this command's own."""

    system: System
    hosts: bool


@asynccontextmanager
async def session(settings: Settings, need: Need) -> AsyncIterator[Session]:
    """A connected system with what the command needs; read models, if needed as a whole, are at
    the head.

    Raises `Unavailable` when servers or read models can't be had in time, `DataFolderInUse`,
    `StreamMismatch` when read models are not of this stream, and what `open_system` raises.
    """
    async with AsyncExitStack() as stack:
        found, hosts = await servers(stack, settings)
        system = await _opened(stack, found)
        stray: dict[str, StreamMismatch] = {}
        if need is not Need.NOTHING:
            stray = await strays(system.pool, system.source)
        if need in (Need.READ_MODELS, Need.EVERYTHING):
            # Before own roles are started: those would fail of it, and say less.
            for wrong in stray.values():
                raise wrong
        if hosts and need is not Need.NOTHING:
            wanted = {
                name: role
                for name, role in roles(system).items()
                if need is Need.EVERYTHING or name.startswith("projection ")
            }
            for name in stray:
                # It would end all others, and what leads out of that must be possible.
                del wanted[f"projection {name}"]
            await stops.forget(system.pool)
            await stack.enter_async_context(supervisor.running(wanted))
        if need is Need.READ_MODELS_AS_THEY_ARE:
            if hosts:
                head = await system.events.head()
                await projected(system, head, PROJECTED_SECONDS, or_stopped=True, but=stray)
        elif need is not Need.NOTHING:
            seconds = PROJECTED_SECONDS if hosts else ATTACHED_PROJECTED_SECONDS
            await projected(system, await system.events.head(), seconds)
        yield Session(system, hosts)


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[StreamReader]:
    """The streams alone, of the servers that a command uses. Raises as `session`."""
    async with AsyncExitStack() as stack:
        found, _ = await servers(stack, settings)
        try:
            async with asyncio.timeout(settings.connect_seconds):
                reader = await stack.enter_async_context(open_reader(found))
        except TimeoutError as error:
            raise Unavailable(
                "NATS", f"no connection within {settings.connect_seconds:g} s"
            ) from error
        yield reader


@asynccontextmanager
async def log_session(settings: Settings) -> AsyncIterator[JetStreamEventStore]:
    """The log of events alone: it needs NATS and nothing else, where the settings name it.

    Raises `Unavailable` when it can't be had in time, `NothingHere` and `DataFolderInUse`.
    """
    async with AsyncExitStack() as stack:
        found, _ = await servers(stack, settings, make=False)
        nc = await stack.enter_async_context(nats(found))
        yield JetStreamEventStore(nc, nc.jetstream())


@asynccontextmanager
async def nats(settings: Settings, within: float | None = None) -> AsyncIterator[Client]:
    """A connection to the NATS server that the settings name, had `within` so many seconds
    (default: `connect_seconds`)."""
    within = settings.connect_seconds if within is None else within
    if settings.nats_url is None:
        raise InvalidInput("CONFIGTRAIL_NATS_URL", "must be set: Postgres holds no log")
    nc = await connect(settings.nats_url.get_secret_value(), name="configtrail-log", within=within)
    try:
        yield nc
    finally:
        await close(nc)


async def projected(
    system: System,
    position: int,
    seconds: float,
    *,
    or_stopped: bool = False,
    but: Collection[str] = (),
) -> None:
    """Return when all read models hold the events up to `position`, `but` for those of these names;
    `or_stopped`: or can't go on.

    Raises `Unavailable` when that is not so in time, with the reason of one that can't go on, which
    is not waited for as long.
    """
    wanted = [one.projection for one in system.projections if one.name not in but]
    began = asyncio.get_running_loop().time()
    while True:
        waited = asyncio.get_running_loop().time() - began
        try:
            stopped = await stops.reasons(system.pool)
            going = [one for one in wanted if not (or_stopped and one.name in stopped)]
            return await wait_projected(system.pool, going, position, _ASK_SECONDS)
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
            if waited > seconds:
                raise Unavailable(
                    "the read models", "nobody builds them; start configtrail up there"
                ) from error
            await asyncio.sleep(_LOOK_SECONDS)
        except Unavailable as error:
            if stopped and not or_stopped and waited > min(seconds, STOPPED_SECONDS):
                name, reason = min(stopped.items())
                raise Unavailable(f"projection {name}", reason) from error
            if waited > seconds:
                raise


async def _opened(stack: AsyncExitStack, settings: Settings) -> System:
    seconds = settings.connect_seconds
    try:
        async with asyncio.timeout(seconds):
            # A stream that somebody deleted is made anew by `configtrail up` alone.
            return await stack.enter_async_context(open_system(settings, anew=False))
    except TimeoutError as error:
        silent = await _silent(settings)
        raise Unavailable(silent, f"no connection within {seconds:g} s") from error


async def _silent(settings: Settings) -> str:
    """Which of the servers does not answer."""
    try:
        async with nats(settings, within=_PROBE_SECONDS) as nc:
            await nc.flush(timeout=_PROBE_SECONDS)  # type: ignore[arg-type]  # fractions work
    except (Unavailable, NatsError):
        return "NATS"
    assert settings.postgres_dsn is not None
    try:
        connection = await asyncpg.connect(
            settings.postgres_dsn.get_secret_value(), timeout=_PROBE_SECONDS
        )
        await connection.close(timeout=_PROBE_SECONDS)
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return "Postgres"
    return "NATS or Postgres"


async def servers(
    stack: AsyncExitStack, settings: Settings, *, make: bool = True, within: float | None = None
) -> tuple[Settings, bool]:
    """The settings with servers in them, and whether they are this command's own.

    Without `make` no data folder is begun: raises `NothingHere` when there is none. Raises
    `DataFolderInUse` when another command does not end in time, and `Unavailable` that names the
    server that does not answer `within` so many seconds (default: `FOLDER_SECONDS`).
    """
    if settings.nats_url is not None or settings.postgres_dsn is not None:
        return settings, False
    if not (make or await asyncio.to_thread(is_kept, settings.data_dir)):
        raise NothingHere(settings.data_dir)
    loop = asyncio.get_running_loop()
    began = loop.time()
    patience = FOLDER_SECONDS if within is None else within
    told: str | None = None
    while True:
        try:
            there = await running(settings.data_dir)
        except Unavailable as error:
            # Whoever started it keeps it running, or it has ended in a moment.
            if loop.time() - began > patience:
                raise
            told = _told(f"waiting: {error}", told)
            await asyncio.sleep(_LOOK_SECONDS)
            continue
        if there is not None:
            return at(settings, there), False
        try:
            with err.status("starting servers …"):
                own = await stack.enter_async_context(embedded(settings.data_dir, shared=False))
        except DataFolderInUse:
            if loop.time() - began > FOLDER_SECONDS:
                raise
            told = _told(f"waiting for the data folder {settings.data_dir}, which is in use", told)
            await asyncio.sleep(_LOOK_SECONDS)
        else:
            return at(settings, own), True


def _told(what: str, before: str | None) -> str:
    """Say what is waited for, once."""
    if what != before:
        err.print(harmless(what), markup=False, soft_wrap=True)
    return what


def at(settings: Settings, endpoints: Endpoints) -> Settings:
    """The settings with the servers filled in."""
    return settings.model_copy(
        update={
            "nats_url": SecretStr(endpoints.nats_url),
            "postgres_dsn": SecretStr(endpoints.postgres_dsn),
        }
    )
