"""The pool waits for a server that is not there yet, and keeps the password to itself."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import sys
from pathlib import Path

import asyncpg
import pytest

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.postgres.pool import open_pool
from domain.errors import InvalidInput
from projections.outages import is_outage
from tests.support import eventually


async def test_values_and_settings(postgres_dsn: str) -> None:
    async with open_pool(postgres_dsn, application_name="the tests") as pool:
        value = {"text": "ö\\u0000", "list": [1, None, True], "nested": {"a": 1.5}}
        assert await pool.fetchval("SELECT $1::jsonb", value) == value
        assert await pool.fetchval("SELECT $1::jsonb ->> 'text'", value) == "ö\\u0000"
        assert await pool.fetchval("SHOW application_name") == "the tests"
        assert await pool.fetchval("SHOW statement_timeout") == "30s"
        assert await pool.fetchval("SHOW timezone") == "UTC"


@pytest.mark.skipif(sys.platform != "linux", reason="others name the options otherwise")
async def test_a_server_whose_machine_is_gone_is_noticed(postgres_dsn: str) -> None:
    """Whoever waits for its answer sends nothing, and so would never hear that it is gone."""
    async with open_pool(postgres_dsn) as pool, pool.acquire() as session:
        raw = session._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, interval, count = (
            raw.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + interval * count <= 60
        assert 0 < raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 60_000


async def test_it_waits_for_the_server_and_says_so_without_the_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    password = secrets.token_hex(16)
    server = EmbeddedPostgres(tmp_path / "postgres", password=password, durable=False)
    await server.start()
    dsn = server.dsn
    await server.stop()
    caplog.set_level(logging.DEBUG)

    async def first_query() -> int:
        async with open_pool(dsn) as pool:
            return int(await pool.fetchval("SELECT 42"))

    waiting = asyncio.create_task(first_query())
    await eventually(lambda: "waiting for Postgres" in caplog.text)
    assert not waiting.done()
    await server.start()
    try:
        assert await waiting == 42
    finally:
        await server.stop()
    assert password not in caplog.text


async def test_it_gives_up_when_told_to() -> None:
    with pytest.raises(ConnectionRefusedError):
        async with open_pool("postgresql://u:secret@127.0.0.1:1/db", wait_seconds=0):
            pass


async def test_what_waiting_does_not_heal_is_raised_at_once(postgres_dsn: str) -> None:
    wrong = postgres_dsn.replace("configtrail:", "configtrail:wrong", 1)
    with pytest.raises(asyncpg.InvalidPasswordError):
        async with open_pool(wrong):
            pass
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        async with open_pool(postgres_dsn.replace("/test_", "/absent_")):
            pass


@pytest.mark.parametrize(
    "dsn", ["postgresql://u:pa/ss@host/db", "mysql://u:pass@host", "host:pass"]
)
async def test_an_address_that_is_none_is_refused_without_quoting_it(dsn: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        async with open_pool(dsn, wait_seconds=0):
            pass
    assert "pa" not in str(caught.value).replace("password", "")
    assert caught.value.__suppress_context__


async def test_a_server_killed_amid_transactions_is_an_outage(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", password=secrets.token_hex(16))
    await server.start()

    async def write(began: asyncio.Event) -> None:
        async with open_pool(server.dsn, max_size=1) as pool:
            await pool.execute("CREATE TABLE IF NOT EXISTS t (a integer)")
            while True:
                async with pool.acquire() as session, session.transaction():
                    await session.copy_records_to_table("t", records=[(1,)] * 1000)
                began.set()

    try:
        for _ in range(6):
            began = asyncio.Event()
            writing = asyncio.create_task(write(began))
            await began.wait()
            await server.kill()
            await asyncio.wait([writing])
            error = writing.exception()
            assert error is not None
            assert is_outage(error), repr(error)
            await server.start()
    finally:
        await server.stop()
