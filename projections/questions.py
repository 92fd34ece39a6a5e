"""Questions that are asked much, each a function in the database: whose rows it is about, how it is
best planned and the question itself go there and back once.

As a transaction they are three messages, which cost as much as a small question does. In a function
one statement comes after the other, which the parts of one statement need not: whose rows may be
seen is said before any is looked at. It holds until the transaction ends, which is the statement
that calls the function, and the function has no more rights than its caller.
A function has the mark of its text in its name: each version of a program has its own. When a
program that asks by it was started last is written at each; those that none was started for in a
month go. Should there be one that still runs, it asks without them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Final

from projections.rows import SCHEMA, Connection

USED: Final = "by a program that started on "
_KEPT = timedelta(days=30)
_PREFIX = "asked_"
_EXISTING = """
    SELECT p.proname, p.oid::regprocedure::text, obj_description(p.oid, 'pg_proc')
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = $1 AND starts_with(p.proname, $2)
"""


@dataclass(frozen=True)
class Question:
    """A statement about one tenant, its first parameter. `takes` are the types of all parameters,
    `gives` those of the columns. It is best run in one way whatever it is asked for."""

    name: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    statement: str

    # Worked out once: a statement is long, and these are needed at each asking.
    @cached_property
    def function(self) -> str:
        """The name of its function."""
        text = repr((self.takes, self.gives, self.statement))
        return f"{_PREFIX}{self.name}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @cached_property
    def call(self) -> str:
        """The statement that asks by the function."""
        told = ", ".join(f"${one}" for one in range(1, len(self.takes) + 1))
        return f"SELECT * FROM {SCHEMA}.{self.function}({told})"

    def definition(self, setting: str, reader: str) -> str:
        """What makes the function. `setting` says whose rows the role `reader` may see."""
        given = ", ".join(f"given_{number} {one}" for number, one in enumerate(self.gives))
        name = f"{SCHEMA}.{self.function}"
        return f"""
            CREATE FUNCTION {name}({", ".join(self.takes)}) RETURNS TABLE ({given})
            LANGUAGE plpgsql STABLE SECURITY INVOKER
            SET plan_cache_mode = force_generic_plan AS $question$
            BEGIN
                PERFORM set_config('{setting}', $1, true);
                RETURN QUERY {self.statement};
            END
            $question$;
            GRANT EXECUTE ON FUNCTION {name} TO {reader};
        """


async def make_functions(
    connection: Connection, questions: Sequence[Question], setting: str, reader: str
) -> None:
    """Make the functions that are missing, and remove those that nobody uses any more, inside the
    caller's transaction."""
    if not questions:
        return
    wanted = {one.function: one for one in questions}
    for name in sorted(wanted.keys() - {name for name, _, _ in await _existing(connection)}):
        await connection.execute(wanted[name].definition(setting, reader))
    today = await connection.fetchval("SELECT current_date")
    for name, signature, told in await _existing(connection):
        used = _day(told)
        if used is None or name in wanted:
            if used != today:
                await connection.execute(f"COMMENT ON FUNCTION {signature} IS '{USED}{today}'")
        elif today - used > _KEPT:
            await connection.execute(f"DROP FUNCTION {signature}")


async def _existing(connection: Connection) -> list[tuple[str, str, str | None]]:
    """The functions that there are: name, signature, and what is written at each."""
    return [tuple(one) for one in await connection.fetch(_EXISTING, SCHEMA, _PREFIX)]


def _day(told: str | None) -> date | None:
    """When a program was started for a function; None where that is not written at it."""
    if told is None or not told.startswith(USED):
        return None
    try:
        return date.fromisoformat(told.removeprefix(USED))
    except ValueError:
        return None
