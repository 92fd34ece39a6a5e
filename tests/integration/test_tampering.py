"""Every way of tampering with a history is found and named; an untouched one is never accused.

The history is real: told to a real stream, sealed, projected. Each case changes one thing in a copy
of it and looks at what verification says first.
"""

from __future__ import annotations

import base64
import copy
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest_asyncio
from msgspec.structs import replace

from adapters.crypto.signing import SigningKey
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.checkpoints import StoredNote
from adapters.jetstream.source import JetStreamSource
from adapters.jetstream.verbatim import Reader
from adapters.postgres.pool import open_pool
from adapters.postgres.tiles import TileStore
from adapters.retention.explaining import explained
from adapters.tlog.evidence import SystemEvidence
from adapters.tlog.row_pages import Page
from adapters.tlog.row_text import row_line
from adapters.tlog.verify import Options, Report, verify
from domain.envelope import StoredEvent, StreamIdentity
from domain.errors import ContentCorrupt, ContentMissing
from domain.events import ContentRef, SnapshotCreated
from domain.ports import ContentKind
from domain.tlog.checkpoint import Checkpoint, parse_checkpoint
from domain.tlog.handover import handover_origin, handover_text
from domain.tlog.leaf import RawEvent
from domain.tlog.names import STREAM_LOG, LogNames, tenant_log
from domain.tlog.note import Note, parse_note
from projections import ALL
from projections.audit.write import COLUMNS, Audit
from projections.writer import ProjectionWriter
from tests.logs import BASE, KEY, Story, seal
from tests.rig import rig

CASES_EACH = 80
OTHER = SigningKey(bytes(32))
OPTIONS = Options(BASE, (KEY.public,))
Expected = tuple[str, str, int]
_ROWS = f"SELECT {', '.join(COLUMNS)} FROM configtrail.audit ORDER BY position"


@dataclass
class Copy:
    """A copy of a history: `adapters.tlog.evidence.Evidence` in memory."""

    stream: StreamIdentity
    events: list[RawEvent]
    last: int
    stored_notes: list[StoredNote]
    last_note: int
    leaves: list[bytes]
    audit: list[tuple[Any, ...]]
    projected: int
    gone: set[int] = field(default_factory=set)
    corrupt: set[int] = field(default_factory=set)

    async def identity(self) -> StreamIdentity:
        return self.stream

    async def ends(self) -> tuple[int, int]:
        return self.events[0].position if self.events else 1, self.last

    async def read(self, after: int = 0) -> AsyncGenerator[list[RawEvent], None]:
        there = [one for one in self.events if one.position > after]
        for start in range(0, len(there), 100):
            yield there[start : start + 100]

    async def notes(self) -> tuple[list[StoredNote], int]:
        return self.stored_notes, self.last_note

    async def signed_leaves(self, count: int) -> list[bytes]:
        return self.leaves[:count]

    async def rows(self) -> AsyncGenerator[Page, None]:
        yield Page(self.projected, b"".join(map(row_line, self.audit)))

    async def content(
        self, tenant_id: str, device_id: str, kind: ContentKind, ref: ContentRef
    ) -> bytes:
        if ref.sequence in self.gone:
            raise ContentMissing(ref.sequence)
        if ref.sequence in self.corrupt:
            raise ContentCorrupt(ref.sequence, "it was altered")
        return b""

    @property
    def sealed(self) -> int:
        """How many events are under the stream's last checkpoint."""
        return max(one.size for _, one in self.checkpoints(STREAM_LOG))

    def checkpoints(self, log: str) -> list[tuple[int, Checkpoint]]:
        """The log's notes by their index, and what they say."""
        origin = LogNames(BASE, self.stream).origin(log)
        return [
            (index, parse_checkpoint(parse_note(one.raw).text))
            for index, one in enumerate(self.stored_notes)
            if one.origin == origin
        ]

    def put_note(self, index: int, note: Note) -> None:
        self.stored_notes[index] = replace(self.stored_notes[index], raw=str(note).encode())

    def add_note(self, origin: str, raw: bytes) -> None:
        self.last_note += 1
        self.stored_notes.append(StoredNote(self.last_note, origin, raw))

    def end_notes_with(self, index: int) -> None:
        self.stored_notes = self.stored_notes[: index + 1]
        self.last_note = len(self.stored_notes)

    def end_with(self, position: int) -> None:
        self.events, self.audit = self.events[:position], self.audit[:position]
        self.last = position

    def renumber(self) -> None:
        self.events = [replace(one, position=at) for at, one in enumerate(self.events, 1)]
        self.last = len(self.events)


