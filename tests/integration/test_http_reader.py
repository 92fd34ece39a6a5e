"""The API with a login of its own for reading, as whom it can't become anybody else."""

from __future__ import annotations

import secrets
from pathlib import Path

import asyncpg
import pytest

from adapters.embedded import postgres
from adapters.embedded.nats import EmbeddedNats
from adapters.embedded.postgres import EmbeddedPostgres
from projections.tenancy import COPIER, READER, SETTING
from tests.serving import HOME, NOON, TEXTS, program, settings_for


async def test_reads_are_answered_by_a_login_that_can_do_nothing_else(
    nats_server: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its own server: the role is the whole server's, and others count on it having no login.
    password = secrets.token_hex(16)
    administered = f"{postgres._ROLES}ALTER ROLE {READER} LOGIN PASSWORD '{password}'\n"
    monkeypatch.setattr(postgres, "_ROLES", administered)
    server = EmbeddedPostgres(tmp_path / "postgres", password=secrets.token_hex(16), durable=False)
    await server.start()
    try:
        scheme, _, rest = server.dsn.partition("://")
        reader = f"{scheme}://{READER}:{password}@{rest.rpartition('@')[2]}"
        settings = settings_for(nats_server, server.dsn, tmp_path, postgres_reader_dsn=reader)
        async with program(settings) as api:
            for tenant in ("acme", "other"):
                await api.system.intake.publish(tenant, "r1", TEXTS[0], NOON)
            await api.settled()
            assert (await api.get(HOME))["total"] == 1
            assert (await api.get("/api/tenants/acme/search", q="ether1"))["searched"] == 1
            assert await api.system.rows.readers.fetchval("SELECT session_user") == READER
            async with api.system.rows.readers.acquire() as session:
                assert await session.fetch("SELECT * FROM configtrail.devices") == []
                for role in ("postgres", postgres.USER, COPIER):
                    with pytest.raises(asyncpg.PostgresError):
                        await session.execute(f'SET ROLE "{role}"')
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await session.fetch("SELECT * FROM configtrail.access_keys")
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await session.execute("DELETE FROM configtrail.audit")
                async with session.transaction():
                    await session.execute("SELECT set_config($1, 'other', true)", SETTING)
                    found = await session.fetch("SELECT tenant_id FROM configtrail.devices")
                    assert {one["tenant_id"] for one in found} == {"other"}
    finally:
        await server.stop()
