"""Claims on devices: one reading at a time, over programs, their deaths and what they can't say."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.collecting.claiming import Claiming, Claims
from adapters.collecting.schedule import BUCKET, Attempt, Record, Schedule, due_at
from adapters.collecting.sessions import session_lease
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.buckets import Bucket
from adapters.jetstream.leases import BUCKET as LEASES
from adapters.jetstream.leases import Leases
from domain.errors import LeaseHeld, LeaseLost
from domain.events import DeviceSettings
from domain.ids import to_token
from tests.claims import another_programs, claimed
from tests.support import eventually

KEY = ("acme", "edge/r1")
AT = datetime(2026, 3, 1, tzinfo=UTC)
SETTINGS = DeviceSettings(addresses=("192.0.2.1",), credential="env:X")
READ = Attempt(at=AT, settings="s")
FAILED = Attempt(at=AT, settings="s", failures=2, kind="timeout")


@pytest.fixture
async def nc(nc: Client) -> Client:
    await Leases(nc.jetstream()).ensure()
    await Bucket(nc.jetstream(), BUCKET).ensure()
    return nc


@pytest.fixture
def schedule(js: JetStreamContext) -> Schedule:
    return Schedule(Bucket(js, BUCKET))


@pytest.fixture
def ours(js: JetStreamContext, schedule: Schedule) -> Claims:
    return Claims(schedule, Leases(js, holder="we"))


async def end_sessions(js: JetStreamContext) -> None:
    """All sessions run out, as those of programs that were stopped for longer."""
    await js.purge_stream(f"KV_{BUCKET}", subject=f"$KV.{BUCKET}.{session_lease('*')}")


async def test_what_somebody_reads_is_refused_to_others_who_learn_by_whom(
    js: JetStreamContext, ours: Claims
) -> None:
    theirs = another_programs(js)
    async with claimed(ours, *KEY):
        claim = await theirs.of(*KEY)
        assert claim is not None
        assert claim.name == "we"
        with pytest.raises(LeaseHeld) as refused:
            async with claimed(theirs, *KEY):
                pytest.fail("two at once")
        assert refused.value.holder == "we"
        with pytest.raises(LeaseHeld):
            async with claimed(ours, *KEY):
                pytest.fail("two at once")
        async with claimed(theirs, "acme", "r2"):
            assert await ours.of("acme", "r2") is not None
    assert await theirs.of(*KEY) is None


async def test_what_became_of_it_is_known_with_the_next_claim(
    js: JetStreamContext, schedule: Schedule, ours: Claims
) -> None:
    for attempt in (READ, FAILED, READ):
        async with claimed(ours, *KEY) as claiming:
            kept = await claiming.give_back(attempt)
        assert kept == await schedule.record(*KEY)
        async with another_programs(js).claiming(*KEY) as claiming:
            # Nothing more needs to be asked: nobody has read it since.
            assert await claiming.take(kept)
        assert await schedule.last(*KEY) == attempt
    assert await schedule.records() == {KEY: await schedule.record(*KEY)}


@pytest.mark.parametrize("error", [ValueError("x"), TimeoutError("x"), asyncio.CancelledError()])
async def test_it_is_given_back_as_it_was_when_the_work_fails(
    schedule: Schedule, ours: Claims, error: BaseException
) -> None:
    async with claimed(ours, *KEY) as claiming:
        await claiming.give_back(FAILED)
    with pytest.raises(type(error)):
        async with claimed(ours, *KEY):
            raise error
    record = await schedule.record(*KEY)
    assert (record.last, record.claim) == (FAILED, None)


async def test_an_older_record_does_not_do(js: JetStreamContext, ours: Claims) -> None:
    async with claimed(another_programs(js), *KEY) as claiming:
        before = await claiming.give_back(FAILED)
    async with claimed(another_programs(js), *KEY) as claiming:
        after = await claiming.give_back(READ)
    for older in (Record(), before, Record(READ, None, 0)):
        async with ours.claiming(*KEY) as mine:
            assert not await mine.take(older)
            assert await mine.look() == after
    assert await ours.of(*KEY) is None


async def test_of_many_who_race_one_gets_it(js: JetStreamContext, schedule: Schedule) -> None:
    tried = 0
    inside = 0

    async def race() -> bool:
        nonlocal tried, inside
        async with another_programs(js).claiming(*KEY) as claiming:
            known = await claiming.look()
            try:
                taken = await claiming.take(known)
            except LeaseHeld:
                taken = False
            tried += 1
            inside += taken
            assert inside <= 1
            await eventually(lambda: tried == 12)
        return taken

    assert sum(await asyncio.gather(*(race() for _ in range(12)))) == 1
    assert (await schedule.record(*KEY)).claim is None


async def test_what_a_killed_program_reads_is_free_after_a_while(
    nats_server: EmbeddedNats, schedule: Schedule, ours: Claims
) -> None:
    async with claimed(ours, *KEY) as claiming:
        await claiming.give_back(FAILED)
    program = textwrap.dedent(f"""
        import asyncio, nats
        from tests.claims import another_programs, claimed

        async def main():
            nc = await nats.connect({nats_server.url!r})
            async with claimed(another_programs(nc.jetstream(), seconds=2), *{KEY!r}):
                print("reading", flush=True)
                await asyncio.Event().wait()

        asyncio.run(main())
    """)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"reading\n"
    assert await ours.of(*KEY) is not None
    process.kill()
    await process.wait()

    async def taken() -> bool:
        try:
            async with claimed(ours, *KEY):
                return True
        except LeaseHeld:
            return False

    assert await eventually(taken)
    # What was known of it is not lost with who was reading it.
    assert await schedule.last(*KEY) == FAILED


async def test_who_lost_the_session_can_neither_prove_its_claim_nor_end_anothers(
    js: JetStreamContext, schedule: Schedule, ours: Claims
) -> None:
    async with claimed(ours, *KEY) as late:
        await end_sessions(js)
        async with claimed(another_programs(js), *KEY) as claiming:
            with pytest.raises(LeaseLost):
                await late.confirm()
            with pytest.raises(LeaseLost):
                await late.give_back(FAILED)
            await claiming.confirm()
            await claiming.give_back(READ)
    assert await schedule.last(*KEY) == READ


async def test_a_session_that_can_not_be_renewed_ends_all_that_is_read_in_it(
    nats_server: EmbeddedNats, js: JetStreamContext
) -> None:
    claims = another_programs(js, seconds=2)
    reading: list[str] = []

    async def read(name: str) -> None:
        async with claimed(claims, "acme", name):
            reading.append(name)
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(read(name)) for name in ("r1", "r2")]
    await eventually(lambda: len(reading) == 2)
    await nats_server.kill()
    for lost in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(lost, LeaseLost)
        assert "renewed" in lost.reason
    await nats_server.start()


async def test_after_a_lost_session_another_one_begins(js: JetStreamContext, ours: Claims) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(claimed(ours, "acme", "r1"))
        await end_sessions(js)
        with pytest.raises(LeaseLost):
            await first.confirm()
        async with claimed(ours, "acme", "r2") as second:
            await second.confirm()
            claim = await ours.of("acme", "r2")
            assert claim is not None
        assert await ours.of("acme", "r1") is None
    assert await Leases(js).within(BUCKET).holder(session_lease(claim.session)) is None


async def test_what_could_not_be_given_back_is_free_for_the_same_program(
    js: JetStreamContext, schedule: Schedule, ours: Claims
) -> None:
    async with claimed(ours, "acme", "other"):
        async with claimed(ours, *KEY):
            left = await schedule.record(*KEY)
        now = await schedule.record(*KEY)
        # As when NATS was away when it was to be given back.
        assert await schedule.replace(*KEY, now, left.claim)
        with pytest.raises(LeaseHeld):
            async with claimed(another_programs(js), *KEY):
                pytest.fail("its program may be reading it")
        async with claimed(ours, *KEY) as claiming:
            await claiming.give_back(READ)
    assert await schedule.last(*KEY) == READ


async def test_one_proof_does_for_all_who_ask_at_the_same_time_and_for_nobody_who_asks_later(
    js: JetStreamContext, ours: Claims
) -> None:
    async def written() -> int:
        return (await js.stream_info(f"KV_{BUCKET}")).state.last_seq

    async with AsyncExitStack() as stack:
        held: list[Claiming] = [
            await stack.enter_async_context(claimed(ours, "acme", f"r{number}"))
            for number in range(20)
        ]
        before = await written()
        await asyncio.gather(*(one.confirm() for one in held))
        assert await written() == before + 1
        await end_sessions(js)
        for lost in await asyncio.gather(*(one.confirm() for one in held), return_exceptions=True):
            assert isinstance(lost, LeaseLost)


async def test_a_claim_is_lost_with_all_records_and_whoever_had_it_knows(
    js: JetStreamContext, ours: Claims
) -> None:
    async with claimed(ours, *KEY) as claiming:
        await js.delete_stream(f"KV_{BUCKET}")
        await Bucket(js, BUCKET).ensure()
        async with claimed(another_programs(js), *KEY):
            with pytest.raises(LeaseLost):
                await claiming.confirm()


async def test_a_claim_stands_when_the_leases_of_others_are_gone(
    js: JetStreamContext, ours: Claims
) -> None:
    async with claimed(ours, *KEY) as claiming:
        await js.delete_stream(f"KV_{LEASES}")
        with pytest.raises(LeaseHeld):
            async with claimed(another_programs(js), *KEY):
                pytest.fail("two at once")
        await claiming.confirm()


class Program:
    """One of several that read the device, one step at a time."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js
        self._claims = another_programs(js)
        self._stack = AsyncExitStack()
        self._claiming: Claiming | None = None
        self._known = Record()
        self.session = ""
        self.has_it = False

    async def take(self) -> bool:
        """Claim the device by what was known of it last, whoever may have read it since."""
        await self.leave()
        claiming = await self._stack.enter_async_context(self._claims.claiming(*KEY))
        try:
            self.has_it = await claiming.take(self._known)
        except LeaseHeld:
            self.has_it = False
        self._claiming = claiming
        self._known = await claiming.look()
        if self.has_it:
            assert self._known.claim is not None
            self.session = self._known.claim.session
        return self.has_it

    async def confirm(self) -> bool:
        """Whether what it claimed is proven to be its own still."""
        if not self.has_it:
            return False
        assert self._claiming is not None
        try:
            await self._claiming.confirm()
        except LeaseLost:
            return False
        return True

    async def give_back(self, attempt: Attempt) -> bool:
        """Whether what became of it is kept."""
        if not self.has_it:
            return False
        assert self._claiming is not None
        self.has_it = False
        try:
            self._known = await self._claiming.give_back(attempt)
        except LeaseLost:
            return False
        return True

    async def stop(self) -> None:
        """It stands still for longer than its lease lasts."""
        subject = f"$KV.{BUCKET}.{session_lease(self.session)}"
        await self._js.purge_stream(f"KV_{BUCKET}", subject=subject)

    async def leave(self) -> None:
        """It reads no more."""
        self.has_it = False
        await self._stack.aclose()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "confirm", "give_back", "stop", "leave"]),
        st.integers(0, 2),
    ),
    max_size=16,
)


