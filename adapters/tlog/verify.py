"""`audit verify`: a history and all that was made of it, against what was signed.

Events first: every position, every root, every signature. Then what is read from them: versions of
devices without a gap, the audit read model row by row, every content that an event refers to. From
the first event on that is not what was signed, the latter say nothing and are not reported.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing

from msgspec import Struct

from adapters.crypto.signing import check_ed25519
from adapters.jetstream.places import version_of
from adapters.jetstream.verbatim import Reader
from adapters.tlog.contents import Contents
from adapters.tlog.evidence import Evidence
from adapters.tlog.rows import MOST_FINDINGS, Rows
from adapters.tlog.versions import Versions
from domain.envelope import StoredEvent
from domain.errors import TableChanged
from domain.events import EventSkipped
from domain.tlog.findings import Claim, Finding, Suspect
from domain.tlog.judging import judge_notes
from domain.tlog.leaf import RawEvent, hash_of
from domain.tlog.locating import WINDOW, locate
from domain.tlog.merkle import root_of
from domain.tlog.names import STREAM_LOG, LogNames
from domain.tlog.note import VerifierKey
from domain.tlog.verification import StreamCheck
from projections.audit.write import Audit
from projections.source import Unreadable

Progress = Callable[[int, int], None]


class Options(Struct, frozen=True):
    """What to check. `trusted`: the public keys that may speak for the logs. `quorum`: how many of
    the witnesses must have cosigned, None for all. `outside`: notes that
    were kept elsewhere; a tail that is gone with its checkpoints shows only by them. `kept`: notes
    that Postgres keeps, which count where the stream of checkpoints lacks what they say."""

    base: str
    trusted: tuple[bytes, ...]
    witnesses: tuple[VerifierKey, ...] = ()
    quorum: int | None = None
    outside: tuple[bytes, ...] = ()
    kept: tuple[bytes, ...] = ()
    rows: bool = True
    content: bool = True


class Report(Struct, frozen=True):
    """What was found. `events` were read, of which `sealed` are under a checkpoint that holds.
    `awaited` ones had no row yet: the read model had not come that far.
    Of the `contents`, `gone` ones expired or were erased, as events say; `lingering` ones should be
    gone, and their removal is not finished.
    `unreadable` ones are in the log as they are stored, and no reader can, or may, make sense of
    them; rows of their devices' later events are held back. The first is at the position
    `first_unreadable`. `handed_over`: the deployment's keys
    that count only because a trusted one handed over to them. `others`: checkpoints of other logs,
    as of a name that the deployment had before; they say nothing of this stream.
    `behind`: logs whose last checkpoint waits for its witnesses, who cosigned a former one just
    now."""

    findings: tuple[Finding, ...]
    events: int
    sealed: int
    checkpoints: int
    logs: int
    rows: int
    awaited: int
    contents: int
    gone: int
    lingering: int
    unreadable: int
    handed_over: tuple[str, ...] = ()
    others: int = 0
    behind: int = 0
    first_unreadable: int | None = None

    @property
    def ok(self) -> bool:
        """Whether everything is what was signed."""
        return not self.findings


async def verify(evidence: Evidence, options: Options, progress: Progress | None = None) -> Report:
    """Check everything. Raises `Unavailable`, and `MasterKeyUnknown` when content needs a master
    key that others have."""
    names = LogNames(options.base, await evidence.identity())
    _, last = await evidence.ends()
    notes, last_note = await evidence.notes()
    # Of the notes, of which there are many, as little as can be is held twice.
    kept = {_text_of(raw) for raw in options.kept}
    there = {text for one in notes if (text := _text_of(one.raw)) in kept}
    lost = [raw for raw in options.kept if _text_of(raw) not in there]
    told = [(0, _origin_of(raw), raw) for raw in (*options.outside, *lost)]
    told += [(one.sequence, one.origin, one.raw) for one in notes]
    judged = judge_notes(
        told,
        names,
        options.trusted,
        check_ed25519,
        witnesses=options.witnesses,
        quorum=options.quorum,
        now=time.time(),
        stored={one.sequence: one.stored_ns / 1e9 for one in notes} if options.witnesses else None,
    )
    findings = [*judged.findings, *_lost_notes([one.sequence for one in notes], last_note)]
    if last and not findings and not any(one.log == STREAM_LOG for one in judged.claims):
        detail = f"none is there: nothing shows that the {last} events are what was recorded"
        findings.append(Finding("checkpoint", "unsigned", 1, detail))
    check = StreamCheck((await evidence.identity()).name, judged.claims)
    derived = _Derived(evidence, options)
    try:
        async with aclosing(evidence.read()) as batches:
            async for batch in batches:
                check.feed(batch)
                await derived.feed(batch)
                if progress is not None:
                    progress(check.position, last)
        await derived.finish()
    finally:
        await derived.close()
    suspect = check.finish(last)
    events = check.findings
    if suspect is not None:
        found = await _located(evidence, (await evidence.identity()).name, suspect)
        # An event that is gone explains why the stream is too short.
        gaps = [one for one in events if one.kind == "missing"]
        events += [one for one in found if one.kind != "truncated" or not gaps]
    bad = min((one.position for one in events if one.what == "event"), default=None)
    findings += events
    findings += [one for one in derived.findings if bad is None or one.position < bad]
    findings.sort(key=lambda one: (one.what != "event", one.position))
    return Report(
        tuple(findings[:MOST_FINDINGS]),
        events=check.position,
        sealed=check.matched,
        checkpoints=len(judged.claims),
        logs=check.logs,
        rows=derived.rows,
        awaited=derived.awaited,
        contents=derived.contents[0],
        gone=derived.contents[1],
        lingering=derived.contents[2],
        unreadable=derived.unreadable,
        handed_over=tuple(str(VerifierKey(names.base, one)) for one in judged.led_to),
        others=judged.others,
        behind=judged.behind,
        first_unreadable=derived.first_unreadable,
    )


async def _located(evidence: Evidence, stream: str, suspect: Suspect) -> list[Finding]:
    kept = await evidence.signed_leaves(suspect.claims[-1].size)
    # Leaves under a larger checkpoint tell more; those under the smallest suffice.
    signed = next(
        (kept[: one.size] for one in suspect.claims[::-1] if _are_signed(kept, one)), None
    )
    events: list[RawEvent] = []
    async with aclosing(evidence.read(suspect.first - 1)) as batches:
        async for batch in batches:
            events += [one for one in batch if one.position <= suspect.last + WINDOW]
            if batch[-1].position > suspect.last + WINDOW:
                break
    if signed is None and _agree(stream, suspect, events, kept):
        detail = f"events and tiles agree, and not with what was signed at {suspect.claim.size}"
        return [Finding("checkpoint", "forked", suspect.claim.sequence, detail)]
    return locate(stream, suspect, events, signed)


def _are_signed(leaves: Sequence[bytes], claim: Claim) -> bool:
    covered = leaves[: claim.size]
    return len(covered) == claim.size and root_of(covered) == claim.root


def _agree(
    stream: str, suspect: Suspect, events: Sequence[RawEvent], leaves: Sequence[bytes]
) -> bool:
    """Whether the tiles hold just these events: then it is the checkpoint that is of another
    history."""
    inside = [one for one in events if one.position <= suspect.last]
    kept = leaves[suspect.first - 1 : suspect.last]
    return suspect.last == suspect.claim.size and [hash_of(stream, one) for one in inside] == kept


def _lost_notes(sequences: Sequence[int], last: int) -> Iterator[Finding]:
    expected = 1
    for sequence in sequences:
        if sequence != expected:
            yield Finding("checkpoint", "missing", expected, f"none is stored before {sequence}")
        expected = sequence + 1
    if expected <= last:
        yield Finding("checkpoint", "missing", expected, f"none is stored up to {last}")


def _branch(event: RawEvent) -> str:
    return event.subject.rpartition(".")[0]


def _text_of(raw: bytes) -> bytes:
    """What is signed in a note, whoever did."""
    return raw.partition(b"\n\n")[0]


def _origin_of(raw: bytes) -> str:
    return raw.partition(b"\n")[0].decode(errors="replace")


class _Derived:
    """What is read from the events, compared with the events."""

    def __init__(self, evidence: Evidence, options: Options) -> None:
        self._evidence = evidence
        self._contents = Contents(evidence) if options.content else None
        self._reader = Reader()
        self._versions = Versions(self._reader)
        # Where an event can't be read, later rows of its branch are held back until it is skipped.
        self._held: dict[str, list[Finding]] = {}
        self._blocked: dict[int, str] = {}
        # Of events of which it is not known yet whether their rows are missing.
        self._withheld: dict[int, str] = {}
        self._skipped: set[int] = set()
        self._rows = Rows(evidence.rows()) if options.rows else None
        self.findings: list[Finding] = []
        self.unreadable = 0
        self.first_unreadable: int | None = None

    @property
    def rows(self) -> int:
        """How many rows were compared."""
        return self._rows.compared if self._rows else 0

    @property
    def awaited(self) -> int:
        """How many events had no row yet, rightly."""
        return self._rows.awaited if self._rows else 0

    @property
    def contents(self) -> tuple[int, int, int]:
        """How many texts were compared, how many of them are gone as an event says, and how many
        are still there although one says that they are gone."""
        told = self._contents
        return (told.compared, told.gone, told.lingering) if told else (0, 0, 0)

    async def feed(self, batch: Sequence[RawEvent]) -> None:
        """The next events."""
        if self._rows is None and self._contents is None:
            for event in batch:
                self._check_version(event, _branch(event), version_of(event.block))
            return
        stored: list[StoredEvent] = []
        read, check = self._reader.read_closely, self._versions.check
        for event in batch:
            one, ambiguous = read(event)
            branch = _branch(event)
            if isinstance(one, Unreadable):
                self._check_version(event, branch, version_of(event.block), readable=False)
                self._count_unreadable(event.position)
                self._held.setdefault(branch, [])
                self._blocked[event.position] = branch
                continue
            wrong = check(event, branch, one.version, readable=True)
            if wrong is not None:
                self._take_in(wrong)
            if ambiguous:
                self._count_unreadable(event.position)
            if type(one.event) is EventSkipped and one.event.projection == Audit.name:
                self._skip(one.event.position)
            if branch in self._held:
                self._withheld[event.position] = branch
            stored.append(one)
        if self._rows is not None:
            await self._compare(self._rows, self._rows.compare(stored, batch[-1].position))
        if self._contents is not None:
            found_wrong = await self._contents.check(stored)
            self.findings += found_wrong[: max(0, MOST_FINDINGS - len(self.findings))]

    async def finish(self) -> None:
        """After the last event."""
        if self._rows is not None:
            await self._compare(self._rows, self._rows.rest())
        if self._rows is not None:
            # Events that came since we began have rows, rightly.
            _, head = await self._evidence.ends()
            self.findings += await self._of_rows(self._rows.beyond(head))
        if self._contents is not None:
            self.findings += self._contents.finish()
        # An event that could be read, and not be taken in, has no row once it is skipped.
        self.findings = [one for one in self.findings if not self._is_skipped(one)]

    async def close(self) -> None:
        """Whatever happened."""
        if self._rows is not None:
            await self._rows.close()

    async def _compare(self, rows: Rows, comparing: Awaitable[list[Finding]]) -> None:
        for found in await self._of_rows(comparing):
            held = self._withheld.get(found.position) if found.kind == "missing" else None
            if held is not None:
                self._held[held].append(found)
            else:
                self._take_in(found)
        if self._withheld:
            late, withheld = set(rows.late), self._withheld
            left = [one for one in withheld if one > rows.done or one in late]
            self._withheld = {one: withheld[one] for one in left}

    async def _of_rows(self, comparing: Awaitable[list[Finding]]) -> list[Finding]:
        """What is found of rows; where their table is another one, that, and no more of them."""
        try:
            return await comparing
        except TableChanged as error:
            await self.close()
            self._rows = None
            return [Finding("audit row", "altered", 0, f"none was compared: {error}")]

    def _skip(self, position: int) -> None:
        self._skipped.add(position)
        branch = self._blocked.pop(position, None)
        if branch is not None and branch not in self._blocked.values():
            self.findings += self._held.pop(branch, [])
            withheld = self._withheld.items()
            self._withheld = {one: whose for one, whose in withheld if whose != branch}

    def _is_skipped(self, found: Finding) -> bool:
        missing = (found.what, found.kind) == ("audit row", "missing")
        return missing and found.position in self._skipped

    def _count_unreadable(self, position: int) -> None:
        self.unreadable += 1
        if self.first_unreadable is None:
            self.first_unreadable = position

    def _check_version(
        self, event: RawEvent, branch: str, version: int | None, *, readable: bool | None = None
    ) -> None:
        found = self._versions.check(event, branch, version, readable=readable)
        if found is not None:
            self._take_in(found)

    def _take_in(self, found: Finding) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(found)
