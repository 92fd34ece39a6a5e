"""The pure halves of the projections: how events are folded, and how they are read ahead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import given, settings

from domain.envelope import StoredEvent
from domain.errors import StreamGap, Unavailable
from domain.events import EVENT_NAMES, EVENT_TYPES, Fact, decode_event, encode_event
from projections import ALL, AUDIT
from projections.audit.write import ACTIONS
from projections.backups import fold as backups
from projections.diffs import write as diffs
from projections.outages import is_outage, reason_of
from projections.prefetch import Prefetch
from projections.projection import Projection
from projections.source import Batch, Delivered
from tests.generators import cut, played
from tests.support import eventually


def samples() -> dict[type[Fact], StoredEvent]:
    """One event of every type."""
    return {type(stored.event): stored for stored in played(3, 900).events}


def test_the_generated_histories_have_every_event() -> None:
    assert set(samples()) == set(EVENT_TYPES)


@pytest.mark.parametrize("projection", ALL, ids=lambda one: one.name)
@pytest.mark.parametrize("kind", EVENT_TYPES, ids=EVENT_NAMES)
def test_every_projection_knows_every_event(projection: Projection[Any], kind: type[Fact]) -> None:
    projection.fold([samples()[kind]])


def test_actions_are_the_published_ones() -> None:
    assert {kind.__name__: action for kind, action in ACTIONS.items()} == {
        "SnapshotCreated": "config_snapshot_created",
        "DuplicateSkipped": "config_snapshot_skipped_duplicate",
        "DiffGenerated": "config_diff_generated",
        "ManualBackupTriggered": "config_backup_manual_trigger",
        "ManualBackupFinished": "config_backup_manual_finished",
        "CollectionFailed": "config_collection_failed",
        "SnapshotRecanonicalised": "config_snapshot_recanonicalised",
        "CollectionRecovered": "config_collection_recovered",
        "DeviceConfigured": "device_configured",
        "DeviceRetired": "device_retired",
        "GroupConfigured": "device_group_configured",
        "GroupRemoved": "device_group_removed",
        "CredentialSet": "credential_set",
        "CredentialRemoved": "credential_removed",
        "HostKeyPinned": "host_key_pinned",
        "HostKeyChanged": "host_key_changed",
        "HostKeyReleased": "host_key_released",
        "EventSkipped": "config_event_skipped",
        "ContentRevealed": "config_content_revealed",
        "AccessKeyCreated": "access_key_created",
        "AccessKeyRevoked": "access_key_revoked",
        "AccessRefused": "access_refused",
        "RetentionPolicySet": "retention_policy_set",
        "LegalHoldPlaced": "legal_hold_placed",
        "LegalHoldReleased": "legal_hold_released",
        "ContentExpired": "config_content_expired",
        "ContentShredded": "config_content_shredded",
    }


def test_projections_and_their_tables_have_names_of_their_own() -> None:
    tables = [table for projection in ALL for table in projection.tables]
    assert len(tables) == len(set(tables))
    assert "checkpoints" not in tables
    assert len({projection.name for projection in ALL}) == len(ALL)


class BackupTables:
    """The tables of `backups` as dictionaries: what the statements must come to."""

    def __init__(self) -> None:
        self.devices: dict[backups.DeviceKey, list[Any]] = {}
        self.snapshots: dict[backups.Key, list[Any]] = {}
        self.differences: dict[backups.Key, Any] = {}
        self.observations: set[tuple[Any, ...]] = set()
        self.asked: dict[backups.Key, Any] = {}
        self.finished: dict[backups.Key, Any] = {}
        self.gone: list[Any] = []

    def apply(self, ops: backups.BackupOps) -> None:
        for key, new in ops.snapshots.items():
            assert key not in self.snapshots
            self.snapshots[key] = [new.event.snapshot_id, 0, new.stored.occurred_at]
            self.snapshots[key].append(new.stored.occurred_at)
            self._confirm(key, new.sightings)
            if new.difference is not None:
                self.differences[key] = new.difference
        for key, difference in ops.differences.items():
            assert key in self.snapshots
            self.differences[key] = difference
        for key, seen in ops.sightings.items():
            self._confirm(key, seen)
        assert self.observations.isdisjoint(ops.observations)
        self.observations.update(ops.observations)
        for device, change in ops.devices.items():
            row = self.devices.setdefault(device, [0, 0, 0, None, None, None, None])
            row[0] = change.last_position
            row[1] += change.snapshots
            row[2] += change.confirmations
            if change.oldest is not None and change.newest is not None:
                row[3] = min(row[3] or change.oldest, change.oldest)
                row[4] = max(row[4] or change.newest, change.newest)
            row[5] = change.current or row[5]
            if device in ops.retired:
                row[6] = None
            failure, before = change.failure, row[6]
            if failure and (not before or failure.attempted_at >= before.attempted_at):
                row[6] = failure
        for key, asked in ops.asked.items():
            self.asked.setdefault(key, asked)
        for key, finish in ops.finished.items():
            assert key in self.asked
            self.finished.setdefault(key, finish)

        self.gone += ops.gone

    def _confirm(self, key: backups.Key, seen: backups.Sightings) -> None:
        row = self.snapshots[key]
        row[1] += seen.count
        row[2] = min(row[2], seen.oldest)
        row[3] = max(row[3], seen.newest)


@given(cut())
@settings(max_examples=150, deadline=None)
def test_backups_come_out_the_same_however_the_stream_is_cut(
    batches: list[list[StoredEvent]],
) -> None:
    in_batches, one_by_one = BackupTables(), BackupTables()
    for batch in batches:
        in_batches.apply(backups.fold(batch))
        for stored in batch:
            one_by_one.apply(backups.fold([stored]))
    assert vars(in_batches) == vars(one_by_one)


@given(cut())
@settings(max_examples=100, deadline=None)
def test_the_current_snapshot_is_the_one_observed_last(batches: list[list[StoredEvent]]) -> None:
    tables = BackupTables()
    for batch in batches:
        tables.apply(backups.fold(batch))
    for device, row in tables.devices.items():
        newest = max(
            (place[2:5] for place in tables.observations if place[:2] == device), default=None
        )
        assert (row[5] and row[5].snapshot_id) == (newest and newest[2])
        assert row[4] == (newest and newest[0])


@given(cut())
@settings(max_examples=100, deadline=None)
def test_diffs_and_audit_rows_do_not_depend_on_batches(batches: list[list[StoredEvent]]) -> None:
    whole = [stored for batch in batches for stored in batch]
    parts = [diffs.fold(batch) for batch in batches]
    assert [row for part in parts for row in part.diffs] == diffs.fold(whole).diffs
    audit = [row for batch in batches for row in AUDIT.fold(batch)]
    assert audit == AUDIT.fold(whole)
    assert [row[0] for row in audit] == [stored.position for stored in whole]


def test_audit_details_are_the_whole_event_without_what_postgres_cannot_hold() -> None:
    for stored in played(5, 300).events:
        details = msgspec.json.decode(AUDIT.fold([stored])[0][-1])
        told = msgspec.json.decode(encode_event(stored.event))
        assert repr(details) == repr(told).replace(r"\x00", "\N{REPLACEMENT CHARACTER}")
        if r"\x00" not in repr(told):
            assert decode_event(msgspec.json.encode(details)) == stored.event


def test_outages_are_told_from_faults() -> None:
    closed = asyncpg.InterfaceError("connection is closed")
    for outage in (
        ConnectionRefusedError(),
        TimeoutError(),
        Unavailable("NATS", "no reply"),
        asyncpg.ConnectionDoesNotExistError("gone"),
        asyncpg.AdminShutdownError("terminating"),
        asyncpg.CannotConnectNowError("starting up"),
        asyncpg.TooManyConnectionsError("too many"),
        asyncpg.DiskFullError("no space left"),
        asyncpg.DeadlockDetectedError("deadlock"),
        asyncpg.InternalClientError("cannot switch to state 11; another operation is in progress"),
        closed,
    ):
        assert is_outage(outage), outage
    for fault in (
        asyncpg.UniqueViolationError("twice"),
        asyncpg.UndefinedColumnError("no such column"),
        asyncpg.InvalidPasswordError("wrong"),
        asyncpg.DataError("not a number"),
        StreamGap("EVENTS", 3, 5),
        ValueError("fault"),
    ):
        assert not is_outage(fault), fault


def test_reasons_leave_out_the_details_that_quote_rows() -> None:
    error = asyncpg.UniqueViolationError("duplicate key")
    error.detail = "Key (id)=(r1) exists"
    assert reason_of(error) == "UniqueViolationError: duplicate key"
    assert reason_of(TimeoutError()) == "TimeoutError"
    ended = asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in…")
    assert reason_of(ended).startswith("it ended the session")


async def _feed(batches: list[list[StoredEvent]]) -> AsyncGenerator[list[StoredEvent], None]:
    for batch in batches:
        yield batch
    await asyncio.Event().wait()


async def test_reading_ahead_is_bounded_merges_and_notices_silence() -> None:
    events = played(1, 100).events
    given: list[int] = []

    async def counting() -> AsyncGenerator[list[StoredEvent], None]:
        async for batch in _feed([[stored] for stored in events]):
            given.append(len(batch))
            yield batch

    async with aclosing(counting()) as feed, Prefetch(feed, most=3) as prefetch:
        await eventually(lambda: len(given) >= 3)
        assert len(given) == 3
        assert await prefetch.next(5) == events[:3]
        seen: list[Delivered] = [*events[:3]]
        while len(seen) < len(events):
            batch = await prefetch.next(5)
            assert batch is not None
            assert 1 <= len(batch) <= 3
            seen += batch
        assert seen == events
        assert await prefetch.next(0.01) is None


async def test_of_large_events_fewer_are_read_ahead_and_merged() -> None:
    events = played(1, 30).events
    given: list[int] = []

    async def large() -> AsyncGenerator[Batch, None]:
        async for batch in _feed([[stored] for stored in events]):
            given.append(len(batch))
            yield Batch(batch, 4)

    async with aclosing(large()) as feed, Prefetch(feed, most=10) as prefetch:
        await eventually(lambda: len(given) >= 3)
        assert len(given) == 3
        seen: list[Delivered] = []
        while len(seen) < len(events):
            batch = await prefetch.next(5)
            assert batch is not None
            assert 1 <= len(batch) <= 2
            seen += batch
        assert seen == events


async def test_a_feed_that_fails_is_heard_after_what_it_gave() -> None:
    events = played(1, 20).events

    async def broken() -> AsyncGenerator[list[StoredEvent], None]:
        yield events[:2]
        raise StreamGap("EVENTS", 3, 4)

    async with aclosing(broken()) as feed, Prefetch(feed, most=10) as prefetch:
        assert await prefetch.next(5) == events[:2]
        with pytest.raises(StreamGap):
            await prefetch.next(5)


async def test_leaving_early_ends_the_reading() -> None:
    async with aclosing(_feed([])) as feed:
        async with Prefetch(feed, most=10) as prefetch:
            reading = asyncio.create_task(prefetch.next(60))
            await asyncio.sleep(0)
            reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert len(asyncio.all_tasks()) == 1


async def test_a_full_batch_is_prepared_before_it_is_asked_for_and_given_as_it_is() -> None:
    events = played(1, 100).events
    prepared: list[list[Delivered]] = []
    async with (
        aclosing(_feed([[stored] for stored in events])) as feed,
        Prefetch(feed, most=8, prepare=prepared.append) as prefetch,
    ):
        await eventually(lambda: bool(prepared))
        assert prepared == [events[:4]]
        assert await prefetch.next(5) is prepared[0]
        seen: list[Delivered] = [*events[:4]]
        while len(seen) < len(events):
            batch = await prefetch.next(5)
            assert batch is not None
            seen += batch
        assert seen == events
        assert [one for batch in prepared for one in batch] == events[: 4 * len(prepared)]


async def test_what_can_not_be_prepared_for_another_reason_than_an_event_is_heard() -> None:
    tried: list[int] = []

    def broken(batch: list[Delivered]) -> None:
        tried.append(len(batch))
        raise MemoryError

    async with (
        aclosing(_feed([played(1, 20).events])) as feed,
        Prefetch(feed, most=8, prepare=broken) as prefetch,
    ):
        await eventually(lambda: bool(tried))
        assert await prefetch.next(5) is not None
        with pytest.raises(MemoryError):
            await prefetch.next(5)
