"""Pages as JSON and the same rows taken apart tell the same, whatever can stand in an event."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.composition.rows import QUESTIONS
from adapters.http.representations import csv_rows
from adapters.http.snapshots import SnapshotOut
from adapters.postgres.pool import open_pool
from adapters.shapes.audit import AuditOut, audit_out
from adapters.shapes.devices import DeviceOut, device_out
from adapters.shapes.history import HistoryOut, history_out
from adapters.shapes.out import Out, as_json, taken_apart
from domain.envelope import StoredEvent
from domain.errors import RowUnreadable
from domain.events import (
    Attribution,
    Changer,
    ChangeSummary,
    CollectionFailed,
    ContentRef,
    DiffGenerated,
    DomainEvent,
    ManualBackupTriggered,
    SectionChange,
    SnapshotCreated,
    SnapshotRef,
)
from projections import ALL, AUDIT, BACKUPS, DIFFS, backups, diffs
from projections.audit import AuditPage, audit_page, shown_audit, shown_newest
from projections.projection import Projection
from projections.rows import Pool
from projections.schema import LIVE, ensure_schemas, write_to
from projections.tenancy import READER, TenantReader
from tests.generators import DEVICES, cut, played
from tests.listed import brought_in

# What JSON, or who reads it line by line, may take for something else; and all else of UTF-8.
ODD = ('"', "\\", "/", "\n", "\r", "\t", "\x1f", "\x7f", "\x85", "\u2028", "\ufeff", "\U0001f4a9")
CHARACTERS = st.sampled_from(ODD) | st.characters(codec="utf-8", exclude_characters="\x00")
# Ids have no NUL; in other texts something stands for it.
IDS = st.text(CHARACTERS, min_size=1, max_size=8)
TEXTS = st.text(CHARACTERS | st.just("\x00"), max_size=8)
ACTORS = TEXTS.map(lambda one: f"user:a{one}")
# The first and the last time of Python's are, for the driver, without end.
TICK = timedelta(microseconds=1)
FIRST = datetime.min.replace(tzinfo=UTC) + TICK
LAST = datetime.max.replace(tzinfo=UTC) - TICK
EDGES = (FIRST, LAST, datetime(1970, 1, 1, tzinfo=UTC) - TICK, datetime(2000, 1, 1, tzinfo=UTC))
TIMES = st.sampled_from(EDGES) | st.datetimes(
    FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None), timezones=st.just(UTC)
)
COUNTS = st.sampled_from((0, 1, (1 << 53) + 1, (1 << 63) - 1)) | st.integers(0, (1 << 63) - 1)
NAMED = st.lists(TEXTS, max_size=2).map(tuple)
# Of names that are known to be some none has a NUL.
KNOWN = st.text(CHARACTERS, max_size=8)
CHANGERS = st.builds(
    Changer,
    who=st.none() | TEXTS,
    first_at=TIMES,
    last_at=TIMES,
    actions=COUNTS,
    kinds=st.lists(st.sampled_from(("added", "other")), max_size=2).map(tuple),
)
ATTRIBUTIONS = st.builds(
    Attribution,
    certainty=st.sampled_from(("known", "unknown")),
    reason=st.none() | st.just("refused"),
    people=st.lists(CHANGERS, max_size=2).map(tuple),
)
SECTIONS = st.builds(SectionChange, section=TEXTS, added=COUNTS, removed=COUNTS)
SUMMARIES = st.builds(
    ChangeSummary,
    section=KNOWN,
    kind=KNOWN,
    count=COUNTS,
    properties=st.lists(KNOWN, max_size=2).map(tuple),
    risks=st.lists(KNOWN, max_size=2).map(tuple),
    level=KNOWN,
    after_upgrade=st.booleans(),
)
CONTENT = ContentRef(sequence=1, commitment="c")


@st.composite
def snapshots(draw: st.DrawFn, before: SnapshotCreated | None, moment: datetime) -> SnapshotCreated:
    return SnapshotCreated(
        actor=draw(ACTORS),
        observation_id=draw(IDS),
        snapshot_id=f"{draw(IDS)}{uuid.uuid4()}",
        fingerprint="f",
        text_fingerprint="t",
        canonical="text/1",
        content=CONTENT,
        size_bytes=draw(COUNTS),
        line_count=draw(COUNTS),
        collected_at=moment,
        platform=draw(TEXTS),
        source=draw(st.sampled_from(("manual", "imported"))),
        completeness=draw(st.sampled_from(("complete", "partial"))),
        os_version=draw(st.none() | TEXTS),
        warnings=draw(NAMED),
        predecessor=None
        if before is None
        else SnapshotRef(snapshot_id=before.snapshot_id, content=before.content),
        trigger_id=draw(st.none() | IDS),
        changed_by=draw(st.none() | ATTRIBUTIONS),
    )


def differences(old: SnapshotCreated, new: SnapshotCreated) -> st.SearchStrategy[DiffGenerated]:
    return st.builds(
        DiffGenerated,
        actor=ACTORS,
        from_snapshot_id=st.just(old.snapshot_id),
        to_snapshot_id=st.just(new.snapshot_id),
        lines_added=COUNTS,
        lines_removed=COUNTS,
        content=st.just(CONTENT),
        sections=st.lists(SECTIONS, max_size=5).map(tuple),
        coarse=st.booleans(),
        changes=st.lists(SUMMARIES, max_size=3).map(tuple),
        changes_more=COUNTS,
    )


@st.composite
def told_of_a_device(draw: st.DrawFn) -> list[DomainEvent]:
    """What is told of a device, oldest first."""
    told: list[DomainEvent] = []
    before: SnapshotCreated | None = None
    for moment in sorted(draw(st.lists(TIMES, max_size=4, unique=True))):
        now = draw(snapshots(before, moment))
        if now.trigger_id is not None and draw(st.booleans()):
            asked = ManualBackupTriggered(
                actor=draw(ACTORS), trigger_id=now.trigger_id, reason=draw(st.none() | TEXTS)
            )
            told.append(asked)
        told.append(now)
        if before is not None and draw(st.booleans()):
            told.append(draw(differences(before, now)))
        before = now
    if draw(st.booleans()):
        told.append(
            CollectionFailed(
                actor=draw(ACTORS),
                failure_id=draw(IDS),
                kind=draw(TEXTS),
                message=draw(TEXTS),
                attempted_at=draw(TIMES),
                source="scheduled",
            )
        )
    return told


@st.composite
def streams(draw: st.DrawFn) -> list[StoredEvent]:
    """Devices of the same names in two tenants, each told of on its own."""
    events: list[StoredEvent] = []
    for device in draw(st.lists(IDS, min_size=1, max_size=3, unique=True)):
        for tenant in ("acme", "globex"):
            for version, event in enumerate(draw(told_of_a_device()), 1):
                position = len(events) + 1
                events.append(
                    StoredEvent(
                        position=position,
                        version=version,
                        event_id=f"{position}{draw(TEXTS)}",
                        tenant_id=tenant,
                        device_id=device,
                        event=event,
                        stored_at=draw(TIMES),
                        occurred_at=draw(TIMES),
                        correlation_id=draw(st.none() | TEXTS),
                        causation_id=draw(st.none() | TEXTS),
                    )
                )
    return events


def same(items: Sequence[str], rows: Sequence[Out], kind: type[Any]) -> None:
    """Items that are JSON already are what is made of the rows: for any reader, in any form."""
    made = msgspec.to_builtins(list(rows))
    assert [json.loads(one) for one in items] == made
    assert [tuple(json.loads(one)) for one in items] == [tuple(one) for one in made]
    columns = kind.__struct_fields__
    apart = taken_apart(as_json(items, kind), kind)
    assert csv_rows(apart, columns) == csv_rows(rows, columns)


def _snapshot(row: backups.Snapshot) -> SnapshotOut:
    told = {name: getattr(row, name) for name in SnapshotOut.__struct_fields__ if name != "id"}
    return SnapshotOut(id=row.snapshot_id, **{**told, "warnings": list(row.warnings)})


async def _compare(rows: TenantReader, tenant: str, devices: Sequence[str], limit: int) -> None:
    after: str | None = None
    while True:
        found = await backups.list_devices(rows, tenant, limit=limit + 1, after=after)
        shown = await backups.shown_devices(rows, tenant, limit=limit, after=after)
        same(shown.items, [device_out(one) for one in found], DeviceOut)
        assert shown.total == await backups.count_devices(rows, tenant)
        if len(found) <= limit:
            break
        after = shown.last
        assert after == found[limit - 1].device_id
    for device in devices:
        place = None
        while True:
            kept = await backups.list_snapshots(rows, tenant, device, limit=limit + 1, before=place)
            page = await backups.shown_snapshots(rows, tenant, device, limit=limit, before=place)
            same(page.items, [_snapshot(one) for one in kept], SnapshotOut)
            if len(kept) <= limit:
                break
            place = page.last
            assert place == (kept[limit - 1].collected_at, kept[limit - 1].position)
        place = None
        while True:
            told = await diffs.config_history(rows, tenant, device, limit=limit + 1, before=place)
            ready = await diffs.shown_history(rows, tenant, device, limit=limit, before=place)
            assert ready is not None, "nothing came late"
            page = ready
            same(page.items[:limit], [history_out(one) for one in told[:limit]], HistoryOut)
            assert len(page.items) == len(told)
            if len(told) <= limit:
                break
            place = page.last
            assert place == (told[limit - 1].collected_at, told[limit - 1].place)
    before: int | None = None
    while True:
        entries = await audit_page(rows, tenant, limit=limit, before=before)
        trail = await shown_audit(rows, tenant, limit=limit, before=before)
        same(trail.items, [audit_out(one) for one in entries.entries], AuditOut)
        assert trail.next_before == entries.next_before
        if before is None:
            newest = await shown_newest(rows, tenant, limit=limit, offset=0)
            assert (newest.items, newest.next_before) == (trail.items, trail.next_before)
        before = trail.next_before
        if before is None:
            break


async def test_whatever_stands_in_an_event_is_shown_as_it_is(postgres_dsn: str) -> None:
    told: list[tuple[list[StoredEvent], int]] = []

    @settings(max_examples=60)
    @given(streams(), st.integers(1, 4))
    def collect(events: list[StoredEvent], limit: int) -> None:
        told.append((events, limit))

    collect()
    async with (
        open_pool(postgres_dsn) as pool,
        open_pool(postgres_dsn, role=READER, reset=False) as readers,
    ):
        await brought_in(pool, ALL, [])
        await ensure_schemas(pool, QUESTIONS)
        missing: set[str] = set()
        for events, limit in told:
            await _bring_in(pool, events)
            for tenant in ("acme", "globex"):
                devices = sorted({one.device_id for one in events if one.tenant_id == tenant})
                rows = TenantReader(readers, tenant, missing=missing)
                await _compare(rows, tenant, devices, limit)
        assert missing == set()


async def test_a_timeline_that_stands_ready_is_what_the_rows_tell_whenever_it_is_asked_for(
    postgres_dsn: str,
) -> None:
    cuts: list[list[list[StoredEvent]]] = []

    @settings(max_examples=8)
    @given(cut(most_steps=120))
    def collect(batches: list[list[StoredEvent]]) -> None:
        cuts.append(batches)

    collect()
    ready = not_ready = 0
    async with open_pool(postgres_dsn) as pool:
        await brought_in(pool, ALL, [])
        for batches in cuts:
            await _bring_in(pool, [])
            for batch in batches:
                await _add(pool, batch)
                for key in DEVICES:
                    rows = await diffs.config_history(pool, *key, limit=1000)
                    told = [history_out(one) for one in rows]
                    for limit in (1, 4, 1000):
                        for offset in range(0, len(rows), limit):
                            place = (rows[offset - 1].collected_at, rows[offset - 1].place)
                            for page in (
                                await diffs.shown_history(pool, *key, limit=limit, offset=offset),
                                await diffs.shown_history(
                                    pool,
                                    *key,
                                    limit=limit,
                                    before=place if offset else None,
                                ),
                            ):
                                if page is None:
                                    not_ready += 1
                                else:
                                    ready += 1
                                    left = told[offset:][: limit + 1]
                                    same(page.items[:limit], left[:limit], HistoryOut)
                                    assert len(page.items) == len(left)
            # As if they had come in one by one.
            in_batches = await _rows(pool)
            events = [one for batch in batches for one in batch]
            await _bring_in(pool, [])
            for one in events:
                await _add(pool, [one])
            assert await _rows(pool) == in_batches
    assert ready > not_ready > 0


async def _rows(pool: Pool) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, await pool.fetch("SELECT * FROM configtrail.snapshots")), key=repr)


# What somebody may write into a row of the audit trail, as SQL.
FORGED_END = (
    ',"created_at":"2001-01-01T00:00:00Z","recorded_at":"2001-01-01T00:00:00Z",'
    '"correlation_id":null,"causation_id":null}'
)
EDITS = (
    f"""details = '{{}}{FORGED_END}' || chr(30) || '{{"id":"forged","details":{{}}'""",
    f"""details = '{{}}{FORGED_END}'""",
    """details = '{},"actor":"user:mallory"'""",
    """details = '{"a":1},"created_at":"2001-01-01T00:00:00Z"'""",
    """details = '{},"x":{}'""",
    """details = E'{\\n  "a": [1,\\r\\n\\t2]\\n}'""",
    """details = '{"a":"\\ud800"}'""",
    """details = '{"a":1} {"b":2}'""",
    """details = E'{"a":"\\x1e"}'""",
    """details = E'{"a":\\x1e 1}'""",
    "details = repeat('[', 5000)",
    "details = ''",
    """action = 'x","actor":"user:mallory'""",
    """resource_type = E'x\\n\\\\'""",
    """correlation_id = ',"created_at":', causation_id = '","details":{}'""",
    """event_id = ',"details":{', resource_id = '},"created_at":"'""",
    "occurred_at = 'infinity', stored_at = '-infinity'",
    "occurred_at = '0001-01-01 00:00:00+00', stored_at = '9999-12-31 23:59:59.999999+00'",
    "stored_at = '0044-03-15 BC'",
    "occurred_at = '12000-01-01'",
)


async def test_what_somebody_wrote_into_the_audit_trail_is_shown_as_it_is_or_named(
    postgres_dsn: str,
) -> None:
    events = played(20, 60).events
    async with open_pool(postgres_dsn) as pool:
        await brought_in(pool, ALL, [])
        for edit in EDITS:
            await _bring_in(pool, events)
            await pool.execute(f"UPDATE configtrail.audit SET {edit} WHERE position % 9 = 2")
            page, named = await _page_or_row(pool)
            for shown in (
                shown_audit(pool, "acme", limit=100),
                shown_newest(pool, "acme", limit=100, offset=0),
            ):
                if page is None:
                    with pytest.raises(RowUnreadable, match=f"position {named} "):
                        await shown
                else:
                    entries = [audit_out(one) for one in page.entries]
                    same((await shown).items, entries, AuditOut)


async def _page_or_row(pool: Pool) -> tuple[AuditPage | None, int | None]:
    """A page as it is taken apart, or the row which that breaks off at."""
    try:
        return await audit_page(pool, "acme", limit=100), None
    except RowUnreadable as error:
        return None, error.position


KEPT: tuple[Projection[Any], ...] = (BACKUPS, DIFFS, AUDIT)


async def _bring_in(pool: Pool, events: Sequence[StoredEvent]) -> None:
    """These are all the events that there are."""
    async with pool.acquire() as connection, connection.transaction():
        await write_to(connection, LIVE)
        for projection in KEPT:
            await connection.execute(f"TRUNCATE {', '.join(projection.tables)}")
            await projection.write(connection, projection.fold(events))


async def _add(pool: Pool, events: Sequence[StoredEvent]) -> None:
    """These come after the events that are there."""
    async with pool.acquire() as connection, connection.transaction():
        await write_to(connection, LIVE)
        for projection in KEPT:
            await projection.write(connection, projection.fold(events))
