"""Leases: one holder at a time, over processes, deaths and outages."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import nats
import pytest
from nats.aio.client import Client

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.connection import connect
from adapters.jetstream.leases import BUCKET, Leases
from domain.errors import LeaseHeld, LeaseLost, Unavailable
from tests.support import eventually

NAME = "backup.acme.router=2E1"
LONG = 60


@pytest.fixture
async def leases(nc: Client) -> Leases:
    leases = Leases(nc.jetstream(), holder="one")
    await leases.ensure()
    return leases


async def other(nc: Client) -> Leases:
    leases = Leases(nc.jetstream(), holder="two")
    await leases.ensure()
    return leases


@asynccontextmanager
async def connected(server: EmbeddedNats) -> AsyncIterator[Client]:
    """A connection to the server as it runs now."""
    client = await connect(server.url, name="now")
    try:
        yield client
    finally:
        await client.close()


async def test_a_held_lease_is_refused_to_others_who_learn_the_holder(
    nc: Client, leases: Leases
) -> None:
    second = await other(nc)
    async with leases.hold(NAME, LONG):
        assert await second.holder(NAME) == "one"
        with pytest.raises(LeaseHeld) as refused:
            async with second.hold(NAME, LONG):
                pytest.fail("two holders")
    assert refused.value.holder == "one"
    assert refused.value.name == NAME


async def test_the_same_process_is_refused_as_well(leases: Leases) -> None:
    async with leases.hold(NAME, LONG):
        with pytest.raises(LeaseHeld):
            async with leases.hold(NAME, LONG):
                pytest.fail("two holders")
        assert await leases.holder(NAME) == "one"


async def test_a_released_lease_is_free_at_once(nc: Client, leases: Leases) -> None:
    second = await other(nc)
    for _ in range(3):
        async with leases.hold(NAME, LONG):
            pass
        assert await leases.holder(NAME) is None
        async with second.hold(NAME, LONG):
            pass


@pytest.mark.parametrize("error", [ValueError("x"), TimeoutError("x")])
async def test_it_is_released_when_the_work_fails(leases: Leases, error: Exception) -> None:
    with pytest.raises(type(error), match="x"):
        async with leases.hold(NAME, LONG):
            raise error
    assert await leases.holder(NAME) is None


async def test_it_is_released_when_the_work_is_cancelled(leases: Leases) -> None:
    holding = asyncio.Event()

    async def work() -> None:
        async with leases.hold(NAME, LONG):
            holding.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await holding.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await leases.holder(NAME) is None


async def test_leases_of_different_names_do_not_meet(leases: Leases) -> None:
    async with leases.hold("backup.a.1", LONG), leases.hold("backup.a.2", LONG):
        assert await leases.holder("backup.a.1") == await leases.holder("backup.a.2") == "one"


async def test_of_many_who_race_one_gets_it(nc: Client, leases: Leases) -> None:
    inside = 0
    most = 0
    won = 0
    decided: list[bool] = []

    async def attempt() -> None:
        nonlocal inside, most, won
        mine = Leases(nc.jetstream())
        try:
            async with mine.hold(NAME, LONG):
                decided.append(True)
                inside += 1
                won += 1
                most = max(most, inside)
                await eventually(lambda: len(decided) == 16)
                inside -= 1
        except LeaseHeld:
            decided.append(False)

    await asyncio.gather(*(attempt() for _ in range(16)))
    assert (won, most) == (1, 1)
    assert await leases.holder(NAME) is None


async def test_it_outlives_its_time_to_live_while_it_is_held(nc: Client, leases: Leases) -> None:
    async with leases.hold(NAME, 1):
        first = await _revision(nc)
        # More renewals than one time to live has room for.
        await eventually(lambda: _revision_over(nc, first + 6))
        assert await leases.holder(NAME) == "one"


async def test_a_holder_whose_lease_was_taken_away_is_stopped(nc: Client, leases: Leases) -> None:
    async def rob() -> None:
        thief = b'{"name": "thief", "token": "t"}'
        await nc.jetstream().publish(f"$KV.{BUCKET}.{NAME}", thief)

    with pytest.raises(LeaseLost, match="somebody else"):
        await _hold_for_ever(leases, then=rob)
    assert await leases.holder(NAME) == "thief"


async def test_a_lease_that_was_put_back_as_it_was_earlier_is_lost(
    nc: Client, leases: Leases
) -> None:
    js = nc.jetstream()
    async with leases.hold(NAME, LONG) as hold:
        await hold.confirm()
        kept = (await js.get_last_msg(f"KV_{BUCKET}", f"$KV.{BUCKET}.{NAME}")).data
        await js.delete_stream(f"KV_{BUCKET}")
        await leases.ensure()
        await js.publish(f"$KV.{BUCKET}.{NAME}", kept or b"")
        with pytest.raises(LeaseLost):
            await hold.confirm()


async def test_a_holder_that_can_not_renew_is_stopped(
    nats_server: EmbeddedNats, leases: Leases
) -> None:
    async def break_down() -> None:
        await nats_server.kill()

    with pytest.raises(LeaseLost, match="renewed"):
        await _hold_for_ever(leases, then=break_down)
    await nats_server.start()

    async def free() -> bool:
        try:
            return await leases.holder(NAME) is None
        except Unavailable:
            return False

    assert await eventually(free)


async def _hold_for_ever(leases: Leases, *, then: Callable[[], Awaitable[None]]) -> None:
    async with leases.hold(NAME, 2):
        await then()
        await asyncio.Event().wait()


async def test_a_lease_survives_a_restart_of_the_server(
    nats_server: EmbeddedNats, nc: Client, leases: Leases
) -> None:
    async with leases.hold(NAME, LONG):
        await nats_server.kill()
        await nats_server.start()
        again = await connect(nats_server.url, name="again")
        try:
            assert await Leases(again.jetstream()).holder(NAME) == "one"
        finally:
            await again.close()


async def test_a_lease_that_a_killed_server_brings_back_is_free(
    nats_server: EmbeddedNats, leases: Leases
) -> None:
    """What takes the place of a message is enough for the server to remove that; once it has ended
    as well, nothing on the disk says that the first one was removed. Nor does its time end it."""

    async def all_ended() -> bool:
        async with connected(nats_server) as now:
            state = (await now.jetstream().stream_info(f"KV_{BUCKET}")).state
            return state.messages == 1

    async def something_written(name: str) -> None:
        async with connected(nats_server) as now:
            await now.jetstream().publish(f"$KV.{BUCKET}.{name}", b'{"name": "x", "token": "x"}')

    await something_written("before")
    async with leases.hold(NAME, 1):
        pass
    await eventually(all_ended)
    await nats_server.stop()
    await nats_server.start()
    await something_written("after")
    await nats_server.kill()
    await nats_server.start()

    async def taken() -> bool:
        async with connected(nats_server) as now:
            again = Leases(now.jetstream(), holder="two")
            try:
                async with again.hold(NAME, LONG):
                    return await again.holder(NAME) == "two"
            except LeaseHeld:
                return False

    assert await eventually(taken)


async def test_without_a_server_it_is_unavailable(
    nats_server: EmbeddedNats,
) -> None:
    client = await nats.connect(nats_server.url, allow_reconnect=False)
    js = client.jetstream(timeout=1)
    await Leases(js).ensure()
    await client.close()
    with pytest.raises(Unavailable):
        async with Leases(js).hold(NAME, LONG):
            pytest.fail("nobody can have granted this")


async def test_a_killed_holder_lets_the_next_one_in(
    nats_server: EmbeddedNats, leases: Leases
) -> None:
    program = textwrap.dedent(f"""
        import asyncio, nats
        from adapters.jetstream.leases import Leases

        async def main():
            nc = await nats.connect({nats_server.url!r})
            async with Leases(nc.jetstream(), holder="doomed").hold({NAME!r}, 2):
                print("holding", flush=True)
                await asyncio.Event().wait()

        asyncio.run(main())
    """)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"holding\n"
    assert await leases.holder(NAME) == "doomed"
    process.kill()
    await process.wait()

    async def taken() -> bool:
        try:
            async with leases.hold(NAME, LONG):
                return True
        except LeaseHeld:
            return False

    assert await eventually(taken)


async def test_a_name_that_is_no_subject_is_refused(leases: Leases) -> None:
    for name in ("", "a b", "a.*", "a..b", ".a", "a.>"):
        with pytest.raises(ValueError, match="not a lease's name"):
            await leases.holder(name)


async def _revision(nc: Client) -> int:
    return (await nc.jetstream().stream_info(f"KV_{BUCKET}")).state.last_seq


async def _revision_over(nc: Client, least: int) -> bool:
    return await _revision(nc) >= least


async def test_it_is_renewed_while_it_is_proven_all_the_time(nc: Client, leases: Leases) -> None:
    loop = asyncio.get_running_loop()
    async with leases.hold(NAME, 2) as hold:
        until = loop.time() + 5
        while loop.time() < until:
            await hold.confirm()
