"""An event loop in a thread of its own, with a connection: how synchronous code uses the store."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from nats.aio.client import Client

from adapters.jetstream.connection import connect

T = TypeVar("T")

log = logging.getLogger(__name__)

# A server that is gone must not keep the program from ending.
CLOSE_SECONDS = 5.0


class Background:
    """A connection to NATS that any thread may use. `close` it, or the thread stays."""

    def __init__(self, url: str, *, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()
        self._closing = threading.Lock()
        self._closed = False
        try:
            self.nc: Client = self.call(connect(url, name=name))
        except BaseException:
            self._end()
            raise

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin the work in the loop. Cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work in the loop, and wait for it."""
        return self.start(work).result()

    def close(self) -> None:
        """Close the connection and end the thread. A second time does nothing."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        if threading.current_thread() is self._thread:
            # Collected as garbage, by the loop's own thread: it can't wait for itself.
            self._loop.create_task(self._close_and_stop())
            return
        self.call(self._close_connection())
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close_and_stop(self) -> None:
        await self._close_connection()
        self._loop.stop()

    async def _close_connection(self) -> None:
        try:
            await asyncio.wait_for(self.nc.close(), CLOSE_SECONDS)
        except TimeoutError:
            log.warning("the connection to NATS does not close; it ends with its thread")
