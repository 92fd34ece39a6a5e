"""Signed checkpoints on the stream CONFIGTRAIL_CHECKPOINTS: one subject a log, appended by
compare-and-swap, and another for those of them that were cosigned, later than the log grew or not.

Invariant: a note is appended only after the one that its writer saw as the last. So two sealers
never both publish, and a log's notes are one line of sizes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

from msgspec import Struct
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, BadRequestError, NotFoundError

from adapters.jetstream.codes import NAME_IN_USE, NO_MESSAGE, WRONG_LAST_SEQUENCE
from adapters.jetstream.connection import (
    REQUEST_TIMEOUT_SECONDS,
    missing_as_unavailable,
    outage_as_unavailable,
)
from adapters.jetstream.headers import number_in
from adapters.jetstream.verbatim import RawFeed
from domain.errors import NotVerified, StreamMisconfigured, StreamMissing, Unavailable
from domain.ids import from_token, to_token
from domain.tlog.checkpoint import checkpoint_in
from domain.tlog.names import cosigned_name, cosigned_origin
from domain.tlog.note import parse_note

CHECKPOINTS = "CONFIGTRAIL_CHECKPOINTS"
PREFIX = "configtrail-checkpoints"
_POSITION = "Configtrail-Position"


class StoredNote(Struct, frozen=True):
    """A note as the stream holds it. `origin` is what its subject says; `position` is how far in
    the stream of events its log was read for it (not signed, and only of use to the sealer).
    `stored_ns` is when it was stored, in nanoseconds since 1970, as `read_notes` tells it."""

    sequence: int
    origin: str
    raw: bytes
    position: int = 0
    stored_ns: int = 0


class Overtaken(Exception):
    """Somebody else appended to the log's notes first: read the last one again."""


def checkpoints_stream_config(replicas: int = 1) -> StreamConfig:
    """The notes, as the stream of them is made."""
    return StreamConfig(
        name=CHECKPOINTS,
        subjects=[f"{PREFIX}.*"],
        storage=StorageType.FILE,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.NEW,
        deny_delete=True,
        deny_purge=True,
        allow_direct=True,
        num_replicas=replicas,
        duplicate_window=1,
    )


