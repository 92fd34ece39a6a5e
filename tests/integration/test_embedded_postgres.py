"""The embedded Postgres starts for anybody, keeps its data, and tells nothing in its log."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import asyncpg
import pytest

from adapters.embedded.errors import ServerFailed
from adapters.embedded.postgres import EmbeddedPostgres, postgres_binaries
from adapters.embedded.process import Identity, unprivileged_identities


async def run(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_stop_kill_and_start_keep_data_and_port(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg", password="secret")
    await server.start()
    try:
        await run(server.dsn, "CREATE TABLE kept AS SELECT 7 AS x")
        dsn = server.dsn
        await server.stop()
        await server.start()
        assert server.dsn == dsn
        await run(server.dsn, "UPDATE kept SET x = x + 1")
        await server.kill()
        await server.start()
        assert await run(server.dsn, "SELECT x FROM kept") == 8
        assert await run(server.dsn, "SHOW fsync") == "on"
    finally:
        await server.stop()


async def test_an_interrupted_creation_is_begun_again(tmp_path: Path) -> None:
    half = tmp_path / "pg" / "cluster.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres(tmp_path / "pg", password="secret", durable=False)
    await server.start()
    try:
        assert await run(server.dsn, "SELECT 1") == 1
    finally:
        await server.stop()


async def test_a_cluster_that_lacks_the_roles_gets_them_and_one_that_has_them_keeps_them(
    tmp_path: Path,
) -> None:
    server = EmbeddedPostgres(tmp_path / "pg", password="secret", durable=False)
    roles = (
        "SELECT count(*) FROM pg_roles"
        " WHERE rolname LIKE 'configtrail%' AND pg_has_role('configtrail', oid, 'SET')"
    )
    for _ in range(2):
        await server.start()
        try:
            # The service's own, who reads for a tenant, and who copies.
            assert await run(server.dsn, roles) == 3
        finally:
            await server.stop()
        # As an older program left it, or one that was killed right here.
        (tmp_path / "pg" / "roles").unlink()


async def test_only_the_password_opens_it(postgres_server: EmbeddedPostgres) -> None:
    for user in ("configtrail", "postgres"):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await run(
                postgres_server.dsn.replace("//configtrail:", f"//{user}:x"),
                "SELECT 1",
            )


async def test_the_service_is_no_superuser_and_text_sorts_by_code_point(postgres_dsn: str) -> None:
    assert not await run(postgres_dsn, "SELECT usesuper FROM pg_user WHERE usename = current_user")
    assert await run(postgres_dsn, "SHOW server_encoding") == "UTF8"
    assert await run(postgres_dsn, "SELECT 'B' < 'a' AND upper('é') = 'É'")


async def test_each_test_has_an_empty_database(postgres_dsn: str) -> None:
    assert await run(postgres_dsn, "SELECT count(*) FROM pg_class WHERE relname = 'mine'") == 0
    await run(postgres_dsn, "CREATE TABLE mine ()")


async def test_the_log_tells_no_values(
    postgres_server: EmbeddedPostgres, postgres_dsn: str
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    try:
        await connection.execute("CREATE TABLE secret (x text PRIMARY KEY)")
        await connection.execute("INSERT INTO secret VALUES ($1)", "canary-77")
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute("INSERT INTO secret VALUES ($1)", "canary-77")
        with pytest.raises(asyncpg.PostgresSyntaxError):
            await connection.execute("SELEC 'canary-77'")
    finally:
        await connection.close()
    log = postgres_server.log.read_text()
    assert "duplicate key" in log
    assert "canary-77" not in log


def nobody() -> Identity:
    entry = pwd.getpwnam("nobody")
    return Identity("user", entry.pw_uid, entry.pw_gid)


def possible(identity: Identity) -> bool:
    """Whether this machine lets root do so: many containers forbid user namespaces."""
    if identity.kind == "mapped":
        unshare = shutil.which("unshare")
        if unshare is None:
            return False
        command = [unshare, "--user", "--map-root-user", "true"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    binaries = postgres_binaries()
    return all(folder.stat().st_mode & 0o001 for folder in (binaries, *binaries.parents))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_root_runs_it_in_every_way_on_the_same_data() -> None:
    ways = [identity for identity in unprivileged_identities() if possible(identity)]
    with tempfile.TemporaryDirectory() as folder:
        for rows, identity in enumerate([*ways, *ways]):
            server = EmbeddedPostgres(
                Path(folder) / "pg", password="secret", durable=False, identities=[identity]
            )
            await server.start()
            try:
                assert server.identity == identity
                await run(server.dsn, "CREATE TABLE IF NOT EXISTS kept (x int)")
                assert await run(server.dsn, "SELECT count(*) FROM kept") == rows
                await run(server.dsn, f"INSERT INTO kept VALUES ({rows})")
            finally:
                await server.stop()


async def test_no_way_to_run_is_explained(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    server = EmbeddedPostgres(
        hidden / "deeper" / "deepest" / "pg", password="secret", identities=[nobody()]
    )
    with pytest.raises(ServerFailed, match="user namespaces") as failure:
        await server.start()
    assert "as the user" in failure.value.reason
    assert "ermi" in failure.value.reason
    assert not server.running
