"""Tenants apart in Postgres: row-level security on every table that has a tenant.

Whoever answers for a tenant reads as the role `READER`, which owns nothing and may only select, and
says in each transaction for whom. Without that it sees no row. The owner of the tables writes for
all tenants; a policy says so, since row-level security is forced on owners too. The role `COPIER`,
where there is one, may add rows past it (`projections.copying`), and can't read any.
Invariant: no table with a `tenant_id` is without, in the live schema or in a rebuild's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, TypeAlias

import asyncpg

from domain.errors import InvalidInput
from domain.granting import NO_TENANT
from domain.ids import check_tenant_id
from projections.questions import Question, make_functions
from projections.rows import BUILD_SCHEMA, SCHEMA, Connection, Pool
from projections.transactions import begun

READER = "configtrail_reader"
COPIER = "configtrail_copier"
SETTING = "configtrail.tenant"
# Only the service itself reads these, before and beside any tenant.
_PRIVATE = frozenset({"access_keys", "parked"})

# What whoever administers an external server runs, where the service's user may not do it.
ROLE_SQL = f"CREATE ROLE {READER} NOLOGIN; GRANT {READER} TO <the service's user>;"

_CAN_READ = "SELECT pg_has_role(current_user, oid, 'SET') FROM pg_roles WHERE rolname = $1"
_OPEN = """
    SELECT n.nspname, c.relname FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
    WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p')
      AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
    ORDER BY 1, 2
"""
# Tables with it that the role `COPIER` may not add rows to, if there is that role.
_CLOSED = """
    SELECT n.nspname, c.relname FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_roles r ON r.rolname = $3 AND r.rolbypassrls
    WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p') AND c.relrowsecurity
      AND c.relname <> ALL($2) AND NOT has_table_privilege(r.oid, c.oid, 'INSERT')
    ORDER BY 1, 2
"""
_MINE = f"tenant_id = NULLIF(current_setting('{SETTING}', true), '')"

_ONE_PLAN = "; SET LOCAL plan_cache_mode = force_generic_plan"


async def ensure_reader(connection: Connection) -> None:
    """Make the role, and let this user take it, unless that is so.

    Raises `InvalidInput` with what to run when this user may not do it.
    """
    can = await connection.fetchval(_CAN_READ, READER)
    if can:
        return
    try:
        async with connection.transaction():
            if can is None:
                await connection.execute(f"CREATE ROLE {READER} NOLOGIN")
            await connection.execute(f"GRANT {READER} TO CURRENT_USER WITH SET TRUE")
    except asyncpg.DuplicateObjectError:
        pass  # made by another program meanwhile
    except asyncpg.InsufficientPrivilegeError:
        raise InvalidInput(
            "CONFIGTRAIL_POSTGRES_DSN",
            f"its user can't take the role {READER}, as which tenants' rows are read; as a "
            f"superuser run: {ROLE_SQL}",
        ) from None


async def fence(connection: Connection) -> None:
    """Put row-level security on every table that lacks it, inside the caller's transaction."""
    await connection.execute(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {READER}")
    for schema, name in await connection.fetch(_OPEN, [SCHEMA, BUILD_SCHEMA]):
        table = f'{schema}."{name}"'
        await connection.execute(
            f"""
            ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
            ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
            DROP POLICY IF EXISTS of_tenant ON {table};
            DROP POLICY IF EXISTS of_service ON {table};
            CREATE POLICY of_tenant ON {table} TO {READER} USING ({_MINE}) WITH CHECK ({_MINE});
            CREATE POLICY of_service ON {table} TO CURRENT_USER USING (true) WITH CHECK (true);
            """
        )
        if name not in _PRIVATE:
            await connection.execute(f"GRANT SELECT ON {table} TO {READER}")
    closed = await connection.fetch(_CLOSED, [SCHEMA, BUILD_SCHEMA], list(_PRIVATE), COPIER)
    for schema, name in closed:
        await connection.execute(
            f"GRANT USAGE ON SCHEMA {schema} TO {COPIER};"
            f' GRANT INSERT ON {schema}."{name}" TO {COPIER}'
        )


async def make_askable(connection: Connection, questions: Sequence[Question]) -> None:
    """Let these be asked by the reader, inside the caller's transaction."""
    await make_functions(connection, questions, SETTING, READER)


Turn: TypeAlias = Callable[[str], AbstractAsyncContextManager[None]]


def _at_once(tenant_id: str) -> AbstractAsyncContextManager[None]:
    return nullcontext()


class TenantReader:
    """One tenant's rows, and nobody else's: each question in a transaction that says whose.

    `pool` holds sessions of the role `READER`. Nothing outlives the transaction in one, so it need
    not be cleaned when it goes back. `turn` gives the tenant its turn at one of them. `missing` are
    functions of questions that were not there, as in a database that was made anew meanwhile.
    """

    def __init__(
        self,
        pool: Pool,
        tenant_id: str,
        turn: Turn = _at_once,
        missing: set[str] | None = None,
    ) -> None:
        self._pool = pool
        self._turn = turn
        self._missing = set() if missing is None else missing
        # What is about no tenant has a name that no tenant can have.
        self._tenant_id = NO_TENANT if tenant_id == NO_TENANT else check_tenant_id(tenant_id)
        # In one message, since every message is a way to the server and back. There are no
        # parameters in such a one; an id of a tenant has no character that means anything in SQL.
        self._begin = f"BEGIN READ ONLY; SET LOCAL {SETTING} = '{self._tenant_id}'"

    @asynccontextmanager
    async def session(self, *, one_plan: bool = False) -> AsyncIterator[Connection]:
        """A session that reads the tenant's rows, in one transaction, until the block ends.

        `one_plan`: for statements that are best run in one way whatever they are asked for, so that
        the server need not think of a plan each time.
        """
        async with (
            self._turn(self._tenant_id),
            self._pool.acquire() as connection,
            begun(connection, self._begin + _ONE_PLAN * one_plan),
        ):
            yield connection

    async def ask(self, question: Question, tenant_id: str, *args: Any) -> asyncpg.Record | None:
        """The first row of the answer to a question about this tenant."""
        if tenant_id != self._tenant_id:
            raise ValueError("a question about another tenant's rows")
        if question.function not in self._missing:
            try:
                async with self._turn(tenant_id), self._pool.acquire() as connection:
                    return await connection.fetchrow(question.call, tenant_id, *args)
            except asyncpg.UndefinedFunctionError:
                self._missing.add(question.function)
        async with self.session(one_plan=True) as connection:
            return await connection.fetchrow(question.statement, tenant_id, *args)

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """The rows of an answer."""
        async with self.session() as connection:
            return await connection.fetch(query, *args)

    async def fetchrow(self, query: str, *args: Any) -> asyncpg.Record | None:
        """The first row of an answer."""
        async with self.session() as connection:
            return await connection.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: Any) -> Any:
        """The first value of an answer."""
        async with self.session() as connection:
            return await connection.fetchval(query, *args)
