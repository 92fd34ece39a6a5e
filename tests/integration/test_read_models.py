"""The queries, against what the events say when they are simply counted and sorted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime, timedelta

import pytest
from msgspec import Struct
from msgspec.structs import replace

from adapters.postgres.pool import open_pool
from domain.decisions import MOST_SECTIONS
from domain.errors import InvalidInput
from domain.events import (
    CollectionFailed,
    ContentRef,
    DeviceRetired,
    DiffGenerated,
    DuplicateSkipped,
    ManualBackupFinished,
    ManualBackupTriggered,
    SectionChange,
    SnapshotCreated,
)
from projections import ALL, backups, diffs
from projections.audit import AuditEntry, AuditFilter, audit_page, get_entry, stream_audit
from projections.audit.queries import GET_ENTRY
from projections.audit.write import ACTIONS
from projections.backups.over_time import SNAPSHOT_AT, VALIDITY
from projections.backups.queries import (
    GET_SNAPSHOT,
    LIST_DEVICES,
    LIST_SNAPSHOTS,
)
from projections.backups.texts import CURRENT, EVERY
from projections.diffs.feed import FEED
from projections.diffs.history import HISTORY, HISTORY_OF_SECTION
from projections.rows import Pool
from tests.generators import DEVICES, START, Fleet, played
from tests.listed import brought_in

Observation = tuple[datetime, int, str]


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return played(20, 500)


@pytest.fixture
async def pool(postgres_dsn: str, fleet: Fleet) -> AsyncIterator[Pool]:
    async with open_pool(postgres_dsn) as pool:
        await brought_in(pool, ALL, fleet.events)
        yield pool


def observations(fleet: Fleet, key: tuple[str, str]) -> list[Observation]:
    """When what was seen, in time order."""
    return sorted(
        (stored.event.collected_at, stored.position, stored.event.snapshot_id)
        for stored in fleet.branch(key)
        if isinstance(stored.event, SnapshotCreated | DuplicateSkipped)
    )


def runs(fleet: Fleet, key: tuple[str, str]) -> list[list[Observation]]:
    """The observations, parted where the snapshot changes."""
    parted: list[list[Observation]] = []
    for seen in observations(fleet, key):
        if parted and parted[-1][-1][2] == seen[2]:
            parted[-1].append(seen)
        else:
            parted.append([seen])
    return parted


async def test_devices(pool: Pool, fleet: Fleet) -> None:
    for tenant in ("acme", "globex"):
        listed = await backups.list_devices(pool, tenant)
        assert [one.device_id for one in listed] == sorted(
            device for owner, device in DEVICES if owner == tenant
        )
        assert await backups.count_devices(pool, tenant) == len(listed)
        for device in listed:
            assert device == await backups.get_device(pool, tenant, device.device_id)
            key = (tenant, device.device_id)
            events = fleet.branch(key)
            seen = observations(fleet, key)
            created = [one.event for one in events if isinstance(one.event, SnapshotCreated)]
            assert (device.first_seen, device.last_seen) == (seen[0][0], seen[-1][0])
            assert device.current_snapshot_id == seen[-1][2]
            assert device.last_changed == runs(fleet, key)[-1][0][0]
            assert device.snapshots == len(created)
            assert device.confirmations == len(seen) - len(created)
            assert device.last_position == events[-1].position
            current = next(one for one in created if one.snapshot_id == seen[-1][2])
            assert (device.platform, device.os_version) == (current.platform, current.os_version)
            gone = [one.position for one in events if isinstance(one.event, DeviceRetired)]
            failure = max(
                (
                    (one.event.attempted_at, one.position, one.event)
                    for one in events
                    if isinstance(one.event, CollectionFailed)
                    and one.position > max(gone, default=0)
                ),
                default=None,
            )
            if failure is None:
                assert (device.last_failure_at, device.last_failure_kind) == (None, None)
                assert (device.last_failure_message, device.failing) == (None, False)
                continue
            assert device.last_failure_at == failure[0]
            assert device.last_failure_kind == failure[2].kind
            assert device.last_failure_message == failure[2].message.replace("\x00", "\ufffd")
            assert device.failing == (failure[0] > seen[-1][0])


async def test_finding_devices(pool: Pool) -> None:
    async def ids(**wanted: object) -> list[str]:
        listed = await backups.list_devices(pool, "acme", **wanted)  # type: ignore[arg-type]
        filters = {name: value for name, value in wanted.items() if name[0] in "sn"}
        assert await backups.count_devices(pool, "acme", **filters) >= len(listed)  # type: ignore[arg-type]
        return [one.device_id for one in listed]

    assert await ids(search="EDGE") == ["edge-1"]
    assert await ids(search="'%") == ["core 2/ö'%"]
    assert await ids(search="%e") == []
    assert await ids(limit=1, offset=1) == ["edge-1"]
    assert await ids(not_seen_since=START) == []
    assert len(await ids(not_seen_since=START + timedelta(days=30))) == 2
    assert await backups.get_device(pool, "acme", "spare") is None
    assert await backups.list_devices(pool, "nobody") == []


async def test_snapshots(pool: Pool, fleet: Fleet) -> None:
    for key in DEVICES:
        listed = await backups.list_snapshots(pool, *key, limit=1000)
        created = {
            stored.event.snapshot_id: (stored, stored.event)
            for stored in fleet.branch(key)
            if isinstance(stored.event, SnapshotCreated)
        }
        order = sorted(
            created, key=lambda one: (created[one][1].collected_at, created[one][0].position)
        )
        assert [one.snapshot_id for one in listed] == order[::-1]
        assert [one.snapshot_id for one in listed if one.is_current] == [
            observations(fleet, key)[-1][2]
        ]
        for row in listed:
            stored, event = created[row.snapshot_id]
            seen = [one for one in observations(fleet, key) if one[2] == row.snapshot_id]
            assert (row.first_seen, row.last_confirmed) == (seen[0][0], seen[-1][0])
            assert row.confirmations == len(seen) - 1
            assert (row.version, row.position) == (stored.version, stored.position)
            assert row.late == (event.successor is not None)
            assert row.predecessor_id == (
                event.predecessor.snapshot_id if event.predecessor else None
            )
            assert (row.content_sequence, row.commitment) == (
                event.content.sequence,
                event.content.commitment,
            )
            assert (row.fingerprint, row.text_fingerprint) == (
                event.fingerprint,
                event.text_fingerprint,
            )
            assert row.warnings == tuple(one.replace("\x00", "\ufffd") for one in event.warnings)
            assert (row.completeness, row.source, row.trigger_id) == (
                event.completeness,
                event.source,
                event.trigger_id,
            )
            assert row == await backups.get_snapshot(pool, *key, row.snapshot_id)
        page = await backups.list_snapshots(pool, *key, limit=3, offset=2)
        assert page == listed[2:5]


async def test_as_of(pool: Pool, fleet: Fleet) -> None:
    for key in DEVICES:
        seen = observations(fleet, key)
        moments = {one[0] for one in seen}
        for moment in moments | {one + timedelta(seconds=1) for one in moments}:
            expected = [one[2] for one in seen if one[0] <= moment][-1]
            found = await backups.snapshot_at(pool, *key, moment)
            assert found is not None
            assert found.snapshot_id == expected
        before = min(moments) - timedelta(microseconds=1)
        assert await backups.snapshot_at(pool, *key, before) is None


async def test_validity(pool: Pool, fleet: Fleet) -> None:
    returned = 0
    for key in DEVICES:
        parted = runs(fleet, key)
        starts = [run[0][0] for run in parted]
        expected = [
            backups.Validity(
                snapshot_id=run[0][2],
                valid_from=run[0][0],
                confirmed_until=run[-1][0],
                valid_until=until,
                position=run[0][1],
            )
            for run, until in zip(parted, [*starts[1:], None], strict=True)
        ][::-1]
        assert await backups.validity(pool, *key, limit=1000) == expected
        assert await backups.validity(pool, *key, limit=4, offset=3) == expected[3:7]
        returned += len(parted) - len({run[0][2] for run in parted})
    assert returned, "no late arrival in the middle of a snapshot's time was played"


@pytest.mark.parametrize("statement", [HISTORY, HISTORY_OF_SECTION, FEED])
async def test_a_change_has_its_columns_in_the_order_of_the_fields(
    pool: Pool, statement: str
) -> None:
    *fields, diff = diffs.HistoryEntry.__struct_fields__
    assert diff == "diff"
    async with pool.acquire() as connection:
        told = (await connection.prepare(statement)).get_attributes()
    assert [one.name for one in told] == [*fields, *diffs.HistoryDiff.__struct_fields__]


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        *((one, backups.Snapshot) for one in (LIST_SNAPSHOTS, GET_SNAPSHOT, SNAPSHOT_AT)),
        *((one, backups.Snapshot) for one in (CURRENT, EVERY)),
        (LIST_DEVICES, backups.Device),
        (VALIDITY, backups.Validity),
        (GET_ENTRY, AuditEntry),
    ],
)
async def test_a_page_has_its_columns_in_the_order_of_the_fields(
    pool: Pool, statement: str, kind: type[Struct]
) -> None:
    async with pool.acquire() as connection:
        told = (await connection.prepare(statement)).get_attributes()
    assert tuple(one.name for one in told) == kind.__struct_fields__


async def test_what_was_known_of_the_text_before_is_told_on_every_page(pool: Pool) -> None:
    for key in DEVICES:
        whole = await diffs.config_history(pool, *key, limit=1000)
        known = {
            one.snapshot_id: one.completeness
            for one in await backups.list_snapshots(pool, *key, limit=1000)
        }
        for one in whole:
            before = one.previous_snapshot_id
            assert one.previous_completeness == (None if before is None else known[before])
        for limit in (1, 3):
            assert (
                await diffs.config_history(pool, *key, limit=limit, offset=2) == whole[2:][:limit]
            )


async def test_history_tells_every_change_with_its_true_difference(
    pool: Pool, fleet: Fleet
) -> None:
    for key in DEVICES:
        told = {
            (stored.event.from_snapshot_id, stored.event.to_snapshot_id): stored.event
            for stored in fleet.branch(key)
            if isinstance(stored.event, DiffGenerated)
        }
        parted = runs(fleet, key)
        entries = await diffs.config_history(pool, *key, limit=1000)
        assert await diffs.count_history(pool, *key) == len(entries) == len(parted)
        previous = None
        seen: set[str] = set()
        for run, entry in zip(parted, entries[::-1], strict=True):
            collected_at, _, snapshot_id = run[0]
            assert (entry.snapshot_id, entry.collected_at) == (snapshot_id, collected_at)
            assert entry.previous_snapshot_id == previous
            event = told.get((previous or "", snapshot_id))
            assert (entry.diff is None) == (event is None)
            if entry.diff is not None and event is not None:
                assert entry.diff.lines_added == event.lines_added
                assert entry.diff.lines_removed == event.lines_removed
                assert entry.diff.coarse == event.coarse
                assert entry.diff.content_sequence == event.content.sequence
                assert entry.diff.sections == event.sections
                assert entry.diff.summaries == event.changes
                assert entry.diff.summaries_more == event.changes_more
                told_at = event.changes_content
                assert entry.diff.changes_sequence == (told_at.sequence if told_at else None)
                assert entry.diff.changes_commitment == (told_at.commitment if told_at else None)
            assert entry.returned == (snapshot_id in seen)
            seen.add(snapshot_id)
            previous = snapshot_id
        assert entries[0].valid_until is None
        assert [one.valid_until for one in entries[1:]] == [
            one.collected_at for one in entries[:-1]
        ]
        assert await diffs.config_history(pool, *key, limit=5, offset=4) == entries[4:9]
        for entry in entries:
            snapshot = await backups.get_snapshot(pool, *key, entry.snapshot_id)
            assert snapshot is not None
            assert (entry.late, entry.completeness, entry.warnings, entry.source) == (
                snapshot.late,
                snapshot.completeness,
                snapshot.warnings,
                snapshot.source,
            )
            trigger = (
                await backups.get_trigger(pool, *key, snapshot.trigger_id)
                if snapshot.trigger_id
                else None
            )
            assert entry.asked_by == (trigger.actor if trigger else None)


async def test_history_of_a_section_and_of_those_below_it(pool: Pool) -> None:
    for key in DEVICES:
        entries = await diffs.config_history(pool, *key, limit=1000)
        for section, names in (
            ("/ip firewall", {"/ip firewall filter", "/ip firewall nat"}),
            ("/ip firewall nat", {"/ip firewall nat"}),
            ("/ip fire", set()),
            ("/system identity", {"/system identity"}),
        ):
            expected = [
                entry
                for entry in entries
                if entry.diff
                and (
                    any(one.section in names for one in entry.diff.sections)
                    or (entry.diff.coarse and not entry.diff.sections)
                )
            ]
            found = await diffs.config_history(pool, *key, limit=1000, section=section)
            assert found == expected
            assert await diffs.count_history(pool, *key, section=section) == len(expected)
            paged = await diffs.config_history(pool, *key, limit=2, offset=1, section=section)
            assert paged == expected[1:3]


async def test_a_change_that_may_touch_any_section_is_found_by_each(postgres_dsn: str) -> None:
    """Those that are not told are not known by name: there were too many, or nobody compared."""
    fleet = Fleet(1, [("acme", "edge")])
    for minute in range(4):
        fleet.read(("acme", "edge"), minute, minute % 2)
    ids = [one.event.snapshot_id for one in fleet.events if isinstance(one.event, SnapshotCreated)]
    events = list(fleet.events)
    for old, new, told in zip(ids, ids[1:], (MOST_SECTIONS, MOST_SECTIONS - 1, 0), strict=False):
        sections = [SectionChange(section=f"/ip {one}", added=1, removed=0) for one in range(told)]
        event = DiffGenerated(
            actor="system:differ",
            from_snapshot_id=old,
            to_snapshot_id=new,
            lines_added=told,
            lines_removed=0,
            content=ContentRef(sequence=1, commitment="c"),
            sections=tuple(sections),
            coarse=not told,
        )
        events.append(
            replace(events[-1], position=len(events) + 1, event_id=f"diff {new}", event=event)
        )
    async with open_pool(postgres_dsn) as pool:
        await brought_in(pool, ALL, events)
        key = ("acme", "edge")
        for section, found in (
            ("/ip 498", [ids[3], ids[2], ids[1]]),
            ("/ip 600", [ids[3], ids[1]]),
        ):
            history = await diffs.config_history(pool, *key, section=section)
            assert [one.snapshot_id for one in history] == found
            assert await diffs.count_history(pool, *key, section=section) == len(found)
            feed = await diffs.change_feed(pool, "acme", diffs.FeedFilter(section=section))
            assert [one.snapshot_id for one in feed.changes] == found


async def test_the_diff_of_a_snapshot_comes_from_its_true_neighbour(
    pool: Pool, fleet: Fleet
) -> None:
    moved = 0
    for key in DEVICES:
        first: dict[str, str | None] = {}
        previous = None
        for run in runs(fleet, key):
            first.setdefault(run[0][2], previous)
            previous = run[0][2]
        for snapshot_id, before in first.items():
            assert await diffs.predecessor_of(pool, *key, snapshot_id) == before
            found = await diffs.diff_of_snapshot(pool, *key, snapshot_id)
            if found is not None:
                assert (found.from_snapshot_id, found.to_snapshot_id) == (before, snapshot_id)
                assert found == await diffs.get_diff(pool, *key, before or "", snapshot_id)
            snapshot = await backups.get_snapshot(pool, *key, snapshot_id)
            assert snapshot is not None
            moved += snapshot.predecessor_id != before
    assert moved, "no late arrival between two snapshots was played"


async def test_diffs_are_listed_with_their_sections(pool: Pool, fleet: Fleet) -> None:
    for key in DEVICES:
        told = [
            (stored.position, stored.event)
            for stored in fleet.branch(key)
            if isinstance(stored.event, DiffGenerated)
        ][::-1]
        listed = await diffs.list_diffs(pool, *key, limit=1000)
        assert [
            (one.position, one.from_snapshot_id, one.to_snapshot_id, one.sections) for one in listed
        ] == [
            (position, one.from_snapshot_id, one.to_snapshot_id, one.sections)
            for position, one in told
        ]
        assert all(isinstance(one, SectionChange) for row in listed for one in row.sections)


async def test_manual_backups(pool: Pool, fleet: Fleet) -> None:
    still_open = []
    for key in DEVICES:
        ends = {
            stored.event.trigger_id: (stored.occurred_at, stored.event)
            for stored in fleet.branch(key)
            if isinstance(stored.event, ManualBackupFinished)
        }
        for stored in fleet.branch(key):
            if not isinstance(stored.event, ManualBackupTriggered):
                continue
            row = await backups.get_trigger(pool, *key, stored.event.trigger_id)
            assert row is not None
            assert (row.actor, row.asked_at) == (stored.event.actor, stored.occurred_at)
            if stored.event.trigger_id in ends:
                at, end = ends[stored.event.trigger_id]
                assert (row.finished_at, row.outcome) == (at, end.outcome)
                assert row.snapshot_id == end.snapshot_id
            else:
                assert (row.finished_at, row.outcome, row.message) == (None, None, None)
                still_open.append(row)
    assert still_open
    later = START + timedelta(days=365)
    for tenant in ("acme", "globex"):
        expected = [row for row in still_open if row.tenant_id == tenant]
        found = await backups.open_triggers(pool, tenant, later)
        assert sorted(map(repr, found)) == sorted(map(repr, expected))
        assert [row.asked_at for row in found] == sorted(row.asked_at for row in found)
    assert await backups.open_triggers(pool, "acme", START) == []


async def test_stats(pool: Pool) -> None:
    listed = await backups.list_devices(pool, "acme")
    found = await backups.stats(pool, "acme")
    assert found.devices == len(listed)
    assert found.snapshots == sum(one.snapshots for one in listed)
    assert found.confirmations == sum(one.confirmations for one in listed)
    assert found.failing == sum(one.failing for one in listed)
    assert found.newest == max(one.last_seen for one in listed if one.last_seen)
    assert await backups.stats(pool, "nobody") == backups.TenantStats(
        devices=0, snapshots=0, confirmations=0, failing=0, newest=None
    )


async def test_the_audit_trail_has_every_event_and_can_be_filtered(
    pool: Pool, fleet: Fleet
) -> None:
    middle = START + timedelta(minutes=200)
    trigger = next(one.correlation_id for one in fleet.events if one.correlation_id)
    for tenant in ("acme", "globex"):
        events = [one for one in fleet.events if one.tenant_id == tenant]
        events.sort(key=lambda one: (one.occurred_at, one.position), reverse=True)
        for wanted in (
            AuditFilter(),
            AuditFilter(action="config_snapshot_created"),
            AuditFilter(actor="user:ann"),
            AuditFilter(device_id="edge-1"),
            AuditFilter(since=middle),
            AuditFilter(until=middle, device_id="edge-1"),
            AuditFilter(from_position=100, to_position=200, action="config_diff_generated"),
            AuditFilter(correlation_id=trigger),
            AuditFilter(action="nothing"),
        ):
            expected = [
                one.position
                for one in events
                if wanted.action in (None, ACTIONS[type(one.event)])
                and wanted.actor in (None, one.event.actor)
                and wanted.device_id in (None, one.device_id)
                and (wanted.since is None or one.occurred_at >= wanted.since)
                and (wanted.until is None or one.occurred_at < wanted.until)
                and (wanted.from_position is None or one.position >= wanted.from_position)
                and (wanted.to_position is None or one.position <= wanted.to_position)
                and wanted.correlation_id in (None, one.correlation_id)
            ]
            found: list[AuditEntry] = []
            before = None
            while True:
                page = await audit_page(pool, tenant, wanted, limit=37, before=before)
                assert (page.total, page.total_is_exact) == (len(expected), True)
                found += page.entries
                before = page.next_before
                if before is None:
                    break
                assert len(page.entries) == 37
            assert [one.position for one in found] == expected
            numbered = await audit_page(pool, tenant, wanted, limit=10, offset=20)
            assert list(numbered.entries) == found[20:30]
            async with aclosing(stream_audit(pool, tenant, wanted, batch=13)) as batches:
                assert [one async for batch in batches for one in batch] == found


async def test_audit_entries_say_it_all(pool: Pool, fleet: Fleet) -> None:
    for stored in fleet.events[:200]:
        entry = await get_entry(pool, stored.tenant_id, stored.position)
        assert entry is not None
        for name in ("event_id", "occurred_at", "stored_at", "device_id", "version"):
            assert getattr(entry, name) == getattr(stored, name)
        assert entry.actor == entry.details["actor"] == stored.event.actor
        assert entry.details["type"] == type(stored.event).__name__
        assert entry.resource_id
    other = "globex" if fleet.events[0].tenant_id == "acme" else "acme"
    assert await get_entry(pool, other, 1) is None
    with pytest.raises(InvalidInput, match="before"):
        await audit_page(pool, other, before=1)


async def test_totals_are_counted_up_to_a_bound(pool: Pool) -> None:
    page = await audit_page(pool, "acme", limit=5, count_limit=20)
    assert (page.total, page.total_is_exact, len(page.entries)) == (20, False, 5)
    again = await audit_page(pool, "acme", limit=5, count_limit=20, beyond=True)
    assert again == page