async def test_a_read_model_that_is_behind_is_not_accused(
    nats_server: EmbeddedNats, postgres_dsn: str
) -> None:
    async with rig(nats_server.url) as one, open_pool(postgres_dsn) as pool:
        story = Story(one, seed=5)
        await story.tell(20)
        source, audit = JetStreamSource(one.nc, one.js), Audit()
        writer = ProjectionWriter(pool, audit, source)
        await writer.prepare(await one.raw.identity())
        await writer.apply([await source.at(position) for position in range(1, 16)])
        await seal(one, pool)
        evidence = SystemEvidence(one.raw, one.notes, TileStore(pool), pool, one.content)
        report = await verify(evidence, replace(OPTIONS, content=False))
        assert report.findings == ()
        assert (report.rows, report.awaited) == (15, report.events - 15)


# What each column of a row is set to; times also to such as Python has none of.
WRONG_VALUES = (
    "tenant_id = tenant_id || '-'",
    "event_id = event_id || '-'",
    "occurred_at = occurred_at + interval '1 microsecond'",
    "occurred_at = 'infinity'",
    "occurred_at = '0044-03-15 BC'",
    "stored_at = stored_at - interval '1 microsecond'",
    "stored_at = '20000-01-01'",
    "stored_at = '9999-12-31 23:59:59.999999+00'",
    "actor = actor || '-'",
    "action = 'device_configured_'",
    "resource_type = resource_type || '-'",
    "resource_id = upper(resource_id) || '-'",
    "device_id = device_id || '-'",
    "version = version + 1",
    "correlation_id = coalesce(correlation_id, '') || '-'",
    "causation_id = coalesce(causation_id, '') || '-'",
    "details = details || ' '",
)


async def test_a_row_in_postgres_with_one_other_value_is_named(
    nats_server: EmbeddedNats, postgres_dsn: str
) -> None:
    async with rig(nats_server.url) as one, open_pool(postgres_dsn) as pool:
        story = Story(one, seed=6)
        await story.tell(len(WRONG_VALUES) + 5)
        source = JetStreamSource(one.nc, one.js)
        writer = ProjectionWriter(pool, Audit(), source)
        await writer.prepare(await one.raw.identity())
        head = (await one.raw.ends())[1]
        await writer.apply([await source.at(position) for position in range(1, head + 1)])
        await seal(one, pool)
        evidence = SystemEvidence(one.raw, one.notes, TileStore(pool), pool, one.content)
        options = replace(OPTIONS, content=False)
        await pool.execute("SET timezone = 'Asia/Kathmandu'")
        assert (await verify(evidence, options)).findings == ()
        for position, wrong in enumerate(WRONG_VALUES, 2):
            await pool.execute(
                f"UPDATE configtrail.audit SET {wrong} WHERE position = $1", position
            )
        report = await verify(evidence, options)
        assert [(found.what, found.kind, found.position) for found in report.findings] == [
            ("audit row", "altered", position) for position, _ in enumerate(WRONG_VALUES, 2)
        ]
        assert {column.split()[0] for column in WRONG_VALUES} == {*COLUMNS} - {"position"}
        # The session goes back to the pool as it was.
        moment = await pool.fetchval("SELECT min(stored_at) FROM configtrail.audit")
        assert isinstance(moment, datetime)


async def _told(nats: EmbeddedNats, dsn: str, *, tail: int, strange: bool = False) -> Copy:
    async with rig(nats.url) as one, open_pool(dsn) as pool:
        story = Story(one, seed=11)
        for count in (3, 40, 25, 60, 1, 31):
            await story.tell(count)
            await seal(one, pool)
        if strange:  # somebody else's message, which no reader knows
            await one.nc.publish("configtrail.acme.strange.Thing", b"?", headers={"a": "b"})
            await one.nc.flush()
        await story.tell(tail)
        source = JetStreamSource(one.nc, one.js)
        for projection in ALL:
            writer = ProjectionWriter(pool, projection, source)
            await writer.prepare(await one.raw.identity())
            head = (await one.raw.ends())[1]
            await writer.apply([await source.at(position) for position in range(1, head + 1)])
        evidence = SystemEvidence(one.raw, one.notes, TileStore(pool), pool, one.content)
        report = await verify(evidence, replace(OPTIONS, content=False))
        assert report.ok, report.findings
        assert report.unreadable == strange
        assert report.rows == story.told == report.events - strange
        notes, last_note = await evidence.notes()
        events = [event async for batch in evidence.read() for event in batch]
        return Copy(
            await evidence.identity(),
            events,
            events[-1].position,
            notes,
            last_note,
            await evidence.signed_leaves(1_000_000),
            [tuple(row) for row in await pool.fetch(_ROWS)],
            events[-1].position,
        )


