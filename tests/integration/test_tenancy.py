"""Tenants apart in Postgres: by the catalogue, by straight SQL, and by every query that we have."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from adapters.composition.rows import QUESTIONS
from adapters.embedded.postgres import DATABASE, USER, EmbeddedPostgres
from adapters.postgres.pool import open_pool
from domain.errors import InvalidInput
from projections import ALL, AUDIT
from projections.audit.write import COLUMNS
from projections.builder import ProjectionBuilder
from projections.copying import copy_rows
from projections.outages import is_outage
from projections.questions import USED, Question
from projections.rebuilds import begin
from projections.rows import NEWEST, Connection, Pool
from projections.schema import BUILD, LIVE, ensure_schemas, lock_schemas, make_tables, write_to
from projections.tenancy import COPIER, READER, SETTING, TenantReader
from projections.writer import ProjectionWriter
from tests.generators import STREAM, played
from tests.listed import Listed, brought_in
from tests.support import eventually

EVENTS = played(4, 250).events
ROWS = AUDIT.fold(EVENTS)
UNPROTECTED = """
    SELECT n.nspname || '.' || c.relname FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
    WHERE n.nspname IN ('configtrail', 'configtrail_build') AND c.relkind IN ('r', 'p')
      AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (
          SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polcmd = '*'
          AND p.polwithcheck IS NOT NULL AND p.polroles = ARRAY[$1::regrole::oid]))
