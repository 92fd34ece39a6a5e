"""Reads ahead: the next batches come in, and a full one is folded, while the last is written."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from types import TracebackType

from projections.source import Batch, Delivered, weight_of


class Prefetch:
    """Batches of a feed, as few and as large as they are there. Bounded: it reads on while it keeps
    fewer than `most` events, of which large ones count as several. The feed is not closed here.

    `prepare` is called with a full batch (half of `most`) as soon as there is one, before `next`
    gives it: so Python folds while Postgres writes. One that is not full is given unprepared.
    """

    def __init__(
        self,
        feed: AsyncGenerator[Sequence[Delivered], None],
        *,
        most: int,
        prepare: Callable[[list[Delivered]], None] | None = None,
    ) -> None:
        self._feed = feed
        self._most = most
        self._prepare = prepare
        self._prepared: Batch | None = None
        self._ready: deque[Sequence[Delivered]] = deque()
        self._kept = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Prefetch:
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        # Awaiting the task itself could not tell its cancellation from one of ours.
        cancelled: asyncio.CancelledError | None = None
        while not self._task.done():
            try:
                await asyncio.wait([self._task])
            except asyncio.CancelledError as interrupted:
                cancelled = interrupted
        # Its error, if it has one, was either raised by `next` or gives way to another one.
        self._task.cancelled() or self._task.exception()
        if cancelled is not None:
            raise cancelled

    async def next(self, timeout: float) -> list[Delivered] | None:
        """All that is there, up to `most` events where batches allow; None when nothing came for
        `timeout` seconds. Raises what the feed raised, after everything that came before it."""
        assert self._task is not None
        if not self._kept and not self._task.done():
            self._news.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._news.wait()
            except TimeoutError:
                return None
        if not self._kept:
            await self._task
            raise RuntimeError("the feed of events ended")
        merged = self._prepared or self._merged(self._most)
        self._prepared = None
        self._kept -= merged.weight
        self._room.set()
        return merged

    def _merged(self, most: int) -> Batch:
        first = self._ready.popleft()
        merged = Batch(first, weight_of(first))
        while self._ready and merged.weight + weight_of(self._ready[0]) <= most:
            more = self._ready.popleft()
            merged += more
            merged.weight += weight_of(more)
        return merged

    def _look_ahead(self) -> None:
        if self._prepare is None or self._prepared is not None:
            return
        full = self._most // 2
        if self._kept >= full + full // 4:
            self._prepared = self._merged(full)
            self._prepare(self._prepared)

    async def _read(self) -> None:
        try:
            async for batch in self._feed:
                self._ready.append(batch)
                self._kept += weight_of(batch)
                self._news.set()
                # Decoding a batch holds up the writer, so it gets its turn between two.
                await asyncio.sleep(0)
                self._look_ahead()
                while self._kept >= self._most:
                    self._room.clear()
                    await self._room.wait()
        finally:
            self._news.set()