@pytest_asyncio.fixture
async def told(nats_server: EmbeddedNats, postgres_dsn: str) -> Copy:
    """A history that is sealed to its end."""
    return await _told(nats_server, postgres_dsn, tail=0)


def flipped(raw: bytes, choice: random.Random) -> bytes:
    at = choice.randrange(len(raw))
    return raw[:at] + bytes((raw[at] ^ (1 << choice.randrange(8)),)) + raw[at + 1 :]


def alter_time(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.events))
    moved = it.events[at].stored_ns + choice.choice((-1, 1, 10**9))
    it.events[at] = replace(it.events[at], stored_ns=moved)
    return "event", "altered", at + 1


def alter_subject(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.events))
    parts = it.events[at].subject.split(".")
    part = choice.randrange(len(parts))
    parts[part] = parts[part][:-1] + ("x" if parts[part][-1] != "x" else "y")
    it.events[at] = replace(it.events[at], subject=".".join(parts))
    return "event", "altered", at + 1


def alter_headers(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.events))
    it.events[at] = replace(it.events[at], block=flipped(it.events[at].block, choice))
    return "event", "altered", at + 1


def alter_body(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.events))
    it.events[at] = replace(it.events[at], body=flipped(it.events[at].body, choice))
    return "event", "altered", at + 1


def alter_without_tiles(it: Copy, choice: random.Random) -> Expected:
    """Only the roots are there to tell: the stretch between two checkpoints is named."""
    it.leaves = []
    _, _, position = alter_body(it, choice)
    sizes = [one.size for _, one in it.checkpoints(STREAM_LOG)]
    return "event", "altered", max([size for size in sizes if size < position], default=0) + 1


def drop(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.events) - 1)
    del it.events[at]
    return "event", "missing", at + 1


def drop_and_close_up(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.events) - 1)
    del it.events[at : at + choice.randrange(1, min(4, len(it.events) - at))]
    it.renumber()
    return "event", "missing", at + 1


def insert(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.events))
    for _ in range(choice.randrange(1, 4)):
        like = choice.choice(it.events)
        fresh = replace(like, body=flipped(like.body, choice))
        it.events.insert(at, fresh)
    it.renumber()
    return "event", "inserted", at + 1


def swap(it: Copy, choice: random.Random) -> Expected:
    first, second = sorted(choice.sample(range(len(it.events)), 2))
    one, two = it.events[first], it.events[second]
    if choice.random() < 0.5:  # with their times, or leaving these in place
        one, two = replace(one, stored_ns=two.stored_ns), replace(two, stored_ns=one.stored_ns)
    it.events[first] = replace(two, position=first + 1)
    it.events[second] = replace(one, position=second + 1)
    return "event", "reordered", first + 1


def swap_neighbours(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.events) - 1)
    one, two = it.events[at : at + 2]
    it.events[at : at + 2] = [replace(two, position=at + 1), replace(one, position=at + 2)]
    return "event", "reordered", at + 1


def truncate(it: Copy, choice: random.Random) -> Expected:
    left = choice.randrange(len(it.events))
    del it.events[left:]
    it.last = left
    return "event", "truncated", left + 1


def cut_the_last_block(it: Copy, choice: random.Random) -> Expected:
    """As when a file is cut: the stream still knows where it ended."""
    left = choice.randrange(len(it.events))
    del it.events[left:]
    return "event", "missing", left + 1


def sign_with_another_key(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.stored_notes))
    checkpoint = parse_checkpoint(parse_note(it.stored_notes[at].raw).text)
    it.put_note(at, OTHER.note(checkpoint))
    return "checkpoint", "re-signed", at + 1


def rewrite_and_sign_with_another_key(it: Copy, choice: random.Random) -> Expected:
    alter_body(it, choice)
    for at, stored in enumerate(it.stored_notes):
        checkpoint = parse_checkpoint(parse_note(stored.raw).text)
        it.put_note(at, OTHER.note(checkpoint))
    return "checkpoint", "re-signed", 1


