"""A history to play against the program, and what must be there afterwards, come what may.

What a run leaves is compared without what differs by nature between two runs: keys and salts (and
so fingerprints and ids), positions, and how recorder and differ interleaved.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import asyncpg
from msgspec import Struct

from domain.envelope import StoredEvent
from domain.events import DiffGenerated, DuplicateSkipped, SnapshotCreated
from domain.ports import EventStore

START = datetime(2026, 3, 1, tzinfo=UTC)
TENANT = "acme"


class Reading(Struct, frozen=True):
    """One reading of one device, as a poller would send it."""

    device_id: str
    text: str
    collected_at: datetime


def export(device: str, revision: int, moment: datetime) -> str:
    """A small RouterOS export; `revision` is its configuration, the header tells the time."""
    return (
        f"# {moment:%Y-%m-%d %H:%M:%S} by RouterOS 7.14\r\n"
        "# software id = ABCD-1234\r\n"
        "/interface bridge\r\n"
        "add name=bridge1\r\n"
        "/ip address\r\n"
        f'add address=192.0.2.{revision % 250 + 1}/24 comment="revision {revision}" '
        "interface=bridge1\r\n"
        "/system identity\r\n"
        f"set name={device}\r\n"
    )


def readings(*, devices: int, each: int, seed: int) -> list[Reading]:
    """A fleet's history in time order: about two thirds of the readings change nothing."""
    choice = random.Random(seed)
    revisions = dict.fromkeys((f"router-{number:02d}" for number in range(devices)), 0)
    played = []
    for step in range(each):
        for number, device in enumerate(revisions):
            if choice.random() < 0.33:
                revisions[device] = choice.randrange(4)  # may go back to an earlier one
            moment = START + timedelta(minutes=15 * step, seconds=number)
            played.append(Reading(device, export(device, revisions[device], moment), moment))
    return played


def expected_facts(played: list[Reading]) -> dict[str, list[tuple[str, datetime]]]:
    """For each device the facts that its readings must have become, in order."""
    facts: dict[str, list[tuple[str, datetime]]] = {}
    last: dict[str, str] = {}
    for reading in played:
        body = reading.text.partition("\n")[2]
        name = "DuplicateSkipped" if last.get(reading.device_id) == body else "SnapshotCreated"
        last[reading.device_id] = body
        facts.setdefault(reading.device_id, []).append((name, reading.collected_at))
    return facts


class Outcome(Struct, frozen=True):
    """What a run left, comparable with another run's."""

    facts: dict[str, list[tuple[str, datetime]]]
    diffs: Counter[tuple[str, datetime, datetime, int, int]]


async def all_events(store: EventStore) -> list[StoredEvent]:
    """Every event in the stream."""
    async with aclosing(store.read()) as batches:
        return [stored async for batch in batches for stored in batch]


def outcome(events: list[StoredEvent]) -> Outcome:
    """What the events say, without what differs by nature."""
    facts: dict[str, list[tuple[str, datetime]]] = {}
    when: dict[str, datetime] = {}
    diffs: Counter[tuple[str, datetime, datetime, int, int]] = Counter()
    for stored in events:
        match stored.event:
            case SnapshotCreated() as event:
                when[event.snapshot_id] = event.collected_at
                facts.setdefault(stored.device_id, []).append(
                    ("SnapshotCreated", event.collected_at)
                )
            case DuplicateSkipped() as event:
                facts.setdefault(stored.device_id, []).append(
                    ("DuplicateSkipped", event.collected_at)
                )
            case DiffGenerated() as event:
                diffs[
                    stored.device_id,
                    when[event.from_snapshot_id],
                    when[event.to_snapshot_id],
                    event.lines_added,
                    event.lines_removed,
                ] += 1
            case _:
                raise AssertionError(f"unexpected {stored.event}")
    return Outcome(facts, diffs)


def pairs(facts: dict[str, list[tuple[str, datetime]]]) -> Iterator[tuple[str, datetime, datetime]]:
    """The neighbouring snapshots of each device: each pair has one difference."""
    for device, told in facts.items():
        created = [moment for name, moment in told if name == "SnapshotCreated"]
        for before, after in itertools.pairwise(created):
            yield device, before, after


# Columns that differ by nature between two runs of the same history.
_RUN_OWN = {
    "position",
    "last_position",
    "version",
    "event_id",
    "stored_at",
    "correlation_id",
    "causation_id",
    "details",
    "resource_id",
    "fingerprint",
    "text_fingerprint",
    "commitment",
    "content_sequence",
    "changes_sequence",
    "changes_commitment",
    "snapshot_id",
    "current_snapshot_id",
    "predecessor_id",
    "successor_id",
    "from_snapshot_id",
    "to_snapshot_id",
    "differs_from",
    # Made of these, for pages.
    "shown_begin",
    "shown_end",
    "listed_end",
}
# Whose ids stand within texts.
_NAMED = ("from_snapshot_id", "to_snapshot_id", "differs_from", "snapshot_id")


async def rows(pool: asyncpg.Pool, *, whole: bool) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every read model, sorted. `whole`: with the columns of a run's own."""
    found: dict[str, list[tuple[object, ...]]] = {}
    tables = await pool.fetch(
        "select table_name from information_schema.tables where table_schema = 'configtrail'"
    )
    for (table,) in tables:
        if table == "checkpoints":
            continue
        fetched = await pool.fetch(f'select * from configtrail."{table}"')
        found[table] = sorted(_whole(row) if whole else _without_own(row) for row in fetched)
    return found


def _whole(row: asyncpg.Record) -> tuple[object, ...]:
    return tuple(repr(value) for value in row.values())


def _without_own(row: asyncpg.Record) -> tuple[object, ...]:
    """The row without what is the run's own; ids of its snapshots stand within texts too."""
    ids = [row[name] for name in _NAMED if row.get(name)]
    kept = []
    for name, value in row.items():
        if name not in _RUN_OWN:
            told = repr(value)
            for number, one in enumerate(ids):
                told = told.replace(one, f"its snapshot {number}")
            kept.append(told)
    return tuple(kept)
