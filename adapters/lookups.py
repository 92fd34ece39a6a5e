"""Threads for what may hang while something is looked for: a vault, a file of a server that is
away, a name, a witness, a key behind a passphrase.

They are not the event loop's own: those are few, and a handful of look-ups that hang would leave
none to anybody. The program does not wait for them at its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class LookUps:
    """So many threads at most, started on demand; what comes beyond waits for one of them."""

    def __init__(self, threads: int, name: str) -> None:
        self._unstarted = threads
        self._name = name
        self._asked: SimpleQueue[Callable[[], None]] = SimpleQueue()

    async def run(self, ask: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What a function that blocks gives, or raises. One that nobody waits for any more is not
        begun."""
        return await asyncio.wrap_future(self.begin(ask, *args, **kwargs))

    def begin(self, ask: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """What a function that blocks will give, or raise; one that is cancelled before its turn is
        not begun."""
        answer: Future[T] = Future()
        self._asked.put(partial(_answer, answer, partial(ask, *args, **kwargs)))
        if self._unstarted:
            self._unstarted -= 1
            Thread(target=self._work, name=self._name, daemon=True).start()
        return answer

    def _work(self) -> None:
        while True:
            self._asked.get()()


def _answer(answer: Future[T], ask: Callable[[], T]) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    try:
        answer.set_result(ask())
    except Exception as error:  # noqa: BLE001  it is raised again where it was asked for
        answer.set_exception(error)


SERVERS: Final = LookUps(8, "server-look-up")
# A file must not wait for a vault.
FILES: Final = LookUps(4, "file-look-up")