def alter_checkpoint(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.stored_notes))
    note = parse_note(it.stored_notes[at].raw)
    checkpoint = parse_checkpoint(note.text)
    if choice.random() < 0.5:
        changed = replace(checkpoint, size=checkpoint.size + choice.randrange(1, 9))
    else:
        changed = replace(checkpoint, root=flipped(checkpoint.root, choice))
    it.put_note(at, replace(note, text=changed.text))
    return "checkpoint", "altered", at + 1


def alter_signature(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.stored_notes))
    note = parse_note(it.stored_notes[at].raw)
    (one,) = note.signatures
    broken = replace(one, signature=flipped(one.signature, choice))
    it.put_note(at, replace(note, signatures=(broken,)))
    return "checkpoint", "altered", at + 1


def move_checkpoint_to_another_log(it: Copy, choice: random.Random) -> Expected:
    at, other = choice.sample(range(len(it.stored_notes)), 2)
    while it.stored_notes[at].origin == it.stored_notes[other].origin:
        at, other = choice.sample(range(len(it.stored_notes)), 2)
    it.stored_notes[at] = replace(it.stored_notes[at], raw=it.stored_notes[other].raw)
    return "checkpoint", "altered", at + 1


def drop_checkpoint(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.stored_notes))
    del it.stored_notes[at]
    return "checkpoint", "missing", at + 1


def swap_checkpoints(it: Copy, choice: random.Random) -> Expected:
    one, two = sorted(index for index, _ in choice.sample(it.checkpoints(STREAM_LOG), 2))
    first, second = it.stored_notes[one], it.stored_notes[two]
    it.stored_notes[one] = replace(first, raw=second.raw)
    it.stored_notes[two] = replace(second, raw=first.raw)
    between = [index for index, _ in it.checkpoints(STREAM_LOG) if one < index <= two]
    return "checkpoint", "reordered", between[0] + 1


def fork(it: Copy, choice: random.Random) -> Expected:
    """With the true key, another root for a size."""
    log = choice.choice([STREAM_LOG, "tenant/acme", "tenant/globex"])
    at, checkpoint = choice.choice(it.checkpoints(log))
    it.put_note(at, KEY.note(replace(checkpoint, root=flipped(checkpoint.root, choice))))
    return "checkpoint", "forked", at + 1


def two_roots_for_a_size(it: Copy, choice: random.Random) -> Expected:
    """Two views for two auditors, both kept."""
    log = choice.choice([STREAM_LOG, "tenant/acme", "tenant/globex"])
    at, checkpoint = it.checkpoints(log)[-1]
    other = KEY.note(replace(checkpoint, root=flipped(checkpoint.root, choice)))
    it.last_note += 1
    it.stored_notes.append(
        replace(it.stored_notes[at], sequence=it.last_note, raw=str(other).encode())
    )
    return "checkpoint", "forked", it.last_note


def alter_row(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.audit))
    row = list(it.audit[at])
    column = choice.randrange(1, len(row))
    row[column] = _changed(row[column])
    it.audit[at] = tuple(row)
    return "audit row", "altered", at + 1


def _changed(value: Any) -> Any:
    match value:
        case None:
            return "somebody"
        case str() if value.startswith("{"):
            return value.replace('"actor":"', '"actor":"user:')
        case str():
            return value + "x"
        case int():
            return value + 1
        case _:
            return value + timedelta(microseconds=1)


def delete_row(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.audit))
    del it.audit[at]
    return "audit row", "missing", at + 1


def insert_row(it: Copy, choice: random.Random) -> Expected:
    like = choice.choice(it.audit)
    position = choice.choice((-3, 0, it.last + 1, it.last + 1000))
    it.audit.append((position, *like[1:]))
    it.audit.sort(key=lambda row: int(row[0]))
    return "audit row", "inserted", position


def _content(it: Copy, choice: random.Random) -> tuple[int, int]:
    read = [Reader().read(one) for one in it.events]
    stored = [one for one in read if isinstance(one, StoredEvent)]
    found = [one for one in stored if isinstance(one.event, SnapshotCreated)]
    one = choice.choice(found)
    assert isinstance(one.event, SnapshotCreated)
    return one.position, one.event.content.sequence


def delete_content(it: Copy, choice: random.Random) -> Expected:
    position, sequence = _content(it, choice)
    while _is_explained(it, position, sequence):  # that one is gone rightly
        position, sequence = _content(it, choice)
    it.gone.add(sequence)
    return "content", "missing", position


