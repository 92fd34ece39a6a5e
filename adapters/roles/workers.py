"""Worker processes for what would hold the interpreter's lock too long."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor

from adapters.embedded.launch import die_with_parent


def worker_pool(processes: int) -> ProcessPoolExecutor:
    """A pool whose processes start on demand and never outlive this program."""
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
