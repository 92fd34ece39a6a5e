"""Histories that were told to a real stream, sealed and projected, in copies to tamper with."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.checkpoints import StoredNote
from adapters.jetstream.source import JetStreamSource
from adapters.postgres.pool import open_pool
from adapters.postgres.tiles import TileStore
from adapters.tlog.evidence import SystemEvidence
from adapters.tlog.row_pages import AuditRows
from adapters.tlog.verify import Options, Report, verify
from domain.envelope import StreamIdentity
from domain.errors import ContentCorrupt, ContentMissing
from domain.events import ContentRef
from domain.ports import ContentKind
from domain.tlog.checkpoint import Checkpoint, parse_checkpoint
from domain.tlog.leaf import RawEvent
from domain.tlog.names import STREAM_LOG, LogNames
from domain.tlog.note import Note, parse_note
from projections import ALL
from projections.audit.write import COLUMNS
from projections.writer import ProjectionWriter
from tests.listed_rows import ListedRows
from tests.logs import BASE, KEY, Story, seal
from tests.rig import rig

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

    def rows(self) -> AuditRows:
        return ListedRows(self.projected, self.audit)

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


async def told_history(nats: EmbeddedNats, dsn: str, *, tail: int, strange: bool = False) -> Copy:
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


def first_of(report: Report, what: str) -> Expected:
    found = [one for one in report.findings if one.what == what] or list(report.findings)
    return found[0].what, found[0].kind, found[0].position