def _is_explained(it: Copy, position: int, sequence: int) -> bool:
    branch = it.events[position - 1].subject.rpartition(".")[0]
    reader = Reader()
    for raw in it.events[position:]:
        stored = reader.read(raw)
        same = isinstance(stored, StoredEvent) and raw.subject.rpartition(".")[0] == branch
        if same and isinstance(stored, StoredEvent) and explained(stored, sequence) is not None:
            return True
    return False


def alter_content(it: Copy, choice: random.Random) -> Expected:
    position, sequence = _content(it, choice)
    it.corrupt.add(sequence)
    return "content", "altered", position


TAMPERINGS: tuple[Callable[[Copy, random.Random], Expected], ...] = (
    alter_time,
    alter_subject,
    alter_headers,
    alter_body,
    alter_without_tiles,
    drop,
    drop_and_close_up,
    insert,
    swap,
    swap_neighbours,
    truncate,
    cut_the_last_block,
    sign_with_another_key,
    rewrite_and_sign_with_another_key,
    alter_checkpoint,
    alter_signature,
    move_checkpoint_to_another_log,
    drop_checkpoint,
    swap_checkpoints,
    fork,
    two_roots_for_a_size,
    alter_row,
    delete_row,
    insert_row,
    delete_content,
    alter_content,
)


def first_of(report: Report, what: str) -> Expected:
    found = [one for one in report.findings if one.what == what] or list(report.findings)
    return found[0].what, found[0].kind, found[0].position


async def test_every_tampering_is_found_and_named(told: Copy) -> None:
    assert told.sealed == len(told.events) == told.last
    tried: Counter[str] = Counter()
    for tamper in TAMPERINGS:
        for seed in range(CASES_EACH):
            it = copy.copy(told)
            it.events, it.audit = list(told.events), list(told.audit)
            it.stored_notes, it.leaves = list(told.stored_notes), list(told.leaves)
            it.gone, it.corrupt = set(), set()
            expected = tamper(it, random.Random(seed))
            report = await verify(it, OPTIONS)
            assert not report.ok, (tamper.__name__, seed)
            assert first_of(report, expected[0]) == expected, (
                tamper.__name__,
                seed,
                report.findings[:5],
            )
            tried[tamper.__name__] += 1
    assert sum(tried.values()) >= 2000


async def test_an_untouched_history_is_never_accused(
    nats_server: EmbeddedNats, postgres_dsn: str
) -> None:
    told = await _told(nats_server, postgres_dsn, tail=17)
    report = await verify(told, OPTIONS)
    assert report.ok, report.findings
    assert (report.events, report.sealed) == (told.last, told.sealed)
    assert report.events > report.sealed
    # Tiles are only there to tell which event is bad: without them nothing is bad either.
    told.leaves = []
    assert (await verify(told, OPTIONS)).ok
    # Rows of the last events may be on their way: what is there is compared all the same.
    (*all_rows,) = told.audit
    told.audit, told.projected = all_rows[:-5], told.last - 5
    report = await verify(told, OPTIONS)
    assert (report.ok, report.rows, report.awaited) == (True, told.last - 5, 5)
    told.audit[-1] = (*told.audit[-1][:-1], "{}")
    told.projected = 0
    report = await verify(told, OPTIONS)
    assert first_of(report, "audit row") == ("audit row", "altered", told.last - 5)
    told.audit, told.projected = all_rows[:-5], told.last - 4
    report = await verify(told, OPTIONS)
    assert first_of(report, "audit row") == ("audit row", "missing", told.last - 4)
    told.audit, told.projected = all_rows, told.last
    # A checkpoint that somebody kept elsewhere says the same.
    kept = told.stored_notes[3].raw
    assert (await verify(told, replace(OPTIONS, outside=(kept,)))).ok


async def test_a_history_without_any_checkpoint_is_not_said_to_be_as_it_was_signed(
    told: Copy,
) -> None:
    kept = told.stored_notes[told.checkpoints(STREAM_LOG)[-1][0]].raw
    told.stored_notes, told.last_note = [], 0
    report = await verify(told, OPTIONS)
    assert [(one.what, one.kind) for one in report.findings] == [("checkpoint", "unsigned")]
    assert (await verify(told, replace(OPTIONS, outside=(kept,)))).ok
    told.events, told.audit, told.last = [], [], 0
    assert (await verify(told, OPTIONS)).ok, "there is nothing to sign"


async def test_what_nobody_can_read_is_in_the_log_and_nobody_is_accused_for_it(
    nats_server: EmbeddedNats, postgres_dsn: str
) -> None:
    told = await _told(nats_server, postgres_dsn, tail=9, strange=True)
    report = await verify(told, OPTIONS)
    assert (report.ok, report.unreadable) == (True, 1)
    assert alter_body(told, random.Random(3))[1] == "altered"
    assert not (await verify(told, OPTIONS)).ok