@given(steps=STEPS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_whatever_happens_one_reads_it_and_knows_what_became_of_it_before(
    js: JetStreamContext, schedule: Schedule, steps: list[tuple[str, int]]
) -> None:
    programs = [Program(js) for _ in range(3)]
    # The only one that may do anything, when it did not stand still since it claimed the device.
    owner: int | None = None
    stopped: set[int] = set()
    last = (await schedule.record(*KEY)).last
    for number, (step, program) in enumerate(steps):
        acting = programs[program]
        match step:
            case "take":
                if owner == program:
                    owner = None  # it leaves first
                if await acting.take():
                    assert owner is None or owner in stopped
                    owner = program
                    stopped.discard(program)
            case "confirm":
                assert await acting.confirm() == (owner == program and program not in stopped)
            case "give_back":
                attempt = Attempt(at=AT, settings=str(number))
                # Also by who stood still, as long as nobody else has claimed it.
                assert await acting.give_back(attempt) == (owner == program)
                if owner == program:
                    owner, last = None, attempt
            case "stop" if acting.session:
                await acting.stop()
                stopped.add(program)
            case "leave":
                await acting.leave()
                owner = None if owner == program else owner
        assert await schedule.last(*KEY) == last
    for one in programs:
        await one.leave()


async def test_a_record_that_can_not_be_read_is_of_its_device_only(
    js: JetStreamContext, schedule: Schedule, ours: Claims
) -> None:
    async with claimed(ours, *KEY) as claiming:
        kept = await claiming.give_back(READ)
    bucket = Bucket(js, BUCKET)
    await bucket.put(b'{"at": 1', "acme", "r2")
    await bucket.put(b"{}", "acme", "no=token")
    assert await schedule.records() == {KEY: kept}


@pytest.mark.parametrize("ended", [True, False])
async def test_a_former_version_reads_the_record_of_a_device_that_was_never_read(
    js: JetStreamContext, ours: Claims, ended: bool
) -> None:
    bucket = Bucket(js, BUCKET)
    names = to_token(KEY[0]), to_token(KEY[1])
    async with claimed(ours, *KEY):
        raw = await bucket.get(*names)
    raw = await bucket.get(*names) if ended else raw
    # What it expects where there is something; without a last attempt the device is due.
    if raw is not None:
        attempt = msgspec.json.decode(raw, type=Attempt)
        due = due_at("r1", SETTINGS, "mark", attempt, AT)
        assert due is not None
        assert due <= AT


async def test_a_shared_proof_is_none_for_who_stood_still_since(
    nats_server: EmbeddedNats, js: JetStreamContext
) -> None:
    claims = another_programs(js, seconds=2)
    takes_over = textwrap.dedent(f"""
        import asyncio, nats
        from domain.errors import LeaseHeld
        from tests.claims import another_programs, claimed
        from tests.support import eventually

        async def main():
            nc = await nats.connect({nats_server.url!r})
            others = another_programs(nc.jetstream())

            async def taken():
                try:
                    async with claimed(others, "acme", "second"):
                        return True
                except LeaseHeld:
                    return False

            await eventually(taken)
            await nc.close()

        asyncio.run(main())
    """)
    has_its_own, asks = asyncio.Event(), asyncio.Event()
    proven: list[str] = []

    async def first() -> None:
        async with claimed(claims, "acme", "first") as claiming:
            await has_its_own.wait()
            asks.set()
            await claiming.confirm()
            # Nothing of this program goes on, as when it is stopped, until another took over.
            subprocess.run([sys.executable, "-c", takes_over], check=True)  # noqa: ASYNC221
            proven.append("first")
            # Else it may be done before anybody has looked whether the lease is still there.
            await claiming.confirm()

    async def second() -> None:
        async with claimed(claims, "acme", "second") as claiming:
            has_its_own.set()
            await asks.wait()
            await claiming.confirm()
            proven.append("second")

    lost = await asyncio.gather(first(), second(), return_exceptions=True)
    assert [type(one) for one in lost] == [LeaseLost, LeaseLost]
    assert proven == ["first"]
