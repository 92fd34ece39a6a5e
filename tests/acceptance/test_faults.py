"""Killing the program, NATS or Postgres leaves what an undisturbed run leaves."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from adapters.embedded.nats import EmbeddedNats
from adapters.embedded.postgres import EmbeddedPostgres
from adapters.jetstream.connection import connect
from adapters.jetstream.event_store import JetStreamEventStore
from adapters.jetstream.intake import IntakePublisher
from adapters.jetstream.streams import EVENTS, INTAKE, ensure_streams
from domain.envelope import StoredEvent
from domain.errors import Unavailable
from projections import ALL
from tests.acceptance.program import Program
from tests.acceptance.scenario import (
    TENANT,
    Outcome,
    Reading,
    all_events,
    expected_facts,
    outcome,
    pairs,
    readings,
    rows,
)
from tests.rig import MASTER as KEY
from tests.support import eventually

KILLS = 20
Rows = dict[str, list[tuple[object, ...]]]


class Observer:
    """Plays readings as a poller would, and watches what becomes of them."""

    def __init__(self, nats_url: str, postgres_dsn: str) -> None:
        self._nats_url = nats_url
        self._postgres_dsn = postgres_dsn

    async def __aenter__(self) -> Observer:
        self.nc = await connect(self._nats_url, name="observer")
        self.js = self.nc.jetstream()
        await ensure_streams(self.js, replicas=1, intake_max_bytes=1 << 30)
        self.intake = IntakePublisher(self.nc)
        self.store = JetStreamEventStore(self.nc, self.js)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.nc.close()

    async def play(self, played: list[Reading]) -> None:
        for number, reading in enumerate(played):
            await self._send(reading)
            if number % 7 == 0:
                # Pollers send again what they are not sure of, however late.
                await self._send(played[number // 2])

    async def _send(self, reading: Reading) -> None:
        async def sent() -> bool:
            try:
                await self.intake.publish(
                    TENANT, reading.device_id, reading.text, reading.collected_at
                )
            except Unavailable:
                # A server that was just started may have no streams yet.
                return False
            return True

        await eventually(sent, within=60)

    async def head(self) -> int:
        return (await self.js.stream_info(EVENTS)).state.last_seq

    async def settled(self, facts: int, diffs: int) -> list[StoredEvent]:
        """Wait until all is recorded, compared and projected; return all events."""

        async def recorded() -> bool:
            # Never more than expected: a double would show here, and below.
            return await self.head() >= facts + diffs

        await eventually(recorded, within=120)

        async def worked_off() -> bool:
            return (await self.js.stream_info(INTAKE)).state.messages == 0

        await eventually(worked_off, within=60)
        head = await self.head()

        async def projected() -> bool:
            try:
                connection = await asyncpg.connect(self._postgres_dsn)
            except (OSError, asyncpg.PostgresError):
                return False
            try:
                positions = await connection.fetch("select position from configtrail.checkpoints")
            except asyncpg.PostgresError:
                return False
            finally:
                await connection.close()
            return len(positions) == len(ALL) and all(p >= head for (p,) in positions)

        await eventually(projected, within=60)
        return await all_events(self.store)

    async def rows(self, *, whole: bool) -> Rows:
        async with asyncpg.create_pool(self._postgres_dsn, min_size=1, max_size=1) as pool:
            return await rows(pool, whole=whole)


@asynccontextmanager
async def program(folder: Path, nats_url: str, dsn: str) -> AsyncIterator[Program]:
    running = Program(folder, nats_url=nats_url, postgres_dsn=dsn, key=KEY)
    await running.start()
    try:
        yield running
    finally:
        await running.kill()


def check(found: Outcome, played: list[Reading]) -> None:
    wanted = expected_facts(played)
    for device, facts in wanted.items():
        assert found.facts[device] == facts, device
    assert found.facts == wanted
    told = Counter((device, before, after) for device, before, after, _, _ in found.diffs)
    assert told == Counter(pairs(wanted)), "each pair of neighbours has exactly one difference"


async def undisturbed(
    folder: Path, played: list[Reading], nats: EmbeddedNats, dsn: str
) -> tuple[Outcome, Rows]:
    wanted = expected_facts(played)
    async with (
        program(folder, nats.url, dsn) as running,
        Observer(nats.url, dsn) as observer,
    ):
        await observer.play(played)
        events = await observer.settled(len(played), len(list(pairs(wanted))))
        assert await running.stop() == 0
        found = outcome(events)
        check(found, played)
        return found, await observer.rows(whole=False)


@asynccontextmanager
async def another_nats(folder: Path) -> AsyncIterator[EmbeddedNats]:
    server = EmbeddedNats(
        folder, encryption_key=secrets.token_hex(32), user="tests", password="tests"
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def another_postgres(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(folder, password=secrets.token_hex(16))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def beside(folder: Path, played: list[Reading]) -> tuple[Outcome, Rows]:
    """An undisturbed run on servers of its own, in which most of the time is waiting."""
    async with (
        another_nats(folder / "nats2") as nats,
        another_postgres(folder / "postgres2") as database,
    ):
        return await undisturbed(folder / "calm", played, nats, database.dsn)


async def test_a_program_killed_twenty_times_leaves_what_an_undisturbed_one_leaves(
    tmp_path: Path, nats_server: EmbeddedNats, postgres_dsn: str
) -> None:
    choice = random.Random(7)
    played = readings(devices=12, each=50, seed=1)
    wanted = expected_facts(played)
    async with (
        asyncio.TaskGroup() as group,
        program(tmp_path / "killed", nats_server.url, postgres_dsn) as running,
        Observer(nats_server.url, postgres_dsn) as observer,
    ):
        calm = group.create_task(beside(tmp_path, played))
        size = len(played) // KILLS
        for kill in range(KILLS):
            # Leave the last chunk some of the history, so that every kill interrupts work.
            last = kill == KILLS - 1
            await observer.play(played[kill * size :] if last else played[kill * size :][:size])
            target = await observer.head() + choice.randrange(size)

            async def advanced(target: int = target) -> bool:
                assert not running.ended, running.log.read_text()[-4000:]
                return await observer.head() >= target

            await eventually(advanced, within=60)
            await running.kill()
            await running.start()
        events = await observer.settled(len(played), len(list(pairs(wanted))))
        found = outcome(events)
        check(found, played)
        disturbed = await observer.rows(whole=False)
        assert await running.stop() == 0
    assert (found, disturbed) == calm.result()


async def test_a_killed_nats_server_loses_and_doubles_nothing(
    tmp_path: Path, nats_server: EmbeddedNats, postgres_dsn: str
) -> None:
    played = readings(devices=10, each=40, seed=2)
    wanted = expected_facts(played)
    size = len(played) // 5
    async with (
        asyncio.TaskGroup() as group,
        program(tmp_path / "program", nats_server.url, postgres_dsn) as running,
        Observer(nats_server.url, postgres_dsn) as observer,
    ):
        calm = group.create_task(beside(tmp_path, played))
        for start in range(0, len(played), size):
            await observer.play(played[start : start + size])
            target = start + size // 3

            async def advanced(target: int = target) -> bool:
                assert not running.ended, running.log.read_text()[-4000:]
                return await observer.head() >= target

            await eventually(advanced, within=60)
            await nats_server.kill()
            await nats_server.start()
            await eventually(lambda: observer.nc.is_connected)
        events = await observer.settled(len(played), len(list(pairs(wanted))))
        found = outcome(events)
        check(found, played)
        disturbed = await observer.rows(whole=False)
        assert not running.ended
        assert await running.stop() == 0
    assert (found, disturbed) == calm.result()


async def test_a_killed_postgres_changes_no_row_and_dropped_tables_come_back(
    tmp_path: Path, nats_server: EmbeddedNats
) -> None:
    played = readings(devices=10, each=40, seed=3)
    wanted = expected_facts(played)
    size = len(played) // 4
    async with (
        another_postgres(tmp_path / "postgres") as database,
        program(tmp_path / "program", nats_server.url, database.dsn) as running,
        Observer(nats_server.url, database.dsn) as observer,
    ):
        for start in range(0, len(played), size):
            await observer.play(played[start : start + size])
            await database.kill()
            await database.start()
        events = await observer.settled(len(played), len(list(pairs(wanted))))
        check(outcome(events), played)
        assert not running.ended
        assert await running.stop() == 0
        before = await observer.rows(whole=True)
        assert before["audit"], "there is something to compare"
        connection = await asyncpg.connect(database.dsn)
        await connection.execute("drop schema configtrail cascade")
        await connection.close()
        await running.start()
        await observer.settled(len(played), len(list(pairs(wanted))))
        assert await observer.rows(whole=True) == before


async def test_servers_that_come_late_are_waited_for(tmp_path: Path) -> None:
    nats = EmbeddedNats(
        tmp_path / "nats", encryption_key=secrets.token_hex(32), user="tests", password="tests"
    )
    async with another_postgres(tmp_path / "postgres") as database:
        await nats.start()
        await nats.stop()
        async with program(tmp_path / "program", nats.url, database.dsn) as running:

            async def said() -> bool:
                return "waiting for NATS" in await asyncio.to_thread(running.log.read_text)

            await eventually(said)
            await nats.start()
            try:
                async with Observer(nats.url, database.dsn) as observer:
                    await observer.play(readings(devices=1, each=1, seed=4))
                    await observer.settled(1, 0)
                assert await running.stop() == 0
            finally:
                await running.kill()
                await nats.stop()