class CheckpointStore:
    """The notes of all logs. Reads ask the stream's leader: they see what was written."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js

    async def ensure(self, replicas: int = 1, *, create: bool = True) -> None:
        """Make the stream, unless it is there. Raises `StreamMisconfigured` when it may forget, and
        without `create` `StreamMissing` when it is absent."""
        wanted = checkpoints_stream_config(replicas)
        with outage_as_unavailable("looking at the stream of checkpoints"):
            try:
                live = (await self._js.stream_info(CHECKPOINTS)).config
            except NotFoundError as missing:
                if not create:
                    raise StreamMissing(CHECKPOINTS) from missing
                try:
                    live = (await self._js.add_stream(wanted)).config
                except BadRequestError as error:
                    if error.err_code != NAME_IN_USE:  # another program made it meanwhile
                        raise
                    live = (await self._js.stream_info(CHECKPOINTS)).config
        for setting in ("subjects", "retention", "discard", "deny_delete", "deny_purge"):
            expected, got = getattr(wanted, setting), getattr(live, setting)
            if expected != got:
                raise StreamMisconfigured(CHECKPOINTS, setting, expected, got)
        for setting in ("max_age", "max_msgs", "max_msgs_per_subject"):
            got = getattr(live, setting)
            if got not in (None, 0, -1):
                raise StreamMisconfigured(CHECKPOINTS, setting, None, got)

    async def last(self, origin: str) -> StoredNote | None:
        """The log's last note; None when it has none."""
        with _asked("reading the last checkpoint"):
            try:
                message = await self._js.get_last_msg(CHECKPOINTS, _subject(origin))
            except NotFoundError as error:
                if error.err_code != NO_MESSAGE:
                    raise
                return None
        assert message.seq is not None
        position = _position_in((message.headers or {}).get(_POSITION, ""))
        return StoredNote(message.seq, origin, message.data or b"", position)

    async def newest(self, origin: str) -> StoredNote | None:
        """The log's last note, with what witnesses say of it."""
        last = await self.last(origin)
        if last is None:
            return None
        return _joined(last, await self.last(cosigned_name(origin)))

    async def all_of(self, origin: str) -> list[StoredNote]:
        """All notes of a log that has few, in order."""
        return [one async for one in self.each_of(origin)]

    async def each_of(self, origin: str) -> AsyncGenerator[StoredNote, None]:
        """The notes of a log, one after the other."""
        after = 0
        while True:
            with _asked("reading checkpoints"):
                try:
                    message = await self._js.get_msg(
                        CHECKPOINTS, seq=after + 1, subject=_subject(origin), next=True
                    )
                except NotFoundError as error:
                    if error.err_code != NO_MESSAGE:
                        raise
                    return
            assert message.seq is not None
            after = message.seq
            yield StoredNote(after, origin, message.data or b"")

    async def of_size(self, origin: str, size: int) -> StoredNote | None:
        """A note of the log with this size, with what witnesses say of it; None when it never had
        one."""
        found = await self._of_size(origin, size)
        if found is None:
            return None
        try:
            cosigned = await self._of_size(cosigned_name(origin), size)
        except NotVerified:
            return found  # somebody else's message: `audit verify` names it
        return _joined(found, cosigned)

    async def _of_size(self, origin: str, size: int) -> StoredNote | None:
        """Sizes only grow, so it is searched for by halves."""
        last = await self.last(origin)
        low, high = 1, last.sequence if last else 0
        while low <= high:
            middle = (low + high) // 2
            with _asked("looking for a checkpoint"):
                message = await self._js.get_msg(
                    CHECKPOINTS, seq=middle, subject=_subject(origin), next=True
                )
            assert message.seq is not None
            found = StoredNote(message.seq, origin, message.data or b"")
            has = checkpoint_in(found.raw).size
            if has == size:
                return found
            if has < size:
                low = message.seq + 1
            else:
                high = middle - 1
        return None

    async def append(self, origin: str, raw: bytes, *, after: int, position: int = 0) -> int:
        """Append a note, if the log's last one still has the sequence `after` (0: it has none).

        Returns its sequence when it is durable; also when it landed at a former try, whose
        acknowledgement was lost. Raises `Overtaken`, and `Unavailable` when the outcome can't be
        learnt now.
        """
        try:
            with _asked("publishing a checkpoint"):
                ack = await self._js.publish(
                    _subject(origin),
                    raw,
                    headers={
                        "Nats-Expected-Last-Subject-Sequence": str(after),
                        _POSITION: str(position),
                    },
                    stream=CHECKPOINTS,
                    timeout=REQUEST_TIMEOUT_SECONDS,
                )
        except APIError as error:
            if error.err_code not in WRONG_LAST_SEQUENCE:
                raise
            return await self._landed(origin, raw, after)
        except Unavailable:
            return await self._landed(origin, raw, after)
        return ack.seq

    async def _landed(self, origin: str, raw: bytes, after: int) -> int:
        """Signatures are deterministic: equal bytes after `after` are what we sent."""
        last = await self.last(origin)
        if last is not None and last.sequence > after:
            if last.raw == raw:
                return last.sequence
            raise Overtaken
        raise Unavailable("NATS", "the checkpoint was not acknowledged and is not in the stream")

    async def origins(self) -> list[str]:
        """The names of all logs that have notes."""
        # What stands under them once more, cosigned, is no log of its own.
        with _asked("listing the logs"):
            info = await self._js.stream_info(CHECKPOINTS, subjects_filter=f"{PREFIX}.>")
        names = [_origin(subject) for subject in info.state.subjects or {}]
        return sorted(one for one in names if cosigned_origin(one) is None)


async def read_notes(feed: RawFeed, after: int = 0) -> AsyncGenerator[list[StoredNote], None]:
    """All notes of all logs after a sequence, in order. `feed` is that of the checkpoints."""
    async with aclosing(feed.read(after)) as batches:
        async for batch in batches:
            yield [
                StoredNote(
                    one.position,
                    _origin(one.subject),
                    one.body,
                    _read_to(one.block),
                    one.stored_ns,
                )
                for one in batch
            ]


@contextmanager
def _asked(doing: str) -> Iterator[None]:
    with missing_as_unavailable(CHECKPOINTS), outage_as_unavailable(doing):
        yield


def _joined(own: StoredNote, cosigned: StoredNote | None) -> StoredNote:
    """A log's note with the cosignatures that another one has of the same checkpoint."""
    if cosigned is None:
        return own
    note = parse_note(own.raw)
    try:
        other = parse_note(cosigned.raw)
    except NotVerified:
        return own  # somebody else's message: `audit verify` names it
    if note.text != other.text:
        return own
    # The log's own signatures are those that its own note has.
    joined = note.together(one for one in other.signatures if one.name != own.origin)
    return StoredNote(own.sequence, own.origin, str(joined).encode(), own.position)


def _read_to(block: bytes) -> int:
    told = block.partition(f"\r\n{_POSITION}: ".encode())[2].partition(b"\r\n")[0]
    return _position_in(told.decode(errors="replace"))


def _position_in(told: str) -> int:
    """What a note's header says, 0 where it says nothing of use: nobody signed it."""
    try:
        return number_in(told)
    except ValueError:
        return 0


def _subject(origin: str) -> str:
    return f"{PREFIX}.{to_token(origin)}"


def _origin(subject: str) -> str:
    token = subject.removeprefix(f"{PREFIX}.")
    try:
        return from_token(token)
    except ValueError:
        return token  # somebody else's message: what it says is judged under that name
