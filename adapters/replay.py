"""Replaying the log from Python: `async for stored in replay(events, …)`, with a checkpoint.

A checkpoint belongs to one stream: it holds the stream's name and creation time. It is saved after
the caller is done with the events before it, so that after a crash some may come again, and none
is missed.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from domain.envelope import Selection, StoredEvent, StreamIdentity
from domain.errors import InvalidInput, StreamMismatch
from domain.ports import ALL, EventStore


class Checkpoint(Struct, frozen=True):
    """Up to where a reader is done, in which stream, and what it read there.

    `last_event` is the id of the event at the position, `last_stored` when it was stored: a stream
    that has another one there was put back to an older copy. `where` is what the reader selects.
    Old ones may lack all three.
    """

    stream: str
    created: datetime
    position: int
    where: Selection | None = None
    last_event: str | None = None
    last_stored: datetime | None = None


class CheckpointStore(Protocol):
    """Where a reader keeps its checkpoint; best in the same transaction as what it makes of the
    events."""

    def load(self) -> Checkpoint | None:
        """The checkpoint, None when there is none yet."""
        ...

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep it, in place of the one before."""
        ...


class FileCheckpoint:
    """A checkpoint in a file of its own, replaced in one step."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Checkpoint | None:
        """See `CheckpointStore`. Raises `InvalidInput` when the file holds something else."""
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(raw, type=Checkpoint)
        except msgspec.DecodeError as error:
            raise InvalidInput(
                str(self._path), "is no position file; remove it to begin anew"
            ) from error

    def check_writable(self) -> None:
        """Raise `InvalidInput` when `save` could not do its work, before any is done."""
        new = self._new()
        try:
            new.touch()
            new.unlink()
        except OSError as error:
            raise InvalidInput(
                str(self._path), f"no position can be kept there ({error.strerror})"
            ) from error

    def save(self, checkpoint: Checkpoint) -> None:
        """See `CheckpointStore`."""
        new = self._new()
        new.write_bytes(msgspec.json.encode(checkpoint) + b"\n")
        new.replace(self._path)

    def _new(self) -> Path:
        return self._path.with_name(f"{self._path.name}.{os.getpid()}.new")


class Replay:
    """One pass over the log. `where` selects events, `follow` goes on after the end.

    It begins after the checkpoint, if there is one; else at the first event that was stored at or
    after `since`, or after the position `after`.
    """

    def __init__(
        self,
        events: EventStore,
        *,
        after: int = 0,
        since: datetime | None = None,
        where: Selection = ALL,
        follow: bool = False,
        checkpoint: CheckpointStore | None = None,
    ) -> None:
        self._events = events
        self._after = after
        self._since = since
        self._where = where
        self._follow = follow
        self._checkpoint = checkpoint
        self._identity: StreamIdentity | None = None

    async def start(self) -> int:
        """The position after which it begins. Raises `StreamMismatch` when the checkpoint belongs
        to another stream, or the position is ahead of this one."""
        self._identity = await self._events.identity()
        head = await self._events.head()
        found = self._checkpoint.load() if self._checkpoint else None
        if found is not None:
            if (found.stream, found.created) != (self._identity.name, self._identity.created):
                raise StreamMismatch(
                    "the checkpoint",
                    f"belongs to {found.stream} as created at {found.created.isoformat()}, and this"
                    f" is {self._identity.name} as created at {self._identity.created.isoformat()};"
                    " if you recreated it, begin anew without the checkpoint",
                )
            if found.where is not None and found.where != self._where:
                raise StreamMismatch(
                    "the checkpoint",
                    "is of a replay with another tenant, device or types: what this one selects"
                    " before it would be missed; give it a checkpoint of its own",
                )
            after = found.position
        elif self._since is not None:
            after = await self._events.position_at(self._since)
        else:
            after = self._after
        if after > head:
            raise StreamMismatch(
                f"position {after}",
                f"is ahead of {self._identity.name}, which ends at {head}: the stream was restored"
                " to an earlier state, or the position is of another one",
            )
        if found is not None:
            await self._check_there(found)
        return after

    async def _check_there(self, found: Checkpoint) -> None:
        """The stream must have at the checkpoint what was read there: else it has another past."""
        if found.last_event is None:
            return
        now = await self._events.mark_at(found.position)
        if (
            now is None
            or now.event_id != found.last_event
            or found.last_stored not in (None, now.stored_at)
        ):
            raise StreamMismatch(
                "the checkpoint",
                f"was kept at another event than {found.stream} has at position {found.position}:"
                " the stream was put back to an older copy and has grown since; begin anew without"
                " the checkpoint",
            )

    async def batches(self) -> AsyncGenerator[list[StoredEvent], None]:
        """The events, in batches that are never empty. Call `done` when a batch is worked off."""
        after = await self.start()
        if self._follow:
            found = self._events.follow(after, self._where)
        else:
            found = self._events.read(after, where=self._where)
        async with aclosing(found) as batches:
            async for batch in batches:
                yield batch

    def done(self, last: StoredEvent) -> None:
        """Keep it that the events up to this one are worked off."""
        if self._checkpoint is not None:
            assert self._identity is not None, "nothing was read yet"
            self._checkpoint.save(
                Checkpoint(
                    self._identity.name,
                    self._identity.created,
                    last.position,
                    self._where,
                    last.event_id,
                    last.stored_at,
                )
            )


async def replay(
    events: EventStore,
    *,
    after: int = 0,
    since: datetime | None = None,
    where: Selection = ALL,
    follow: bool = False,
    checkpoint: CheckpointStore | None = None,
) -> AsyncGenerator[StoredEvent, None]:
    """Events one by one; see `Replay`. Asking for the next one says that the one before is done.

    The checkpoint is saved after each batch, and when the iteration is closed (`aclosing`).
    """
    run = Replay(
        events, after=after, since=since, where=where, follow=follow, checkpoint=checkpoint
    )
    async with aclosing(run.batches()) as batches:
        async for batch in batches:
            done: StoredEvent | None = None
            try:
                for stored in batch:
                    yield stored
                    done = stored
            finally:
                if done is not None:
                    run.done(done)
