"""A Postgres that is stopped, or whose machine hangs, keeps its connections and answers nothing."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from adapters.embedded.nats import EmbeddedNats
from adapters.embedded.postgres import EmbeddedPostgres
from adapters.postgres import attended
from adapters.postgres.pool import open_pool
from domain.errors import Unavailable
from projections.outages import is_outage
from projections.rows import Pool
from tests.integration.test_http_live import got, listening, observed
from tests.serving import HOME, Api, program, settings_for
from tests.support import eventually


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "postgres", password=secrets.token_hex(16), durable=False)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@contextmanager
def stopped(server: EmbeddedPostgres) -> Iterator[None]:
    """All of its processes stand still while the block runs."""
    pids = list(tree(server.pid))
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def tree(pid: int) -> Iterator[int]:
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from tree(int(child))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attended, "LONG_SECONDS", 0.3)
    monkeypatch.setattr(attended, "GREET_SECONDS", 0.5)


@pytest.mark.usefixtures("impatient")
async def test_the_api_says_so_in_time_and_goes_on_with_its_listeners(
    postgres: EmbeddedPostgres, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    settings = settings_for(nats_server, postgres.dsn, tmp_path, live_heartbeat_seconds=0.2)
    async with program(settings) as api, listening(api) as one:
        await observed(api, 1)
        await api.settled()
        await eventually(lambda: got(one, 1))
        with stopped(postgres):
            # More than there are sessions, and those that come later.
            for _ in range(2):
                answers = await asyncio.gather(
                    *(api.http.get(f"{HOME}/r1") for _ in range(40)), api.http.get(HOME)
                )
                assert {one.status_code for one in answers} == {503}
                problem = answers[0].json()
                assert problem["code"] == "unavailable"
                assert problem["detail"].startswith("Postgres does not answer: it stands still")
                assert answers[0].headers["Retry-After"]
            async with httpx.AsyncClient(base_url=api.address, timeout=60) as anybody:
                ready = await anybody.get("/readyz")
                assert ready.status_code == 503
                assert any("Postgres does not answer" in one for one in ready.json()["reasons"])
                assert (await anybody.get("/healthz")).status_code == 200
            # What is recorded meanwhile is heard of.
            await observed(api, 1, first=1)
            before = len(one.ids)
            await eventually(lambda: len(one.ids) > before)
        await eventually(lambda: _is_ready(api))
        await api.settled()
        assert (await api.get(f"{HOME}/r1"))["snapshots"] == 2
        await observed(api, 1, first=2)
        head = await api.settled()
        await eventually(lambda: (one.last_id or 0) >= head)
        assert not one.ended
        assert len(one.ids) == len(set(one.ids))


@pytest.mark.usefixtures("impatient")
async def test_statements_are_given_up_and_one_that_takes_long_is_not(
    postgres: EmbeddedPostgres,
) -> None:
    async with open_pool(postgres.dsn, max_size=2) as pool:
        assert await pool.fetchval("SELECT pg_sleep(1.5)::text") == ""
        with stopped(postgres):
            for _ in range(3):
                with pytest.raises(Unavailable, match="Postgres does not answer: it stands still"):
                    await pool.fetchval("SELECT 1")
        await eventually(lambda: _answers(pool))


@pytest.mark.usefixtures("impatient")
async def test_who_no_longer_waits_for_a_statement_leaves_no_session_that_waits_for_ever(
    postgres: EmbeddedPostgres,
) -> None:
    async with open_pool(postgres.dsn, max_size=1) as pool:
        await pool.fetchval("SELECT 1")
        with stopped(postgres):
            asking = asyncio.create_task(pool.fetchval("SELECT 2"))
            await asyncio.sleep(0)
            await eventually(lambda: pool.get_idle_size() == 0)
            asking.cancel()
            # Its session is waited for in vain, but not for ever.
            with pytest.raises(Unavailable):
                await pool.fetchval("SELECT 1")
            await asyncio.wait([asking])
        await eventually(lambda: _answers(pool))


@pytest.mark.usefixtures("impatient")
async def test_a_transaction_that_stood_still_is_not_gone_on_with(
    postgres: EmbeddedPostgres,
) -> None:
    async with open_pool(postgres.dsn, max_size=1, reset=False) as pool:
        await pool.execute("CREATE TABLE told (a integer)")

        async def write() -> None:
            async with pool.acquire() as session, session.transaction():
                await session.execute("INSERT INTO told VALUES (1)")
                with stopped(postgres):
                    await session.execute("INSERT INTO told VALUES (2)")

        # asyncpg stumbles over the session that is gone.
        with pytest.raises((Unavailable, asyncpg.InterfaceError)) as told:
            await write()
        assert is_outage(told.value)
        await eventually(lambda: _answers(pool))
        assert await pool.fetchval("SELECT count(*) FROM told") == 0


async def _answers(pool: Pool) -> bool:
    try:
        return bool(await pool.fetchval("SELECT 1") == 1)
    except Unavailable:
        return False


async def _is_ready(api: Api) -> bool:
    async with httpx.AsyncClient(base_url=api.address, timeout=60) as anybody:
        return (await anybody.get("/readyz")).status_code == 200
