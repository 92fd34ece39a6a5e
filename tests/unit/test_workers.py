"""Worker processes: work is bounded, and what a stopped one leaves is made good by the next."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial

import pytest

from adapters.comparing import Job, compared
from adapters.roles.workers import Workers
from domain.errors import NotFound, WorkStopped
from tests.unit.unified import replayed

MEGABYTE = 1024 * 1024


def die() -> None:
    """As the kernel's out-of-memory killer would have it."""
    os.kill(os.getpid(), signal.SIGKILL)


def never_end() -> None:
    while True:
        time.sleep(60)


def spin() -> None:
    while True:
        pass


def hold(size: int) -> int:
    return len(bytearray(size))


def not_found() -> None:
    raise NotFound("device", "r1")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_worker_fails_its_work_and_no_other() -> None:
    with Workers(1) as workers:
        first = workers.submit(os.getpid).result()
        with pytest.raises(WorkStopped, match="killed"):
            workers.submit(die).result()
        assert workers.submit(os.getpid).result() not in (first, os.getpid())


@pytest.mark.parametrize(
    ("work", "seconds", "patience"), [(spin, 0.2, 120.0), (never_end, 60.0, 0.2)]
)
def test_work_that_does_not_end_is_stopped_with_its_process(
    work: Callable[[], None], seconds: float, patience: float
) -> None:
    with Workers(1, seconds=seconds, patience=patience) as workers:
        first = workers.submit(os.getpid).result()
        with pytest.raises(WorkStopped, match="time"):
            workers.submit(work).result()
        assert not is_running(first)
        assert workers.submit(os.getpid).result() != first


def test_work_that_wants_too_much_memory_is_stopped() -> None:
    with Workers(1, memory=1024 * MEGABYTE) as workers:
        first = workers.submit(os.getpid).result()
        with pytest.raises(WorkStopped, match="memory"):
            workers.submit(hold, 2048 * MEGABYTE).result()
        assert workers.submit(os.getpid).result() != first
        assert workers.submit(hold, 64 * MEGABYTE).result() == 64 * MEGABYTE


def test_an_error_of_the_work_is_its_own_and_its_process_goes_on() -> None:
    with Workers(1) as workers:
        first = workers.submit(os.getpid).result()
        with pytest.raises(NotFound) as raised:
            workers.submit(not_found).result()
        assert str(raised.value) == str(NotFound("device", "r1"))
        assert vars(raised.value) == vars(NotFound("device", "r1"))
        assert workers.submit(os.getpid).result() == first
    assert not is_running(first)


def hostile(line: str, kinds: int) -> Job:
    """Two texts of lines of so many kinds, in random orders: the worst there is to compare."""
    choice = random.Random(kinds)
    texts = [
        "\n".join(
            [
                "/ip firewall filter",
                *(line.format(choice.randrange(kinds)) for _ in range(190_000)),
                "",
            ]
        )
        for _ in range(2)
    ]
    return Job(texts[0].encode(), texts[1].encode(), "routeros", b"k" * 32, "r1", ())


def long_line() -> Job:
    """Two texts of 60 kB, in which each of many names goes on with a long one."""
    texts = [f"/ip pool\nadd {'a.' * 15_000}b=1{f' .{name}=1' * 5_000}\n" for name in "cd"]
    return Job(texts[0].encode(), texts[1].encode(), "routeros", b"k" * 32, "r1", ())


SLOW = partial(hostile, "add action=drop chain=c{}", 4)
LARGE = partial(hostile, "add action=drop chain=c comment=" + "x" * 40 + "{}", 10**9)


@pytest.mark.parametrize(
    ("make", "seconds", "memory", "why"),
    [
        (SLOW, 0.05, 1024, "it took too long"),
        (long_line, 0.05, 1024, "it took too long"),
        (LARGE, 60.0, 256, "it took too much memory"),
    ],
    ids=["time", "time of a small text", "memory"],
)
async def test_a_comparison_beyond_its_bounds_is_coarse_and_says_so(
    make: Callable[[], Job], seconds: float, memory: int, why: str
) -> None:
    job = make()
    with Workers(1, seconds=seconds, memory=memory * MEGABYTE) as workers:
        found = await compared(job, workers)
        assert found.coarse
        assert replayed(job.before, found.patch) == (
            job.after,
            found.lines_added,
            found.lines_removed,
        )
        assert found.told is not None
        assert [why in note for note in found.told.notes] == [True]
        # The next one is as good as ever.
        small = Job(b"/ip pool\nadd name=a\n" * 9000, b"", "routeros", b"k" * 32, "r1", ())
    with Workers(1) as workers:
        assert not (await compared(small, workers)).coarse