"""
TABLES = [table for projection in ALL for table in projection.tables if projection.name != "access"]


@pytest.fixture
async def pool(postgres_dsn: str) -> AsyncIterator[Pool]:
    async with open_pool(postgres_dsn) as opened:
        for projection in ALL:
            writer = ProjectionWriter(opened, projection, Listed(EVENTS))
            await writer.prepare(STREAM)
            await writer.apply(EVENTS)
        yield opened


@pytest.fixture
async def readers(postgres_dsn: str, pool: Pool) -> AsyncIterator[Pool]:
    # As the service has them.
    async with open_pool(postgres_dsn, role=READER, max_size=1, reset=False) as opened:
        yield opened


async def seen(connection: object, table: str) -> set[str]:
    query = f'SELECT DISTINCT tenant_id FROM configtrail."{table}"'
    return {tenant for (tenant,) in await connection.fetch(query)}  # type: ignore[attr-defined]


async def test_the_catalogue_shows_no_table_with_a_tenant_and_without_a_fence(pool: Pool) -> None:
    assert await pool.fetch(UNPROTECTED, READER) == []
    async with pool.acquire() as connection, connection.transaction():
        await lock_schemas(connection)
        for projection in ALL:
            await make_tables(connection, projection, BUILD, ())
        assert await connection.fetch(UNPROTECTED, READER) == []
    with_tenant = await pool.fetch(
        "SELECT table_name FROM information_schema.columns"
        " WHERE table_schema = 'configtrail' AND column_name = 'tenant_id'"
    )
    assert {name for (name,) in with_tenant} >= {
        table for projection in ALL for table in projection.tables
    }


async def test_the_role_owns_nothing_and_may_do_nothing_but_read(pool: Pool) -> None:
    role = await pool.fetchrow("SELECT * FROM pg_roles WHERE rolname = $1", READER)
    assert role is not None
    for power in ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolcanlogin"):
        assert not role[power]
    owned = "SELECT count(*) FROM pg_class WHERE relowner = $1::regrole"
    assert await pool.fetchval(owned, READER) == 0
    rights = await pool.fetch(
        "SELECT DISTINCT table_name, privilege_type FROM information_schema.role_table_grants"
        " WHERE grantee = $1 AND table_schema LIKE 'configtrail%'",
        READER,
    )
    assert {right for _, right in rights} == {"SELECT"}
    assert {table for table, _ in rights} == set(TABLES)
    views = (
        "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind"
        " IN ('v', 'm') AND nspname LIKE 'configtrail%'"
        " AND NOT coalesce('security_invoker=true' = ANY(reloptions), false)"
    )
    assert await pool.fetchval(views) == 0


async def ready(pool: Pool) -> None:
    """The functions of questions, as a program makes them when it starts."""
    await ensure_schemas(pool, QUESTIONS)
    await ensure_schemas(pool, QUESTIONS)  # as the next one does


# What a tenant's questions are asked with: of each the largest page.
ASKED: dict[str, tuple[Any, ...]] = {
    "snapshots": ("edge-1", 500, 0, *NEWEST),
    "devices": (500, 0, ""),
    "history": ("edge-1", *NEWEST, 500, 0),
    "audit": (500, 0),
}


async def test_a_question_answers_by_its_function_as_by_its_statement(
    pool: Pool, readers: Pool
) -> None:
    await ready(pool)
    assert {one.name for one in QUESTIONS} == set(ASKED)
    for question in QUESTIONS:
        missing: set[str] = set()
        reader = TenantReader(readers, "acme", missing=missing)
        asked = await reader.ask(question, "acme", *ASKED[question.name])
        assert asked is not None
        assert asked[0]
        assert missing == set()
        async with reader.session() as session:
            told = await session.fetchrow(question.statement, "acme", *ASKED[question.name])
        assert tuple(asked) == tuple(told or ())


async def test_a_function_shows_one_tenant_s_rows_while_it_runs_and_nothing_after_it(
    pool: Pool, readers: Pool
) -> None:
    await ready(pool)
    own = await pool.fetch(
        "SELECT prosecdef, proowner::regrole::text FROM pg_proc p JOIN pg_namespace n"
        " ON n.oid = pronamespace WHERE nspname = 'configtrail'"
    )
    assert {tuple(one) for one in own} == {(False, await pool.fetchval("SELECT current_user"))}
    for question in QUESTIONS:
        for tenant in ("acme", "globex", "nobody", "acme", "", "acme' OR true --"):
            async with readers.acquire() as session:
                found = await session.fetchrow(question.call, tenant, *ASKED[question.name])
                assert found is not None
                if tenant not in ("acme", "globex"):
                    assert found[0] is None
                    assert not found[1]
                # One session for all: nothing of the question is left in it.
                assert not await session.fetchval(f"SELECT current_setting('{SETTING}', true)")
                assert await seen(session, "audit") == set()
        with pytest.raises(ValueError, match="another tenant"):
            await TenantReader(readers, "acme").ask(question, "globex", *ASKED[question.name])
    [devices] = [one for one in QUESTIONS if one.name == "devices"]
    named = {
        tenant: await readers.fetchval(devices.call, tenant, *ASKED["devices"])
        for tenant in ("acme", "globex")
    }
    assert named["acme"] != named["globex"]


async def test_a_question_is_about_the_tables_that_took_the_place_of_others(
    pool: Pool, readers: Pool
) -> None:
    await ready(pool)
    reader = TenantReader(readers, "acme")
    for question in QUESTIONS:
        for _ in range(2):
            found = await reader.ask(question, "acme", *ASKED[question.name])
            assert found is not None
            assert found[0]
    async with pool.acquire() as connection, connection.transaction():
        await lock_schemas(connection)
        for projection in ALL:
            await make_tables(connection, projection, LIVE, ())
    for question in QUESTIONS:
        found = await reader.ask(question, "acme", *ASKED[question.name])
        assert found is not None
        assert found[0] is None


async def test_a_question_is_answered_where_its_function_is_missing(
    pool: Pool, readers: Pool
) -> None:
    missing: set[str] = set()
    reader = TenantReader(readers, "acme", missing=missing)
    for question in QUESTIONS:
        for _ in range(2):
            asked = await reader.ask(question, "acme", *ASKED[question.name])
            assert asked is not None
            assert asked[0]
        assert question.function in missing


OF_OTHERS = Question(
    "devices",
    ("text",),
    ("bigint",),
    "SELECT count(*) FROM configtrail.devices WHERE tenant_id = $1",
)
FUNCTIONS = """
    SELECT proname, obj_description(p.oid, 'pg_proc') FROM pg_proc p
    JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = 'configtrail'
