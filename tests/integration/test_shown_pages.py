"""Pages that Postgres puts together as JSON are those of the same rows taken apart."""

from __future__ import annotations

import string
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from adapters.http.snapshots import SnapshotOut
from adapters.postgres.pool import open_pool
from adapters.shapes.audit import AuditOut, audit_out
from adapters.shapes.devices import DeviceOut, device_out
from adapters.shapes.history import HistoryOut, history_out
from adapters.shapes.out import Out, json_of
from domain.events import ChangeSummary, ContentRef, DiffGenerated, SectionChange
from projections import ALL, backups, diffs
from projections.audit import AuditFilter, audit_page, shown_audit
from projections.rows import Pool
from projections.shown import boolean, json_object, number, or_null, text, texts, time, word
from projections.words import OF_INCOMPLETE, UNTOLD, difference_of, with_storable_names
from tests.generators import DEVICES, START, Fleet, played
from tests.listed import brought_in

TENANTS = ("acme", "globex")


COUNTS = st.integers(0, 9)
ENTRY = diffs.HistoryEntry(
    device_id="edge",
    snapshot_id=str(uuid.UUID(int=2)),
    previous_snapshot_id=str(uuid.UUID(int=1)),
    collected_at=START,
    valid_until=None,
    place=1,
    returned=False,
    previous_completeness="complete",
    asked_by=None,
    position=1,
    version=1,
    late=False,
    completeness="complete",
    source="imported",
    actor="user:ann",
    trigger_id=None,
    size_bytes=1,
    line_count=1,
    platform="routeros",
    os_version=None,
    warnings=(),
    changed_by=None,
    diff=None,
)


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return played(20, 500)


@pytest.fixture
async def pool(postgres_dsn: str, fleet: Fleet) -> AsyncIterator[Pool]:
    async with open_pool(postgres_dsn) as pool:
        await brought_in(pool, ALL, fleet.events)
        yield pool


def taken(items: Sequence[str], kind: type[Out]) -> list[Any]:
    """The items, which have the fields of their kind in their order and no others."""
    for one in items:
        assert tuple(msgspec.json.decode(one)) == kind.__struct_fields__
    found = [msgspec.json.decode(one, type=kind) for one in items]
    # Also in how a time is written.
    assert [msgspec.json.decode(one) for one in items] == msgspec.to_builtins(found)
    return found


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


async def test_history(pool: Pool) -> None:
    seen: set[str] = set()
    for key in DEVICES:
        rows = await diffs.config_history(pool, *key, limit=1000)
        expected = [history_out(one) for one in rows]
        for offset in range(len(rows)):
            page = await diffs.shown_history(pool, *key, limit=3, offset=offset)
            if page is None:
                continue
            listed = expected[offset : offset + 3]
            assert taken(page.items[:3], HistoryOut) == listed
            assert len(page.items) == len(expected[offset : offset + 4])
            seen |= {one.summary.partition("/")[0] for one in listed}
            if offset + 3 > len(rows):
                continue
            last = rows[offset + 2]
            assert page.last == (last.collected_at, last.place)
            page = await diffs.shown_history(pool, *key, limit=2, before=page.last)
            if page is not None:
                assert taken(page.items[:2], HistoryOut) == expected[offset + 3 : offset + 5]
        assert (await diffs.config_history(pool, *key, offset=len(rows))) == []
        page = await diffs.shown_history(pool, *key, limit=3, offset=len(rows))
        assert page is None or page.items == []
    assert any(OF_INCOMPLETE in one for one in seen)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=9), COUNTS, COUNTS), max_size=5),
    st.lists(st.tuples(st.text(max_size=9), st.lists(st.text(max_size=5), max_size=2)), max_size=3),
    st.booleans(),
)
def test_what_stands_ready_of_a_difference_is_what_is_made_of_it(
    sections: list[tuple[str, int, int]], changes: list[tuple[str, list[str]]], partial: bool
) -> None:
    event = DiffGenerated(
        actor="system:differ",
        from_snapshot_id=str(uuid.UUID(int=1)),
        to_snapshot_id=str(uuid.UUID(int=2)),
        content=ContentRef(sequence=3, commitment="c"),
        lines_added=4,
        lines_removed=5,
        sections=tuple(
            [SectionChange(section=one, added=more, removed=less) for one, more, less in sections]
        ),
        changes=tuple(
            [
                ChangeSummary(section=one, kind="added", count=1, properties=tuple(names))
                for one, names in changes
            ]
        ),
    )
    stands = difference_of(event)
    event = with_storable_names(event)
    diff = diffs.HistoryDiff(
        4, 5, event.coarse, 3, event.sections, event.changes, event.changes_more, None, None
    )
    made = history_out(replace(ENTRY, diff=diff, completeness="partial" if partial else "complete"))
    where = f"{OF_INCOMPLETE}{stands.where}{UNTOLD}" if partial else stands.where
    ready = msgspec.json.decode(f'{{{stands.told}{where}",{stands.shown}}}')
    expected = msgspec.to_builtins(made)
    assert ready == {name: expected[name] for name in ready}
    assert len(ready) == 10


# What Postgres can hold: all but NUL.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))
# The first and the last are stored as times without end.
ENDS = st.sampled_from([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
TIMES = st.datetimes(timezones=st.just(UTC)) | ENDS
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
            assert msgspec.json.decode(shown) == msgspec.to_builtins(Row(*row))
