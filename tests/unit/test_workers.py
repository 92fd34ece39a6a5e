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
from adapters.redacting import shown
from adapters.roles.workers import Workers
from adapters.scanning import Query, ScanJob, scanned
from domain.errors import NotFound, RedactionStopped, Unavailable, WorkStopped
from domain.redaction import Redactor
from tests.unit.unified import replayed

MEGABYTE = 1024 * 1024


def die(*_: object) -> None:
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


def test_a_process_that_does_not_start_in_time_is_not_the_works_fault() -> None:
    with Workers(1, start=0.0) as workers, pytest.raises(WorkStopped, match="killed"):
        workers.submit(os.getpid).result()


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


def hostile(line: str, kinds: int, count: int = 190_000) -> Job:
    """Two texts of lines of so many kinds, in random orders: the worst there is to compare."""
    choice = random.Random(kinds)
    texts = [
        "\n".join(
            [
                "/ip firewall filter",
                *(line.format(choice.randrange(kinds)) for _ in range(count)),
                "",
            ]
        )
        for _ in range(2)
    ]
    return Job(texts[0].encode(), texts[1].encode(), "routeros", b"k" * 32, "r1", ())


SLOW = partial(hostile, "add action=drop chain=c{}", 4)
SMALL = partial(hostile, "add action=drop chain=c{}", 4, 4_000)
LARGE = partial(hostile, "add action=drop chain=c comment=" + "x" * 40 + "{}", 10**9)


@pytest.mark.parametrize(
    ("make", "seconds", "memory", "why"),
    [
        (SLOW, 0.05, 1024, "it took too long"),
        (SMALL, 0.002, 1024, "it took too long"),
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


async def test_a_comparison_whose_process_did_not_start_is_tried_again_and_says_so() -> None:
    job = Job(b"/ip pool\nadd name=a\n", b"", "routeros", b"k" * 32, "r1", ())
    with Workers(1, start=0.0) as workers:
        found = await compared(job, workers)
    assert found.told is not None
    [note] = found.told.notes
    assert "its process was killed, or did not start, 2 times" in note
    assert "took too long" not in note


async def test_a_text_that_can_not_be_redacted_in_time_holds_nobody_up() -> None:
    text = b"".join(b"snmp-server community c%d\n" % number for number in range(300_000))
    redactor = Redactor(b"k" * 32, "r1")
    with Workers(1, seconds=0.1) as workers:
        with pytest.raises(RedactionStopped, match="too much time") as raised:
            await shown(text, "ios", redactor, workers)
        assert "c299999" not in str(raised.value)
        assert await scanned(ScanJob(text, "ios", b"k" * 32, "r1", Query("c1")), workers) is None
        assert b"<secret:" in await shown(text[:26], "ios", redactor, workers)


async def test_a_redaction_that_something_else_killed_can_be_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    redactor = Redactor(b"k" * 32, "r1")
    monkeypatch.setattr("adapters.redacting.redacted", die)
    with Workers(1) as workers, pytest.raises(Unavailable, match="killed"):
        await shown(b"hostname a\n", "ios", redactor, workers)
