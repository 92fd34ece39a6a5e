"""Real servers for the tests, each started, and stopped, by the test run itself."""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
import warnings
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import asyncpg
import hypothesis
import pytest
import pytest_asyncio
import uvloop

from adapters.embedded.nats import EmbeddedNats
from adapters.embedded.postgres import EmbeddedPostgres
from tests.support import eventually

# How long anything takes is no matter of a test: machines are shared.
hypothesis.settings.register_profile(
    "untimed",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    print_blob=True,
)
hypothesis.settings.load_profile("untimed")

# The loop that the program runs in: it differs from asyncio's own in what it refuses, and when.
with warnings.catch_warnings():
    # From Python 3.14 on policies go; pytest-asyncio's own way makes servers of the run anew.
    warnings.simplefilter("ignore", DeprecationWarning)
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's folder, which other users may pass through.

    Root runs Postgres as nobody where user namespaces are not to be had.
    """
    base = tmp_path_factory.getbasetemp()
    if os.geteuid() == 0:
        for folder in (base, *base.parents[:2]):
            if folder.stat().st_uid == 0:
                folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    return base


@pytest.fixture
def tmp_path(base_folder: Path, tmp_path: Path) -> Path:
    """The test's own folder, within reach of servers that run as another user."""
    assert base_folder in tmp_path.parents
    tmp_path.chmod(0o711)
    return tmp_path


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
    base_folder: Path,
) -> AsyncIterator[EmbeddedPostgres]:
    """One Postgres for the whole run, without fsync. Don't kill it: start your own for that."""
    server = EmbeddedPostgres(
        base_folder / "session-postgres", password=secrets.token_hex(16), durable=False
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
        await eventually(partial(_dropped, postgres_server.dsn, name))


async def _dropped(dsn: str, name: str) -> bool:
    """False while autovacuum is at work in the database: the tests' user may not end that."""
    try:
        await _execute(dsn, f"DROP DATABASE {name} WITH (FORCE)")
    except asyncpg.InsufficientPrivilegeError:
        return False
    return True


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
