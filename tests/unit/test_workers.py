"""Worker processes: what a killed one leaves is made good by the next."""

from __future__ import annotations

import os
import signal
from concurrent.futures.process import BrokenProcessPool

import pytest

from adapters.roles.workers import Workers


def die() -> None:
    """As the kernel's out-of-memory killer would have it."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_fails_its_work_and_no_other() -> None:
    with Workers(1) as workers:
        first = workers.submit(os.getpid).result()
        with pytest.raises(BrokenProcessPool):
            workers.submit(die).result()
        assert workers.submit(os.getpid).result() not in (first, os.getpid())
