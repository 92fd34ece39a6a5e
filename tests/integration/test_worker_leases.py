"""Of several workers one is active: who takes over, when, and what the one before can still do."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest

from adapters.postgres.pool import open_pool
from projections import AUDIT
from projections.engine import ProjectionWorker
from projections.lease import Lease
from projections.outages import is_outage
from projections.rows import Pool
from tests.generators import played
from tests.integration.test_left_over import Hanging
from tests.listed import Listed
from tests.rebuilding import caught_up, running
from tests.support import eventually


@pytest.fixture
async def pools(postgres_dsn: str) -> AsyncIterator[list[Pool]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_pool(postgres_dsn)) for _ in range(2)]


class Work:
    """Work that lasts until it is ended or cancelled."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.end = asyncio.Event()
        self.cancelled = False

    async def __call__(self) -> None:
        self.began.set()
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def started(lease: Lease) -> tuple[Work, asyncio.Task[bool]]:
    work = Work()
    task = asyncio.create_task(lease.lead(work))
    await asyncio.wait_for(work.began.wait(), 20)
    return work, task


async def test_one_leads_and_others_are_told_at_once(pools: list[Pool]) -> None:
    work, leading = await started(Lease(pools[0], "a"))
    assert not await Lease(pools[1], "a").lead(never)
    assert not await Lease(pools[0], "a").lead(never)
    other, leading_too = await started(Lease(pools[1], "b"))
    work.end.set()
    other.end.set()
    assert await leading
    assert await leading_too
    second, leading = await started(Lease(pools[1], "a"))
    second.end.set()
    assert await leading


async def never() -> None:
    raise AssertionError("somebody else leads")


async def test_what_the_work_raises_comes_out_and_ends_the_lease(pools: list[Pool]) -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    lease = Lease(pools[0], "a")
    with pytest.raises(ZeroDivisionError):
        await lease.lead(fails)
    work, leading = await started(Lease(pools[1], "a"))
    leading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leading
    assert work.cancelled
    await started_and_ended(lease)


async def started_and_ended(lease: Lease) -> None:
    work, leading = await started(lease)
    work.end.set()
    assert await leading


async def test_a_lost_session_ends_the_work_as_an_outage(pools: list[Pool]) -> None:
    work, leading = await started(Lease(pools[0], "a"))
    await terminate_leases(pools[1])
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)) as caught:
        await asyncio.wait_for(leading, 20)
    assert is_outage(caught.value)
    assert work.cancelled
    await started_and_ended(Lease(pools[1], "a"))


async def terminate_leases(pool: Pool) -> None:
    await pool.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_locks"
        " WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )


async def test_a_holder_that_shows_nothing_loses_its_lease(
    pools: list[Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a process that was stopped: its session is there, and nothing comes from it.
    monkeypatch.setattr("projections.lease.BEAT_SECONDS", 3600.0)
    work, leading = await started(Lease(pools[0], "a"))
    other = Lease(pools[1], "a")

    async def taken_over() -> bool:
        return await other.lead(nothing)

    await eventually(taken_over, within=30)
    assert not work.cancelled
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)


async def nothing() -> None:
    return


async def test_who_takes_over_ends_what_the_one_before_has_begun(
    pools: list[Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Listed(played(2, 100).events)
    hanging = Hanging(AUDIT)
    async with AsyncExitStack() as stack:
        with monkeypatch.context() as stopped:
            stopped.setattr("projections.lease.BEAT_SECONDS", 3600.0)
            await stack.enter_async_context(running(ProjectionWorker(pools[0], source, hanging)))
            await asyncio.wait_for(hanging.hangs.wait(), 20)
        await stack.enter_async_context(running(ProjectionWorker(pools[1], source, AUDIT)))
        await caught_up(pools[1], AUDIT, source)


async def test_another_worker_takes_over_and_the_first_one_can_write_no_more(
    pools: list[Pool],
) -> None:
    events = played(1, 200).events
    source = Listed(events[:100])
    first = ProjectionWorker(pools[0], source, AUDIT)
    second = ProjectionWorker(pools[1], source, AUDIT)
    async with running(first, second):
        await caught_up(pools[0], AUDIT, source)
        await asyncio.wait_for(second.wait(100), 20)  # standing by, it knows where the rows are
        await terminate_leases(pools[1])
        await source.more(events[100:])
        await caught_up(pools[1], AUDIT, source)
        await asyncio.wait_for(first.wait(len(events)), 20)
        await asyncio.wait_for(second.wait(len(events)), 20)
    assert await pools[0].fetchval("SELECT count(*) FROM configtrail.audit") == len(events)


async def test_work_is_awaited_to_its_end_although_it_is_told_twice_to_stop(
    pools: list[Pool],
) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    began, may_end = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()
            raise OSError("the session went away while it was tidied up")

    leading = asyncio.create_task(Lease(pools[0], "a").lead(stubborn))
    await asyncio.wait_for(began.wait(), 20)
    for _ in range(2):
        leading.cancel()
        await asyncio.wait([leading], timeout=0.05)
    assert not leading.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await leading
    gc.collect()
    assert complaints == []
