"""One application's sequence of stored events in a stream: the asynchronous side of a recorder.

Invariant: an originator's versions ascend in the order of positions, and each is there once. The
append says after which position it must land, so that of two writers one gets a conflict.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import pairwise
from uuid import UUID

from eventsourcing.persistence import IntegrityError, StoredEvent
from msgspec import Struct
from nats.aio.client import Client
from nats.js.errors import APIError

from adapters.eventsourcing.wire import Subjects, event_of, version_of
from adapters.jetstream.batch import Outgoing, publish_batch
from adapters.jetstream.branch import PAGE, BranchReader
from adapters.jetstream.codes import WRONG_LAST_SEQUENCE
from adapters.jetstream.connection import REQUEST_TIMEOUT_SECONDS, outage_as_unavailable
from adapters.jetstream.feed import Feed
from adapters.jetstream.raw import RawMessage
from adapters.jetstream.wire import expected_last
from domain.errors import StreamMismatch, Unavailable

HEADS = 10_000


class Branch(Struct, frozen=True):
    """Where an originator's branch ends; without a version it is empty."""

    version: int | None = None
    position: int = 0


class Log:
    """Appends and reads; for the event loop's thread alone.

    `contiguous`: an originator's next version is the last one plus one, as of aggregates' events;
    else any higher one, as of snapshots. `replicated`: direct reads may lag behind what was
    written, so a branch is read to its end from the leader.
    """

    def __init__(
        self, nc: Client, subjects: Subjects, *, contiguous: bool, replicated: bool
    ) -> None:
        self._nc = nc
        self._js = nc.jetstream()
        self._subjects = subjects
        self._contiguous = contiguous
        self._replicated = replicated
        self._reader = BranchReader(nc, self._js, subjects.stream)
        self._feed = Feed(nc, self._js, subjects.stream)
        # Where branches ended when they were last seen: saves asking, and is never trusted.
        self._ends: OrderedDict[str, Branch] = OrderedDict()

    async def insert(self, events: Sequence[StoredEvent]) -> list[int]:
        """Append all events or none; returns their positions.

        Raises `IntegrityError` when a version is there already or does not follow, and
        `BatchTooLarge`.
        """
        by_originator: dict[str, list[StoredEvent]] = {}
        for event in events:
            by_originator.setdefault(str(event.originator_id), []).append(event)
        for group in by_originator.values():
            self._check_ascending(group)
        call = uuid.uuid4().hex
        ends = {key: await self._assumed(key, group[0]) for key, group in by_originator.items()}
        while True:
            try:
                first = await self._publish(call, events, ends)
            except APIError as error:
                if error.err_code not in WRONG_LAST_SEQUENCE:
                    raise
                ends = await self._after_conflict(by_originator)
            except Unavailable:
                # The acknowledgement may have been lost on its way: only the stream knows.
                found = await self._landed(call, events[0], ends)
                if found is None:
                    raise
                first = found
                break
            else:
                break
        positions = [first + index for index in range(len(events))]
        for event, position in zip(events, positions, strict=True):
            self._remember(event.originator_id, Branch(event.originator_version, position))
        return positions

    async def select(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None,
        lte: int | None,
        desc: bool,
        limit: int | None,
    ) -> list[StoredEvent]:
        """An originator's events, as `AggregateRecorder.select_events` says."""
        branch = self._subjects.branch(originator_id)
        if desc and limit == 1 and gt is None and lte is None:
            last = await self._reader.last(branch)
            return [] if last is None else [event_of(last)]
        # What the reader has seen before it needs not read again.
        end = self._ends.get(str(originator_id), Branch())
        known = gt is not None and end.version is not None and end.version <= gt
        found: list[StoredEvent] = []
        last_seen = end if known else Branch()
        async with aclosing(self._branch(branch, last_seen.position + 1)) as messages:
            async for raw in messages:
                version = version_of(raw)
                last_seen = Branch(version, raw.position)
                if lte is not None and version > lte:
                    break
                if gt is None or version > gt:
                    found.append(event_of(raw))
                    if not desc and len(found) == limit:
                        break
            else:
                if last_seen.version is not None:
                    self._remember(originator_id, last_seen)
        if desc:
            found.reverse()
        return found if limit is None else found[:limit]

    async def page(
        self, start: int, limit: int, stop: int | None, topics: Sequence[str]
    ) -> list[RawMessage]:
        """At most `limit` messages of these topics from position `start` to `stop`, in order."""
        wanted = set(self._subjects.of_topics(topics))
        found: list[RawMessage] = []
        page = PAGE if wanted else min(limit, PAGE)
        async with aclosing(self._reader.read(self._subjects.all, start, page=page)) as messages:
            async for raw in messages:
                if len(found) == limit or (stop is not None and raw.position > stop):
                    break
                if not wanted or _any_originator(raw.subject) in wanted:
                    found.append(raw)
        return found

    async def follow(
        self, after: int, topics: Sequence[str]
    ) -> AsyncGenerator[list[RawMessage], None]:
        """Messages after a position, and then on for ever.

        Raises `StreamMismatch` for a position that the stream does not have.
        """
        if after > (head := await self.head()):
            raise StreamMismatch(
                f"position {after}",
                f"is ahead of {self._subjects.stream}, which ends at {head}: the stream was"
                " recreated or restored",
            )
        feed = self._feed.follow(after, self._subjects.of_topics(topics))
        async with aclosing(feed) as batches:
            async for batch in batches:
                yield batch

    async def head(self) -> int:
        """The position of the last event, 0 when there is none."""
        with outage_as_unavailable("asking for the head of the stream"):
            return (await self._js.stream_info(self._subjects.stream)).state.last_seq

    async def _branch(self, branch: str, start: int) -> AsyncGenerator[RawMessage, None]:
        async with aclosing(self._reader.read(branch, start)) as messages:
            async for raw in messages:
                yield raw
                start = raw.position + 1
        if self._replicated:
            async with aclosing(self._reader.read_from_leader(branch, start)) as messages:
                async for raw in messages:
                    yield raw

    async def _publish(
        self, call: str, events: Sequence[StoredEvent], ends: dict[str, Branch]
    ) -> int:
        """Publish under conditions on every originator; returns the first position."""
        messages: list[Outgoing] = []
        open_ends = dict(ends)
        for number, event in enumerate(events):
            subject, headers, body = self._subjects.encode(event, f"{call}.{number}")
            end = open_ends.pop(str(event.originator_id), None)
            if end is not None:
                branch = self._subjects.branch(event.originator_id)
                headers.update(expected_last(branch, end.position))
            messages.append(Outgoing(subject, headers, body))
        if len(messages) > 1:
            return await publish_batch(self._nc, messages)
        [only] = messages
        with outage_as_unavailable("appending an event"):
            ack = await self._js.publish(
                only.subject,
                only.body,
                headers=dict(only.headers),
                timeout=REQUEST_TIMEOUT_SECONDS,
            )
        return ack.seq

    async def _assumed(self, originator: str, first: StoredEvent) -> Branch:
        """Where the branch probably ends. A first version is tried without asking."""
        end = self._ends.get(originator)
        if end is not None and end.version == first.originator_version - 1:
            return end
        if first.originator_version <= 1 and end is None:
            return Branch()
        return self._checked(await self._end(originator), first)

    async def _after_conflict(self, groups: dict[str, list[StoredEvent]]) -> dict[str, Branch]:
        """Where the branches really end, if the events still follow; else `IntegrityError`."""
        # They may look unchanged, while another's append is on its way: then the next try tells.
        return {key: self._checked(await self._end(key), group[0]) for key, group in groups.items()}

    async def _landed(self, call: str, first: StoredEvent, ends: dict[str, Branch]) -> int | None:
        """The position of the call's first event, if the stream has it."""
        start = ends[str(first.originator_id)].position + 1
        branch = self._subjects.branch(first.originator_id)
        async with aclosing(self._reader.read_from_leader(branch, start)) as messages:
            async for raw in messages:
                if raw.headers.get("ce-id") == f"{call}.0":
                    return raw.position
                if version_of(raw) >= first.originator_version:
                    return None
        return None

    async def _end(self, originator: str) -> Branch:
        last = await self._reader.last(self._subjects.branch(originator))
        end = Branch() if last is None else Branch(version_of(last), last.position)
        if end.version is not None:
            self._remember(originator, end)
        return end

    def _checked(self, end: Branch, first: StoredEvent) -> Branch:
        if end.version is None:
            return end
        version = first.originator_version
        if version <= end.version or (self._contiguous and version != end.version + 1):
            raise IntegrityError(
                f"version {version} of {first.originator_id} does not follow version {end.version}"
            )
        return end

    def _check_ascending(self, group: Sequence[StoredEvent]) -> None:
        for earlier, later in pairwise(group):
            step = later.originator_version - earlier.originator_version
            if step < 1 or (self._contiguous and step > 1):
                raise IntegrityError(
                    f"version {later.originator_version} of {later.originator_id} does not follow"
                    f" version {earlier.originator_version}"
                )

    def _remember(self, originator_id: UUID | str, end: Branch) -> None:
        key = str(originator_id)
        known = self._ends.get(key)
        if known is None or known.position < end.position:
            self._ends[key] = end
        self._ends.move_to_end(key)
        if len(self._ends) > HEADS:
            self._ends.popitem(last=False)


def _any_originator(subject: str) -> str:
    parts = subject.split(".")
    parts[-2] = "*"
    return ".".join(parts)