"""


async def test_functions_that_no_program_asks_by_any_more_go(pool: Pool, readers: Pool) -> None:
    await ensure_schemas(pool, [OF_OTHERS])
    other = TenantReader(readers, "acme", missing=set())
    assert tuple(await other.ask(OF_OTHERS, "acme") or ()) == (2,)
    own = {one.function for one in QUESTIONS}
    age = f"COMMENT ON FUNCTION configtrail.{OF_OTHERS.function}(text) IS "
    # One of a former version, which says nothing of that, is new from here on.
    await pool.execute(f"{age} NULL")
    for _ in range(2):
        await ready(pool)
        there = {tuple(one) for one in await pool.fetch(FUNCTIONS)}
        today = await pool.fetchval("SELECT current_date::text")
        assert there == {(one, f"{USED}{today}") for one in own | {OF_OTHERS.function}}
    for days, gone in ((30, False), (31, True)):
        await pool.execute(f"{age} '{USED}{date.fromisoformat(today) - timedelta(days)}'")
        await ensure_schemas(pool)  # as by a command that asks none
        assert len(await pool.fetch(FUNCTIONS)) == len(own) + 1
        await ready(pool)
        left = {name for name, _ in await pool.fetch(FUNCTIONS)}
        assert left == (own if gone else own | {OF_OTHERS.function})
        # Who still asks by it is answered all the same.
        assert tuple(await other.ask(OF_OTHERS, "acme") or ()) == (2,)


async def test_who_copies_past_the_fence_may_add_rows_and_neither_read_nor_change_them(
    pool: Pool,
) -> None:
    role = await pool.fetchrow("SELECT * FROM pg_roles WHERE rolname = $1", COPIER)
    assert role is not None
    assert role["rolbypassrls"]
    for power in ("rolsuper", "rolcreaterole", "rolcreatedb", "rolcanlogin"):
        assert not role[power]
    owned = "SELECT count(*) FROM pg_class WHERE relowner = $1::regrole"
    assert await pool.fetchval(owned, COPIER) == 0
    rights = await pool.fetch(
        "SELECT DISTINCT table_name, privilege_type FROM information_schema.role_table_grants"
        " WHERE grantee = $1 AND table_schema LIKE 'configtrail%'",
        COPIER,
    )
    assert {right for _, right in rights} == {"INSERT"}
    assert {table for table, _ in rights} == set(TABLES)
    for statement in (
        "SELECT FROM configtrail.audit",
        "INSERT INTO configtrail.fleet_triggers SELECT * FROM configtrail.fleet_triggers",
        "UPDATE configtrail.audit SET tenant_id = 'globex'",
        "DELETE FROM configtrail.audit",
        "TRUNCATE configtrail.audit",
        "INSERT INTO configtrail.access_keys DEFAULT VALUES",
        "INSERT INTO configtrail.parked DEFAULT VALUES",
        "CREATE TABLE configtrail.mine (x integer)",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(f"SET LOCAL ROLE {COPIER}; {statement}")


async def test_who_reads_for_a_tenant_can_not_become_who_copies(pool: Pool) -> None:
    can = "SELECT pg_has_role($1, $2, 'MEMBER')"
    assert not await pool.fetchval(can, READER, COPIER)
    assert not await pool.fetchval(can, COPIER, READER)


async def test_a_copy_needs_no_temporary_table_and_leaves_no_role_behind(pool: Pool) -> None:
    async with pool.acquire() as connection:
        user = await connection.fetchval("SELECT current_user")
        database = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC, {user}")
        async with connection.transaction():
            await copied_anew(connection)
            assert await connection.fetchval("SELECT current_user") == user
            with pytest.raises(asyncpg.UniqueViolationError):
                async with connection.transaction():
                    await copy_rows(connection, "audit", COLUMNS, ROWS)
            assert await connection.fetchval("SELECT current_user") == user
        assert await connection.fetchval("SELECT current_user") == user


async def test_without_that_role_rows_come_in_all_the_same(pool: Pool) -> None:
    there = await pool.fetch("SELECT * FROM configtrail.audit ORDER BY position")
    await pool.execute(f"REVOKE INSERT ON configtrail.audit FROM {COPIER}")
    async with pool.acquire() as connection, connection.transaction():
        await copied_anew(connection)
    assert await pool.fetch("SELECT * FROM configtrail.audit ORDER BY position") == there


class Owned(EmbeddedPostgres):
    """A server where the user may be another role, which owns the tables."""

    async def _add_roles(self) -> None:
        await super()._add_roles()
        await self._run(
            ["postgres", "--single", "-D", str(self._cluster), "template1"],
            f"CREATE ROLE owner NOLOGIN\nGRANT owner TO {USER}\n"
            f"GRANT {READER}, {COPIER} TO owner\nGRANT CREATE ON DATABASE {DATABASE} TO owner\n",
        )


async def test_who_copies_is_afterwards_whom_the_dsn_says(tmp_path: Path) -> None:
    postgres = Owned(tmp_path / "postgres", password="secretsecret", durable=False)
    await postgres.start()
    try:
        async with open_pool(postgres.dsn + "&options=-c%20role%3Downer") as pool:
            await brought_in(pool, [AUDIT], EVENTS)
            async with pool.acquire() as connection:
                async with connection.transaction():
                    await copied_anew(connection)
                    who = await connection.fetchrow("SELECT session_user, current_user")
                    assert tuple(who or ()) == (USER, "owner")
                    await connection.execute("DELETE FROM audit WHERE position = 1")
                assert await connection.fetchval("SELECT current_user") == "owner"
            assert await pool.fetchval("SELECT count(*) FROM configtrail.audit") == len(EVENTS) - 1
            of = "SELECT relowner::regrole::text FROM pg_class WHERE oid = $1::regclass"
            assert await pool.fetchval(of, "configtrail.audit") == "owner"
    finally:
        await postgres.stop()


async def copied_anew(connection: Connection) -> None:
    """Take the audit trail's rows out, and copy them in again."""
    await write_to(connection, LIVE)
    await connection.execute("DELETE FROM audit")
    await copy_rows(connection, "audit", COLUMNS, ROWS)


