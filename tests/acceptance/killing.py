"""Kills of workers, Postgres and nats-server in mid-work, and the rows that come out of it."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from nats.aio.client import Client

from adapters.embedded.nats import EmbeddedNats
from adapters.embedded.postgres import EmbeddedPostgres
from adapters.jetstream.connection import connect
from adapters.jetstream.source import JetStreamSource
from adapters.jetstream.streams import EVENTS, events_stream_config
from adapters.postgres.pool import open_pool
from domain.envelope import StoredEvent
from projections import ALL, rebuilds
from projections.checkpoints import checkpoints, wait_projected
from projections.engine import ProjectionWorker
from projections.outages import is_outage
from projections.rows import Pool
from tests.publishing import publish
from tests.support import eventually

ROOT = Path(__file__).parents[2]
WORKERS = 2
VICTIMS = ("worker", "postgres", "worker", "nats")
# A kill comes at a random moment of this time after new events.
MOMENT_SECONDS = 0.25
Rows = dict[str, list[str]]


class Killed:
    """A stream, a database and two programs that project, all of which can be killed."""

    def __init__(self, folder: Path, nats: EmbeddedNats, postgres: EmbeddedPostgres) -> None:
        self._folder = folder
        self._nats = nats
        self._postgres = postgres
        self._workers: list[asyncio.subprocess.Process] = []

    async def start_worker(self) -> None:
        """One more program."""
        self._workers.append(await projecting(self._folder, self._nats, self._postgres))

    async def kill(self, victim: str) -> None:
        """SIGKILL, and start it again."""
        if victim == "worker":
            process = self._workers.pop(0)
            assert process.returncode is None, (self._folder / "workers.log").read_text()[-4000:]
            process.kill()
            await process.wait()
            await self.start_worker()
        else:
            server = self._postgres if victim == "postgres" else self._nats
            await server.kill()
            await server.start()

    async def stop(self) -> None:
        """End the programs."""
        for process in self._workers:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def projecting(
    folder: Path, nats: EmbeddedNats, postgres: EmbeddedPostgres, name: str = "projecting"
) -> asyncio.subprocess.Process:
    """A program that does nothing but project. `name`: as Postgres shows it; what it says is in the
    folder's `workers.log`."""
    with (folder / "workers.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.acceptance.projecting",
            cwd=ROOT,
            env={
                **os.environ,
                "CONFIGTRAIL_NATS_URL": nats.url,
                "CONFIGTRAIL_POSTGRES_DSN": postgres.dsn,
                "APPLICATION_NAME": name,
            },
            stdout=log,
            stderr=log,
        )


@asynccontextmanager
async def servers(folder: Path) -> AsyncIterator[tuple[EmbeddedNats, EmbeddedPostgres]]:
    """A nats-server with the stream of events, and a Postgres."""
    nats = EmbeddedNats(
        folder / "nats", encryption_key=secrets.token_hex(32), user="tests", password="tests"
    )
    postgres = EmbeddedPostgres(folder / "postgres", password=secrets.token_hex(16))
    await nats.start()
    try:
        await postgres.start()
        try:
            yield nats, postgres
        finally:
            await postgres.stop()
    finally:
        await nats.stop()


async def killed_rows(
    folder: Path,
    events: list[StoredEvent],
    *,
    kills: int,
    seed: int,
    progress: Callable[[int, str], None] = lambda kill, victim: None,
) -> tuple[Rows, Rows, Counter[str]]:
    """The rows after so many kills while the events come, the rows of an undisturbed fold of the
    same stream, and who was killed how often. Every tenth time a rebuild is begun before."""
    choice = random.Random(seed)
    victims: Counter[str] = Counter()
    async with servers(folder) as (nats, postgres):
        nc = await connect(nats.url, name="killer")
        await nc.jetstream().add_stream(events_stream_config())
        killed = Killed(folder, nats, postgres)
        for _ in range(WORKERS):
            await killed.start_worker()
        try:
            size = len(events) // kills
            for kill in range(kills):
                last = kill == kills - 1
                part = events[kill * size :] if last else events[kill * size :][:size]
                await publish(nc, part, EVENTS)
                if kill % 10 == 5:
                    await _begin_rebuild(nc, postgres, choice)
                await asyncio.sleep(choice.random() * MOMENT_SECONDS)
                victim = VICTIMS[kill % len(VICTIMS)]
                victims[victim] += 1
                progress(kill + 1, victim)
                await killed.kill(victim)
                await eventually(lambda: nc.is_connected, within=60)
            async with open_pool(postgres.dsn) as pool:
                disturbed = await _settled(pool, len(events))
        finally:
            await killed.stop()
        async with open_pool(postgres.dsn) as pool:
            calm = await undisturbed(pool, nc, len(events))
        await nc.close()
    return disturbed, calm, victims


async def _begin_rebuild(nc: Client, postgres: EmbeddedPostgres, choice: random.Random) -> None:
    source = JetStreamSource(nc, nc.jetstream())
    async with open_pool(postgres.dsn) as pool:
        await rebuilds.begin(pool, choice.choice(ALL), await source.identity())


async def _settled(pool: Pool, head: int) -> Rows:
    """The rows when everything is projected and no rebuild is under way."""

    async def there() -> bool:
        try:
            found = await checkpoints(pool)
            building = await rebuilds.under_way(pool)
        except asyncpg.UndefinedTableError:
            return False
        except Exception as error:
            if not is_outage(error):
                raise
            return False
        assert not [one.error for one in building if one.error]
        return not building and len(found) == len(ALL)

    await eventually(there, within=120)
    await wait_projected(pool, ALL, head, 120)
    return await rows(pool)


async def undisturbed(pool: Pool, nc: Client, head: int) -> Rows:
    """The rows of a fold in one go, when what is there has been dropped."""
    await pool.execute("DROP SCHEMA configtrail CASCADE")
    source = JetStreamSource(nc, nc.jetstream())
    workers = [ProjectionWorker(pool, source, projection) for projection in ALL]
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        for worker in workers:
            await asyncio.wait_for(worker.wait(head), 300)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return await rows(pool)


async def rows(pool: Pool) -> Rows:
    """Every row of every read model."""
    found = {
        table: sorted(map(repr, await pool.fetch(f'SELECT * FROM configtrail."{table}"')))
        for projection in ALL
        for table in projection.tables
    }
    assert await pool.fetchval("SELECT count(*) FROM configtrail.parked") == 0
    return found
