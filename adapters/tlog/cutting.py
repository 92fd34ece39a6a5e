"""Which events a bundle holds: all that the stream stored of a tenant in a time, without gaps.

The server's clock may have been set back: the stretch is cut where what stands before it is older,
and what stands after it is younger.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from msgspec import Struct

from domain.tlog.leaf import RawEvent
from domain.tlog.names import tenant_of_subject

Progress = Callable[[int, int], None]


class Feed(Protocol):
    """The stream of events, as it is stored."""

    async def ends(self) -> tuple[int, int]:
        """The first and the last position."""
        ...

    def read(self, after: int = 0) -> AsyncGenerator[list[RawEvent], None]:
        """The events after a position, up to the end as of now."""
        ...


class Cut(Struct, frozen=True):
    """The `count` events from `first` to `last`, and the tenant's events around them. Positions in
    the stream, 0 where there is none."""

    before: int = 0
    first: int = 0
    last: int = 0
    after: int = 0
    count: int = 0

    @property
    def begin(self) -> int:
        """The first of them all."""
        return self.before or self.first or self.after

    @property
    def end(self) -> int:
        """The last of them all."""
        return self.after or self.last or self.before

    @property
    def width(self) -> int:
        """How many they are in all."""
        return self.count + bool(self.before) + bool(self.after)

    def holds(self, position: int) -> bool:
        """Whether a position is in the stretch."""
        return self.first <= position <= self.last


async def cut_of(
    feed: Feed,
    tenant_id: str,
    size: int,
    from_ns: int,
    to_ns: int,
    progress: Progress | None = None,
) -> Cut:
    """All that was stored in that time, of the first `size` events of a tenant."""
    begun = False
    # What was read since the last one before it; the stretch, where one after it is known.
    before = first = last = count = after = 0
    found: Cut | None = None
    async for one in _own(feed, tenant_id, size, progress):
        if from_ns <= one.stored_ns <= to_ns:
            begun, found = True, None
        elif one.stored_ns > to_ns:
            after = one.position
            found = found or Cut(before, first, last, after, count)
        elif not begun:
            before, found = one.position, None
            first = last = count = 0
            continue
        first = first or one.position
        last = one.position
        count += 1
    return found or Cut(before, first, last, 0, count)


async def _own(
    feed: Feed, tenant_id: str, size: int, progress: Progress | None
) -> AsyncGenerator[RawEvent, None]:
    """The tenant's events, as many as are sealed."""
    count = 0
    _, last = await feed.ends()
    async with aclosing(feed.read()) as batches:
        async for batch in batches:
            for one in batch:
                if count < size and tenant_of_subject(one.subject) == tenant_id:
                    count += 1
                    yield one
            if count == size:
                return
            if progress is not None:
                progress(batch[-1].position, last)
