"""An event loop in a thread of its own, with a connection: how synchronous code uses the store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from eventsourcing.persistence import InterfaceError
from nats.aio.client import Client

from adapters.jetstream.connection import CLOSE_SECONDS, close, connect
from domain.errors import Unavailable

T = TypeVar("T")

# A connection that fails is closed before that is told, and the loop wants its turn.
GRACE_SECONDS = CLOSE_SECONDS + 2.0
# What a closing loop still does must not keep the program from ending.
LEAVE_SECONDS = 5.0
CLOSED = "the factory is closed, and its connection with it; make a new one"


class Background:
    """A connection to NATS that any thread may use. `close` it, or the thread stays.

    Nobody waits longer than `timeout` seconds, neither for the connection nor for an operation.
    """

    def __init__(self, url: str, *, name: str, timeout: float) -> None:
        self.timeout = timeout
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()
        self._closing = threading.Lock()
        self._closed = False
        try:
            # Its own bound says more than ours, so it goes first.
            self.nc: Client = self._result(
                self.start(connect(url, name=name, within=timeout)), timeout + GRACE_SECONDS
            )
        except BaseException:
            self._closed = True
            self._end()
            raise

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def check_open(self) -> None:
        """Raise `InterfaceError` when it was closed."""
        if self._closed:
            raise InterfaceError(CLOSED)

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin the work in the loop. Cancelling the future cancels it.

        Raises `InterfaceError` when it was closed.
        """
        with self._closing:
            if self._closed:
                work.close()
                raise InterfaceError(CLOSED)
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work in the loop, and wait for it.

        Raises `Unavailable` when it takes too long, and `InterfaceError` when this is closed.
        """
        return self._result(self.start(work), self.timeout)

    def close(self) -> None:
        """Close the connection and end the thread; who waits for an answer is told. A second time
        does nothing."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        if threading.current_thread() is self._thread:
            # Collected as garbage, by the loop's own thread: it can't wait for itself.
            self._loop.create_task(self._close_and_stop())
            return
        asyncio.run_coroutine_threadsafe(close(self.nc), self._loop).result()
        self._end()

    def _result(self, started: Future[T], seconds: float) -> T:
        try:
            return started.result(seconds)
        except CancelledError:
            raise InterfaceError(CLOSED) from None
        except TimeoutError as error:
            if started.done() and not started.cancelled():
                raise  # the work's own
            started.cancel()
            raise Unavailable("NATS", f"no answer within {seconds:g} s") from error

    def _end(self) -> None:
        asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close_and_stop(self) -> None:
        await close(self.nc)
        await _cancel_others()
        self._loop.stop()


async def _cancel_others() -> None:
    """Nothing may be left that a thread waits for when the loop stops."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=LEAVE_SECONDS)