async def test_checkpoints_of_a_former_name_or_stream_are_told_of_and_hide_nothing(
    told: Copy,
) -> None:
    other = SigningKey(bytes(range(1, 33)))
    former = replace(told.stream, created=told.stream.created - timedelta(days=1))
    root = bytes(32)
    before = [
        *(
            LogNames("configtrail.example/old", former).origin(one)
            for one in (STREAM_LOG, "tenant/acme")
        ),
        LogNames(BASE, former).origin(STREAM_LOG),
    ]
    for key in (KEY, other):
        for origin in before:
            told.add_note(origin, str(key.note(Checkpoint(origin, 10_000, root))).encode())
    text = handover_text("configtrail.example/old", KEY.public, other.public)
    both = (
        KEY.sign_text("configtrail.example/old", text),
        other.sign_text("configtrail.example/old", text),
    )
    told.add_note(handover_origin("configtrail.example/old"), str(Note(text, both)).encode())
    report = await verify(told, OPTIONS)
    assert (report.findings, report.others) == ((), 7)
    # A claim about this stream is found wherever it stands, and so is what is no note at all.
    now = LogNames(BASE, told.stream)
    for origin in (now.origin(STREAM_LOG), now.origin("tenant/acme")):
        forked = str(KEY.note(Checkpoint(origin, 1, root))).encode()
        for place, kind in ((before[0], "altered"), (before[2], "altered"), (origin, "forked")):
            one = copy.deepcopy(told)
            one.add_note(place, forked)
            report = await verify(one, OPTIONS)
            assert {(two.what, two.kind) for two in report.findings} >= {("checkpoint", kind)}
            assert report.others == 7
    told.add_note(before[0], b"none")
    told.add_note(handover_origin("configtrail.example/old"), forked)
    report = await verify(told, OPTIONS)
    assert [two.kind for two in report.findings] == ["altered", "altered"]
    # Where somebody asks about one that was kept elsewhere, it is not passed over.
    report = await verify(told, replace(OPTIONS, outside=(told.stored_notes[-9].raw,)))
    assert any(two.position == 0 for two in report.findings)


async def test_a_tail_that_is_gone_with_its_checkpoints_shows_by_one_kept_elsewhere(
    told: Copy,
) -> None:
    index, checkpoint = told.checkpoints(STREAM_LOG)[-1]
    kept = told.stored_notes[index].raw
    before = told.checkpoints(STREAM_LOG)[-2]
    told.end_notes_with(before[0])
    told.end_with(before[1].size)
    assert (await verify(told, OPTIONS)).ok, "this no log can tell by itself"
    report = await verify(told, replace(OPTIONS, outside=(kept,)))
    assert first_of(report, "event") == ("event", "truncated", before[1].size + 1)
    assert base64.b64encode(checkpoint.root).decode() in kept.decode()


async def test_a_tenants_tail_that_is_gone_shows_by_its_own_checkpoint_kept_elsewhere(
    told: Copy,
) -> None:
    """Its auditor has the tenant's log alone. What is left is signed, so the stream is whole."""
    log = tenant_log("acme")
    index, checkpoint = told.checkpoints(log)[-1]
    kept = told.stored_notes[index].raw
    before = told.checkpoints(STREAM_LOG)[-2]
    told.end_notes_with(before[0])
    told.end_with(before[1].size)
    report = await verify(told, replace(OPTIONS, outside=(kept,)))
    (found,) = report.findings
    assert (found.what, found.kind) == ("checkpoint", "truncated")
    assert f"the log {log} had {checkpoint.size} events when it was signed" in found.detail


async def test_what_postgres_keeps_counts_where_the_checkpoints_lack_it(told: Copy) -> None:
    index, _ = told.checkpoints(STREAM_LOG)[-1]
    kept = told.stored_notes[index].raw
    assert (await verify(told, replace(OPTIONS, kept=(kept,)))).checkpoints == len(
        told.stored_notes
    ), "it is among them"
    before = told.checkpoints(STREAM_LOG)[-2]
    told.end_notes_with(before[0])
    assert (await verify(told, replace(OPTIONS, kept=(kept,)))).ok, "the events are all there"
    told.end_with(before[1].size)
    report = await verify(told, replace(OPTIONS, kept=(kept,)))
    assert first_of(report, "event") == ("event", "truncated", before[1].size + 1)