async def test_straight_sql_sees_its_tenant_and_nothing_without_one(
    pool: Pool, readers: Pool
) -> None:
    there = {table: await seen(pool, table) for table in TABLES}
    assert there["audit"] == {"acme", "globex"}
    async with readers.acquire() as connection:
        for table in TABLES:
            assert await seen(connection, table) == set()
        for tenant in ("acme", "globex", "", "nobody", "acme' OR true --", "_system"):
            async with connection.transaction():
                await connection.execute("SELECT set_config($1, $2, true)", SETTING, tenant)
                for table in TABLES:
                    assert await seen(connection, table) == there[table] & {tenant}
        for table in TABLES:
            assert await seen(connection, table) == set()


async def test_the_role_reads_no_keys_and_writes_nothing(readers: Pool) -> None:
    for statement in (
        "SELECT * FROM configtrail.access_keys",
        "SELECT * FROM configtrail.parked",
        "DELETE FROM configtrail.audit",
        "TRUNCATE configtrail.audit",
        "UPDATE configtrail.audit SET tenant_id = 'globex'",
        "CREATE TABLE configtrail.mine (x integer)",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await readers.execute(statement)


async def test_rows_of_another_tenant_can_be_neither_written_nor_moved(pool: Pool) -> None:
    async with pool.acquire() as connection:
        change = connection.transaction()
        await change.start()
        await connection.execute(f"GRANT INSERT, UPDATE ON configtrail.fleet TO {READER}")
        await connection.execute(f"SET LOCAL ROLE {READER}")
        await connection.execute("SELECT set_config($1, 'acme', true)", SETTING)
        for statement in (
            "INSERT INTO configtrail.fleet (tenant_id, device_id, last_position)"
            " VALUES ('globex', 'x', 1)",
            "UPDATE configtrail.fleet SET tenant_id = 'globex', device_id = 'moved'",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                async with connection.transaction():
                    await connection.execute(statement)
        await change.rollback()


async def test_a_session_of_the_pool_forgets_its_tenant_however_it_was_given_back(
    readers: Pool,
) -> None:
    reader = TenantReader(readers, "acme")
    count = "SELECT count(*) FROM configtrail.audit"
    assert await reader.fetchval(count) > 0
    assert await readers.fetchval(count) == 0
    with pytest.raises(asyncpg.DivisionByZeroError):
        await reader.fetchval("SELECT 1 / 0")
    assert await readers.fetchval(count) == 0
    sleeping = asyncio.create_task(reader.fetchval("SELECT pg_sleep(30)"))
    await eventually(lambda: readers.get_idle_size() == 0 and readers.get_size() == 1)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    assert await readers.fetchval(count) == 0
    with pytest.raises(asyncpg.QueryCanceledError):
        await _too_slow(reader)
    assert await readers.fetchval(count) == 0


async def test_questions_that_are_given_up_at_any_point_leave_no_tenant_behind(
    readers: Pool,
) -> None:
    choice = random.Random(7)
    tenants = "SELECT DISTINCT tenant_id FROM configtrail.audit"

    async def ask(tenant: str) -> None:
        assert {one for (one,) in await TenantReader(readers, tenant).fetch(tenants)} == {tenant}

    for _ in range(60):
        asking = [asyncio.create_task(ask(one)) for one in ("acme", "globex", "acme")]
        for _ in range(choice.randrange(12)):
            await asyncio.sleep(0)
        asking[choice.randrange(3)].cancel()
        for done in await asyncio.gather(*asking, return_exceptions=True):
            assert done is None or isinstance(done, asyncio.CancelledError)
        assert await readers.fetch(tenants) == []


async def test_a_session_that_dies_amid_a_question_says_so(pool: Pool, readers: Pool) -> None:
    reader = TenantReader(readers, "acme")
    await reader.fetchval("SELECT 1")
    sleeping = asyncio.create_task(reader.fetchval("SELECT pg_sleep(30)"))
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE $1"

    async def killed() -> bool:
        return bool(await pool.fetch(ended, "SELECT pg_sleep%"))

    await eventually(killed)
    # The last: its farewell came between two messages, which asyncpg stumbles over.
    ends = (asyncpg.AdminShutdownError, asyncpg.ConnectionDoesNotExistError)
    with pytest.raises((*ends, asyncpg.InternalClientError)) as died:
        await sleeping
    assert is_outage(died.value)
    assert await reader.fetchval("SELECT count(*) FROM configtrail.audit") > 0


async def _too_slow(reader: TenantReader) -> None:
    async with reader.session() as session:
        await session.execute("SET LOCAL statement_timeout = '20ms'")
        await session.fetchval("SELECT pg_sleep(30)")


async def test_a_rebuild_carries_its_fence_along(pool: Pool, readers: Pool) -> None:
    source = Listed(EVENTS)
    await begin(pool, AUDIT, STREAM)
    await ProjectionBuilder(pool, source, AUDIT).build()
    build = "SELECT build FROM configtrail.checkpoints WHERE projection = 'audit'"
    assert await pool.fetchval(build) > 0
    assert await pool.fetch(UNPROTECTED, READER) == []
    tenants = "SELECT DISTINCT tenant_id FROM configtrail.audit"
    assert await readers.fetch(tenants) == []
    assert await TenantReader(readers, "globex").fetchval(tenants) == "globex"


async def test_tables_from_before_get_their_fence(pool: Pool) -> None:
    await pool.execute("ALTER TABLE configtrail.fleet DISABLE ROW LEVEL SECURITY")
    await pool.execute(f"REVOKE ALL ON configtrail.audit FROM {COPIER}")
    async with pool.acquire() as connection, connection.transaction():
        await lock_schemas(connection)
    assert await pool.fetch(UNPROTECTED, READER) == []
    can = "SELECT has_table_privilege($1, 'configtrail.audit', 'INSERT')"
    assert await pool.fetchval(can, COPIER)


def test_only_a_tenant_can_be_read_for() -> None:
    for wrong in ("", "*", "_tenant", "a b"):
        with pytest.raises(InvalidInput):
            TenantReader(None, wrong)  # type: ignore[arg-type]
