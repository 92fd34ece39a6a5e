"""Work on a durable consumer: order, redelivery, outages, poison, and stopping in good order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StreamConfig
from nats.js.errors import Error as JetStreamError

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.connection import connect
from adapters.jetstream.work import MAX_DELIVERIES, MAX_TRIES, Job, WorkConsumer
from domain.errors import MasterKeyUnknown, Unavailable
from tests.support import eventually

STREAM = "WORK"
Do = Callable[[int], Awaitable[None]]


@pytest.fixture
async def nc(nc: Client) -> Client:
    await nc.jetstream().add_stream(
        StreamConfig(name=STREAM, subjects=["work.>"], retention=RetentionPolicy.WORK_QUEUE)
    )
    return nc


class Worker:
    """A consumer that does `do` for the number in each message; its key is the subject."""

    def __init__(
        self, nc: Client, do: Do, *, ack_wait: float = 1.0, master_key_wait: float = 600
    ) -> None:
        self.given_up: list[tuple[int, str]] = []
        self._do = do
        self._consumer = WorkConsumer(
            nc,
            nc.jetstream(),
            STREAM,
            ConsumerConfig(durable_name="worker", ack_policy=AckPolicy.EXPLICIT, ack_wait=ack_wait),
            plan=self._plan,
            give_up=self._give_up,
            weight_limit=50,
            master_key_wait=master_key_wait,
        )

    def _plan(self, msg: Msg) -> Job:
        return Job(
            msg.subject,
            lambda: self._do(int(msg.data)),
            party=msg.subject.split(".")[1],
            event_id=f"event-{int(msg.data)}",
            trigger_id="trigger-1",
        )

    async def _give_up(self, msg: Msg, error: Exception) -> None:
        self.given_up.append((int(msg.data), type(error).__name__))

    async def __aenter__(self) -> Worker:
        self._task = asyncio.create_task(self._consumer.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._task


async def send(nc: Client, numbers: range, subject: str = "work.one") -> None:
    for number in numbers:
        await nc.jetstream().publish(subject, str(number).encode())


async def stream_is_back(nc: Client) -> bool:
    """Whether the server is there again, and has found its stream: it answers before it has."""
    try:
        await nc.jetstream().stream_info(STREAM)
    except (NatsError, JetStreamError):
        return False
    return True


async def left(nc: Client) -> int:
    return (await nc.jetstream().stream_info(STREAM)).state.messages


async def test_one_key_is_worked_off_in_order_and_acknowledged(nc: Client) -> None:
    done: list[int] = []

    async def do(number: int) -> None:
        await asyncio.sleep(0.002 if number % 3 else 0)
        done.append(number)

    await send(nc, range(100))
    async with Worker(nc, do):
        await eventually(lambda: len(done) == 100)

        async def nothing_left() -> bool:
            return await left(nc) == 0

        await eventually(nothing_left)
    assert done == list(range(100))


async def test_one_slow_key_does_not_hold_up_the_others(nc: Client) -> None:
    release = asyncio.Event()
    done: list[int] = []

    async def do(number: int) -> None:
        if number == 0:
            await release.wait()
        done.append(number)

    await send(nc, range(1), "work.slow")
    await send(nc, range(1, 30), "work.fast")
    async with Worker(nc, do):
        await eventually(lambda: len(done) == 29)
        release.set()
        await eventually(lambda: len(done) == 30)


async def test_a_partys_backlog_does_not_hold_up_the_others(nc: Client) -> None:
    releases = [asyncio.Event() for _ in range(65)]
    started: list[int] = []

    async def do(number: int) -> None:
        started.append(number)
        await releases[number].wait()

    for number in range(65):
        await send(
            nc, range(number, number + 1), f"work.{'much' if number < 60 else 'little'}.{number}"
        )
    async with Worker(nc, do):

        async def all_handed_out() -> bool:
            if len(started) < 50:
                return False
            info = await nc.jetstream().consumer_info(STREAM, "worker")
            return bool(info.num_ack_pending == 65)

        await eventually(all_handed_out)
        for number in range(5):
            releases[number].set()
            await eventually(lambda: len(started) == 51 + number)  # noqa: B023
        for release in releases:
            release.set()
        await eventually(lambda: len(started) == 65)
    assert started[:50] == list(range(50))
    assert started.index(60) < 55, "ten of the other party's were there before"
    assert [one for one in started if one < 60] == list(range(60))


async def test_work_that_lasts_longer_than_the_ack_wait_is_done_once(nc: Client) -> None:
    started: list[int] = []
    release = asyncio.Event()

    async def do(number: int) -> None:
        started.append(number)
        await release.wait()

    await send(nc, range(1))
    async with Worker(nc, do, ack_wait=0.4):
        await eventually(lambda: started)
        # Three times the time after which the server would hand it out again.
        await asyncio.wait([asyncio.create_task(release.wait())], timeout=1.2)
        release.set()

        async def nothing_left() -> bool:
            return await left(nc) == 0

        await eventually(nothing_left)
    assert started == [0]


async def test_an_outage_is_waited_out_and_keeps_the_order(nc: Client) -> None:
    done: list[int] = []
    outages = 3

    async def do(number: int) -> None:
        nonlocal outages
        if number == 1 and outages:
            outages -= 1
            raise Unavailable("a server", "it is restarted")
        done.append(number)

    await send(nc, range(4))
    async with Worker(nc, do) as worker:
        await eventually(lambda: len(done) == 4)
    assert done == [0, 1, 2, 3]
    assert worker.given_up == []


async def test_without_the_master_key_nothing_is_given_up_that_others_can_do(nc: Client) -> None:
    done: list[int] = []
    tries = 0

    async def do(number: int) -> None:
        nonlocal tries
        tries += 1
        if number == 1 and tries < 8:
            raise MasterKeyUnknown("the keys of acme", "they are under another master key")
        done.append(number)

    await send(nc, range(2))
    async with Worker(nc, do) as worker:
        await eventually(lambda: len(done) == 2)
    assert done == [0, 1]
    assert worker.given_up == []


async def test_a_master_key_that_nobody_has_any_more_is_not_waited_for_for_ever(
    nc: Client,
) -> None:
    """What is kept under it would take up the room of all others in the end."""
    tries = Counter[int]()
    done: list[int] = []

    async def do(number: int) -> None:
        tries[number] += 1
        if number < 2 or (number == 3 and tries[3] < 8):
            raise MasterKeyUnknown("the keys of acme", "they are under another master key")
        done.append(number)

    await send(nc, range(2))
    async with Worker(nc, do, master_key_wait=0.5) as worker:
        await eventually(lambda: len(worker.given_up) == 2)
        # After the first it is known of the next ones, until one succeeds.
        assert tries[0] > tries[1] == MAX_TRIES
        await send(nc, range(2, 3))
        await eventually(lambda: len(done) == 1)
    assert worker.given_up == [(0, "MasterKeyUnknown"), (1, "MasterKeyUnknown")]
    async with Worker(nc, do) as worker:
        await send(nc, range(3, 4))
        await eventually(lambda: len(done) == 2)
    assert worker.given_up == []


async def test_poison_is_given_up_after_bounded_tries_and_the_rest_goes_on(nc: Client) -> None:
    tries = 0
    done: list[int] = []

    async def do(number: int) -> None:
        nonlocal tries
        if number == 1:
            tries += 1
            raise ZeroDivisionError
        done.append(number)

    await send(nc, range(4))
    async with Worker(nc, do) as worker:
        await eventually(lambda: len(done) == 3)
    assert worker.given_up == [(1, "ZeroDivisionError")]
    assert tries == 5


async def test_what_a_dead_worker_held_comes_first_and_in_order(
    nc: Client, nats_server: EmbeddedNats
) -> None:
    """A worker that dies holds messages; its successor must not overtake them with newer ones."""
    dying = await connect(nats_server.url, name="dying")
    stuck: list[int] = []
    release = asyncio.Event()

    async def hang(number: int) -> None:
        stuck.append(number)
        await release.wait()

    await send(nc, range(40))
    consumer = Worker(dying, hang)
    await consumer.__aenter__()
    await eventually(lambda: stuck)
    await dying.close()  # as far as the server can tell, it died
    await send(nc, range(40, 60))
    done: list[int] = []

    async def do(number: int) -> None:
        done.append(number)

    async with Worker(nc, do):
        await eventually(lambda: len(done) == 60)
    assert done == list(range(60))
    release.set()
    await consumer.__aexit__()


async def test_stopping_finishes_what_is_under_way(nc: Client) -> None:
    started = asyncio.Event()
    done: list[int] = []

    async def do(number: int) -> None:
        started.set()
        await asyncio.sleep(0.05)
        done.append(number)

    await send(nc, range(1))
    async with Worker(nc, do):
        await started.wait()
    assert done == [0]


async def test_it_goes_on_when_the_server_was_killed(nc: Client, nats_server: EmbeddedNats) -> None:
    done: list[int] = []

    async def do(number: int) -> None:
        done.append(number)

    await send(nc, range(10))
    async with Worker(nc, do):
        await eventually(lambda: len(done) == 10)
        await nats_server.kill()
        await nats_server.start()
        await eventually(lambda: stream_is_back(nc))
        await send(nc, range(10, 20))
        await eventually(lambda: 19 in done)
    assert sorted(set(done)) == list(range(20))


async def test_log_lines_of_the_work_carry_its_ids(nc: Client) -> None:
    seen: list[dict[str, object]] = []

    async def do(number: int) -> None:
        seen.append(structlog.contextvars.get_contextvars())

    async with Worker(nc, do):
        await send(nc, range(2))
        await eventually(lambda: len(seen) == 2)
    assert [one["event_id"] for one in seen] == ["event-0", "event-1"]
    assert seen[0]["trigger_id"] == "trigger-1"


async def test_what_was_delivered_too_often_is_given_up_unseen(nc: Client) -> None:
    done: list[int] = []

    async def do(number: int) -> None:
        done.append(number)

    await send(nc, range(1))
    js = nc.jetstream()
    await js.add_consumer(STREAM, durable_name="worker", ack_policy=AckPolicy.EXPLICIT)
    earlier = await js.pull_subscribe_bind("worker", stream=STREAM)
    for _ in range(MAX_DELIVERIES):
        # As programs would that die over the first message.
        [msg] = await earlier.fetch(1)
        await msg.nak()
    await send(nc, range(1, 2))
    async with Worker(nc, do) as worker:
        await eventually(lambda: done)
        assert worker.given_up == [(0, "DeliveredTooOften")]
    assert done == [1]


async def test_what_a_dead_worker_held_is_in_order_however_it_becomes_due(nc: Client) -> None:
    done: list[int] = []

    async def do(number: int) -> None:
        done.append(number)

    await send(nc, range(6))
    js = nc.jetstream()
    config = ConsumerConfig(durable_name="worker", ack_policy=AckPolicy.EXPLICIT, ack_wait=1)
    await js.add_consumer(STREAM, config)
    earlier = await js.pull_subscribe_bind("worker", stream=STREAM)
    held = await earlier.fetch(6)
    for msg in held[3:]:
        # Due at once, and the older ones when the server's time is over.
        await msg.nak()
    await send(nc, range(6, 9))
    async with Worker(nc, do):
        await eventually(lambda: len(done) == 9)
    assert done == [*range(9)]
