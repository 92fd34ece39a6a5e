"""Pages that Postgres puts together as JSON are those of the same rows taken apart."""

from __future__ import annotations

import string
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from adapters.http.audit import AuditOut, audit_out
from adapters.http.devices import DeviceOut, device_out
from adapters.http.shown import Out, json_of
from adapters.http.snapshots import SnapshotOut
from adapters.postgres.pool import open_pool
from projections import ALL, backups
from projections.audit import AuditFilter, audit_page, shown_audit
from projections.rows import Pool
from projections.shown import boolean, json_object, number, or_null, text, texts, time, word
from projections.writer import ProjectionWriter
from tests.generators import DEVICES, STREAM, Fleet, played
from tests.listed import Listed

TENANTS = ("acme", "globex")


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return played(20, 500)


@pytest.fixture
async def pool(postgres_dsn: str, fleet: Fleet) -> AsyncIterator[Pool]:
    async with open_pool(postgres_dsn) as pool:
        for projection in ALL:
            writer = ProjectionWriter(pool, projection, Listed(fleet.events))
            await writer.prepare(STREAM)
            await writer.apply(fleet.events)
        yield pool


def taken(items: Sequence[str], kind: type[Out]) -> list[Any]:
    """The items, which have the fields of their kind in their order and no others."""
    for one in items:
        assert tuple(msgspec.json.decode(one)) == kind.__struct_fields__
    return [msgspec.json.decode(one, type=kind) for one in items]


def of_fields(kind: type[Out], row: Struct) -> Any:
    """What is shown of a row by fields of the same names."""
    told = {name: getattr(row, name) for name in kind.__struct_fields__ if name != "id"}
    return msgspec.json.decode(
        json_of({"id": getattr(row, "snapshot_id", None), **told}), type=kind
    )


async def test_snapshots(pool: Pool) -> None:
    for key in DEVICES:
        rows = await backups.list_snapshots(pool, *key, limit=1000)
        expected = [of_fields(SnapshotOut, one) for one in rows]
        page = await backups.shown_snapshots(pool, *key, limit=1000)
        assert taken(page.items, SnapshotOut) == expected
        assert page.total == len(rows)
        page = await backups.shown_snapshots(pool, *key, limit=3, offset=1)
        assert taken(page.items, SnapshotOut) == expected[1:5]
        assert page.last == (rows[3].collected_at, rows[3].position)
        page = await backups.shown_snapshots(pool, *key, limit=3, before=page.last)
        assert taken(page.items, SnapshotOut) == expected[4:8]
    page = await backups.shown_snapshots(pool, "acme", "nobody", limit=3)
    assert (page.items, page.total) == ([], None)


async def test_devices(pool: Pool, fleet: Fleet) -> None:
    middle = fleet.events[len(fleet.events) // 2].occurred_at
    for tenant in TENANTS:
        for search, since in ((None, None), ("EDGE", None), (None, middle), ("%", middle)):
            wanted: dict[str, Any] = {"search": search, "not_seen_since": since}
            rows = await backups.list_devices(pool, tenant, **wanted)
            expected = [device_out(one) for one in rows]
            page = await backups.shown_devices(pool, tenant, limit=1000, **wanted)
            assert taken(page.items, DeviceOut) == expected
            assert page.total == len(rows)
            page = await backups.shown_devices(pool, tenant, limit=1, **wanted)
            assert taken(page.items, DeviceOut) == expected[:2]
            assert page.last == (rows[0].device_id if rows else None)
            page = await backups.shown_devices(pool, tenant, limit=9, after=page.last, **wanted)
            assert taken(page.items, DeviceOut) == expected[1:] or page.last is None
            page = await backups.shown_devices(pool, tenant, limit=5, offset=1000, **wanted)
            assert (page.items, page.total) == ([], len(rows))


async def test_the_audit_trail(pool: Pool) -> None:
    for tenant in TENANTS:
        before: int | None = None
        for wanted in (AuditFilter(), AuditFilter(action="config_snapshot_created")):
            while True:
                asked: dict[str, Any] = {"limit": 7, "before": before, "count_limit": 20}
                page = await audit_page(pool, tenant, wanted, **asked)
                shown = await shown_audit(pool, tenant, wanted, **asked)
                assert taken(shown.items, AuditOut) == [audit_out(one) for one in page.entries]
                for name in ("total", "total_is_exact", "next_before"):
                    assert getattr(shown, name) == getattr(page, name)
                before = page.next_before
                if before is None:
                    break


# What Postgres can hold: all but NUL.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))
TIMES = st.datetimes(timezones=st.just(UTC))
ROWS = st.fixed_dictionaries(
    {
        "a": TEXTS,
        "b": st.none() | TEXTS,
        "c": st.lists(TEXTS, max_size=3),
        "d": st.text(string.ascii_lowercase + "_"),
        "e": st.booleans(),
        "f": TIMES,
        "g": st.none() | TIMES,
        "h": st.integers(-(1 << 63), (1 << 63) - 1),
        "i": st.none() | st.integers(0, 9),
    }
)
OBJECT = json_object(
    {
        "a": text("$1::text"),
        "b": or_null(text("$2::text")),
        "c": texts("$3::text[]"),
        "d": word("$4::text"),
        "e": boolean("$5::boolean"),
        "f": time("$6::timestamptz"),
        "g": or_null(time("$7::timestamptz")),
        "h": number("$8::bigint"),
        "i": or_null(number("$9::bigint")),
    }
)


class Row(Struct):
    a: str
    b: str | None
    c: list[str]
    d: str
    e: bool
    f: datetime
    g: datetime | None
    h: int
    i: int | None


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York"])
async def test_whatever_a_value_is_it_comes_back_as_it_is(postgres_dsn: str, zone: str) -> None:
    rows: list[list[Any]] = []

    @settings(max_examples=150, deadline=None)
    @given(ROWS)
    def collect(row: dict[str, Any]) -> None:
        rows.append([row[name] for name in Row.__struct_fields__])

    collect()
    async with open_pool(postgres_dsn) as pool, pool.acquire() as connection:
        await connection.execute(f"SET timezone = '{zone}'")
        for row in rows:
            shown = await connection.fetchval(f"SELECT {OBJECT}", *row)
            assert "\n" not in shown
            assert list(msgspec.structs.astuple(msgspec.json.decode(shown, type=Row))) == row
