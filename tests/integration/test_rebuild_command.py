"""`projections rebuild` while something is in its way: what it says, and what Ctrl-C does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from adapters.cli.rebuilding import rebuild
from adapters.embedded.nats import EmbeddedNats
from adapters.postgres.pool import open_pool
from domain.errors import NewerProjection, Unavailable
from projections import AUDIT, rebuilds
from projections.rows import Connection
from tests.generators import STREAM
from tests.serving import Api
from tests.support import eventually


class Told:
    """What the command has said up to now."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.text = ""

    def has(self, words: str) -> bool:
        self.text += " ".join(self._capsys.readouterr().err.split()) + " "
        return words in self.text


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    return Told(capsys)


@asynccontextmanager
async def somebodys_session(dsn: str) -> AsyncIterator[Connection]:
    async with (
        open_pool(dsn, application_name="somebody's psql") as other,
        other.acquire() as session,
    ):
        yield session


async def test_a_reader_that_is_waited_for_is_named(
    filled: Api, postgres_dsn: str, told: Told
) -> None:
    async with somebodys_session(postgres_dsn) as session:
        who = f"process {session.get_server_pid()} of the server (somebody's psql, user configtrail"
        async with session.transaction():
            await session.execute("SELECT FROM configtrail.audit")
            working = asyncio.create_task(rebuild(filled.system.settings, name=AUDIT))
            await eventually(lambda: told.has(f"audit: waits: {who}, in a transaction since 2"))
            assert "has AccessShareLock on audit" in told.text
            assert not working.done()
        assert await asyncio.wait_for(working, 20) == 0
    assert told.has("and serving")


@pytest.mark.parametrize("under_way", [False, True])
async def test_an_interrupt_ends_what_the_command_began_and_nothing_else(
    filled: Api, postgres_dsn: str, told: Told, *, under_way: bool
) -> None:
    system = filled.system
    async with somebodys_session(postgres_dsn) as session, session.transaction():
        await session.execute("SELECT FROM configtrail.audit")
        if under_way:
            await rebuilds.begin(system.pool, AUDIT, await system.source.identity())
        working = asyncio.create_task(rebuild(system.settings, name=AUDIT))
        await eventually(lambda: told.has("audit: waits: process"))
        working.cancel()
        await asyncio.wait([working])
        assert working.cancelled()
        left = await rebuilds.find(system.pool, AUDIT)
    if under_way:
        assert left is not None
        assert told.has("audit: goes on with the rebuild that is under way")
        assert told.has("left as it is, since it was under way before")
        assert told.has("configtrail projections rebuild audit --cancel ends it")
    else:
        assert left is None
        assert told.has("audit: cancelled; the live rows are as they were")


async def test_an_interrupt_that_can_cancel_nothing_says_so(
    filled: Api, postgres_dsn: str, told: Told
) -> None:
    system = filled.system
    async with somebodys_session(postgres_dsn) as session:
        async with session.transaction():
            await session.execute("SELECT FROM configtrail.audit")
            working = asyncio.create_task(rebuild(system.settings, name=AUDIT))
            await eventually(lambda: told.has("audit: waits: process"))
            await session.execute("SELECT FROM configtrail.rebuilds FOR UPDATE")
            working.cancel()
            await asyncio.wait([working])
            assert told.has("audit: could not be cancelled, and stays")
            assert told.has("has a lock on the row of audit in rebuilds")
        # So somebody goes on with it.
        await eventually(lambda: _has_ended(filled))


async def test_an_outage_of_nats_is_told_and_waited_out(
    filled: Api, postgres_dsn: str, nats_server: EmbeddedNats, told: Told
) -> None:
    async with somebodys_session(postgres_dsn) as session:
        async with session.transaction():
            await session.execute("SELECT FROM configtrail.audit")
            working = asyncio.create_task(rebuild(filled.system.settings, name=AUDIT))
            await eventually(lambda: told.has("audit: waits: process"))
            await nats_server.kill()
            await eventually(lambda: told.has("audit: waits: NATS does not answer"))
            await nats_server.start()
        assert await asyncio.wait_for(working, 60) == 0


async def test_servers_that_stay_away_end_the_command_and_not_the_rebuild(
    filled: Api, postgres_dsn: str, nats_server: EmbeddedNats, told: Told
) -> None:
    settings = filled.system.settings.model_copy(update={"connect_seconds": 1.0})
    async with somebodys_session(postgres_dsn) as session:
        async with session.transaction():
            await session.execute("SELECT FROM configtrail.audit")
            working = asyncio.create_task(rebuild(settings, name=AUDIT))
            await eventually(lambda: told.has("audit: waits: process"))
            await nats_server.kill()
            with pytest.raises(Unavailable, match="NATS does not answer"):
                await asyncio.wait_for(working, 60)
            assert told.has("audit: the rebuild stays as it is: whoever serves goes on with it")
            await nats_server.start()
        await eventually(lambda: _has_ended(filled), within=60)


async def test_an_older_program_is_refused_before_it_builds_anything(api: Api) -> None:
    pool = api.system.pool
    await pool.execute(
        "UPDATE configtrail.checkpoints SET version = version + 1 WHERE projection = 'audit'"
    )
    with pytest.raises(NewerProjection, match="run the newer program"):
        await rebuilds.begin(pool, AUDIT, STREAM)
    assert await rebuilds.under_way(pool) == []


async def _has_ended(api: Api) -> bool:
    return not await rebuilds.under_way(api.system.pool)
