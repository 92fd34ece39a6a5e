"""Real servers for the tests, each started, and stopped, by the test run itself."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from adapters.embedded.nats import EmbeddedNats
from adapters.embedded.postgres import EmbeddedPostgres


@pytest_asyncio.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    """A fresh nats-server with nothing in it, encrypting and syncing as in production."""
    server = EmbeddedNats(
        tmp_path / "nats",
        encryption_key=secrets.token_hex(32),
        user="tests",
        password=secrets.token_hex(16),
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[EmbeddedPostgres]:
    """One Postgres for the whole run, without fsync. Don't kill it: start your own for that."""
    server = EmbeddedPostgres(
        tmp_path_factory.mktemp("postgres"), password=secrets.token_hex(16), durable=False
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest_asyncio.fixture
async def postgres_dsn(postgres_server: EmbeddedPostgres) -> AsyncIterator[str]:
    """A fresh, empty database, dropped afterwards whoever is still connected."""
    name = f"test_{secrets.token_hex(8)}"
    await _execute(postgres_server.dsn, f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        yield postgres_server.dsn_of(name)
    finally:
        await _execute(postgres_server.dsn, f"DROP DATABASE {name} WITH (FORCE)")


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
