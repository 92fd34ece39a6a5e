"""Pages as JSON, put together by Postgres: a page is one value, and whoever answers with it need
not take it apart.

To take a thousand values off the wire, make structs of them and encode these costs a multiple of
what their JSON costs where the rows are. What is here are expressions of SQL; the names in them are
this program's own, and never anybody's input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import asyncpg
from msgspec import Struct

from projections.questions import Question
from projections.rows import Reader
from projections.tenancy import TenantReader

# The record separator of RFC 7464, here and in SQL.
_BETWEEN = "\x1e"
BETWEEN_SQL = r"E'\x1e'"


class Shown(NamedTuple):
    """A value as JSON: an expression, and what stands around that. Not `named`: its names are in
    it."""

    expression: str
    before: str = ""
    after: str = ""
    named: bool = True


class Page(Struct, frozen=True, gc=False):
    """Items, each as JSON, of which the last may be the next page's first: one more is asked for
    than belongs to the page. `last` is the place of the last one that does, where there are as
    many; `total` how many there are in all, None where the statement does not tell."""

    items: list[str]
    total: int | None
    last: Any


def text(expression: str) -> Shown:
    """Text, never null."""
    return Shown(f"to_json({expression})")


def texts(expression: str) -> Shown:
    """An array of texts, never null and mostly empty."""
    shown = f"to_json({expression})::text"
    return Shown(f"CASE cardinality({expression}) WHEN 0 THEN '[]' ELSE {shown} END")


def word(expression: str) -> Shown:
    """One of a few words of this program's own, never null: nothing in it is to be escaped."""
    return Shown(expression, '"', '"')


def number(expression: str) -> Shown:
    """A number, or what is JSON already; never null."""
    return Shown(expression)


def fields(expression: str) -> Shown:
    """Fields with their names, as they stand in an object; never null."""
    return Shown(expression, named=False)


def boolean(expression: str) -> Shown:
    """True or false, never null."""
    return Shown(f"({expression})::text")


def time(expression: str) -> Shown:
    """A time, never null, in UTC whatever zone the session has, as other answers have it: with six
    digits behind the second, or none. One without end is as far as Python's times go, which become
    just that when they are stored."""
    shown = f"left(to_json({expression} AT TIME ZONE 'UTC')::text, -1)"
    whole = f"{expression} = {expression}::timestamptz(0)"
    told = f"""
        CASE WHEN NOT isfinite({expression}) THEN
                 CASE {expression} WHEN 'infinity' THEN '"9999-12-31T23:59:59.999999'
                     ELSE '"0001-01-01T00:00:00' END
             WHEN {whole} THEN {shown} ELSE rpad({shown}, 27, '0') END
    """
    return Shown(told, after='Z"')


def event_time(expression: str) -> Shown:
    """The same of what an event told, which is of the years 1 to 9999: in half of the time."""
    shown = f"to_char({expression} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS"
    whole = f"{expression} = {expression}::timestamptz(0)"
    return Shown(f"CASE WHEN {whole} THEN {shown}') ELSE {shown}.US') END", '"', 'Z"')


def or_null(shown: Shown) -> Shown:
    """The same of what may be null."""
    parts = [f"'{shown.before}'", f"({shown.expression})::text", f"'{shown.after}'"]
    whole = " || ".join(one for one in parts if one != "''")
    return Shown(f"coalesce({whole}, 'null')")


def json_object(fields: Mapping[str, Shown]) -> str:
    """The expression of an object, as text."""
    parts: list[str] = []
    literal = "{"
    for name, shown in fields.items():
        named = f'"{name}":' if shown.named else ""
        parts += [f"'{literal}{named}{shown.before}'", shown.expression]
        literal = f"{shown.after},"
    return f"concat({', '.join(parts)}, '{literal[:-1]}}}')"


def page_of(
    name: str,
    item: str,
    found: str,
    *,
    takes: Sequence[str],
    limit: str,
    place: Mapping[str, str],
    total: str = "NULL::bigint",
    in_all: str = "max(total)",
) -> Question:
    """The question for a page. `found` is what follows the columns in a statement that finds the
    rows in their order, up to one more than `limit`; `place` are columns of each row, with their
    types, and `total` is one, unless `in_all` tells it of them all.

    The items stand in one text, with a character between them that JSON can't have. (It can have
    ends of lines, where somebody edited a row that holds JSON.)
    """
    columns = "".join(f", {one} AS place{number}" for number, one in enumerate(place))
    last = "".join(f", (array_agg(page.place{one}))[{limit}]" for one in range(len(place)))
    statement = f"""
        SELECT string_agg(page.item, {BETWEEN_SQL}), {in_all}{last}
        FROM (SELECT {item} AS item, {total} AS total{columns} {found}) AS page
    """
    return Question(name, tuple(takes), ("text", "bigint", *place.values()), statement)


async def fetch_page(reader: Reader, question: Question, tenant_id: str, *args: Any) -> Page:
    """The page that a question of `page_of` is for."""
    if isinstance(reader, TenantReader):
        return page_in(await reader.ask(question, tenant_id, *args))
    return page_in(await reader.fetchrow(question.statement, tenant_id, *args))


def page_in(record: asyncpg.Record | None) -> Page:
    """The page in the one row of an answer."""
    assert record is not None
    items, total, *last = record
    place = last[0] if len(last) == 1 else tuple(last)
    return Page([] if items is None else items.split(_BETWEEN), total, place)
