"""Worker processes for what would hold the interpreter's lock too long."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

from adapters.embedded.launch import die_with_parent

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class Workers(Executor):
    """A pool whose processes start on demand and never outlive this program.

    When one of them is killed (by want of memory, say), what was under way fails, and the next work
    gets new processes: a `ProcessPoolExecutor` alone would refuse all work from then on.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool = _pool(processes)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See `Executor.submit`."""
        try:
            return self._pool.submit(fn, *args, **kwargs)
        except BrokenProcessPool:
            log.warning("a worker process was killed; starting others")
            self._pool.shutdown(wait=False)
            self._pool = _pool(self._processes)
            return self._pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor.shutdown`."""
        self._pool.shutdown(wait=wait, cancel_futures=cancel_futures)


def _pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        max_workers=processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(os.getpid(),),
    )


def _begin(parent: int) -> None:
    # An interrupt from the terminal reaches the whole group; the program ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(signal.SIGKILL, parent)
