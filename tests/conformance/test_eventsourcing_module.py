"""What the library's suites don't ask: races, faults, limits, our own devices."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.domain import Aggregate
from eventsourcing.persistence import (
    ApplicationRecorder,
    DataError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    OperationalError,
    PersistenceError,
    ProgrammingError,
    StoredEvent,
)
from eventsourcing.utils import Environment

from adapters.embedded.nats import EmbeddedNats
from adapters.embedded.process import free_port
from adapters.eventsourcing import JetStreamFactory
from adapters.eventsourcing.devices import device_repository, project_device
from adapters.eventsourcing.recorders import JetStreamApplicationRecorder
from adapters.jetstream.connection import connect
from adapters.jetstream.event_store import JetStreamEventStore
from adapters.jetstream.streams import events_stream_config
from domain.decisions import collection_failed
from domain.envelope import Head
from tests.faults import Proxy, cluster
from tests.support import eventually


def events(
    originator: UUID | str, versions: range, topic: str = "topic", state: bytes = b"{}"
) -> list[StoredEvent]:
    return [StoredEvent(originator, version, topic, state) for version in versions]


class Factories:
    def __init__(self, server: EmbeddedNats) -> None:
        self.environment = {"NATS_URL": server.url}
        self.made: list[JetStreamFactory] = []

    def recorder(self, application: str = "Bank") -> JetStreamApplicationRecorder:
        self.made.append(JetStreamFactory(Environment(application, self.environment)))
        recorder = self.made[-1].application_recorder()
        assert isinstance(recorder, JetStreamApplicationRecorder)
        return recorder


@pytest.fixture
def factories(nats_server: EmbeddedNats) -> Iterator[Factories]:
    made = Factories(nats_server)
    yield made
    for factory in made.made:
        factory.close()


def test_of_writers_racing_for_a_version_one_wins_and_the_others_conflict(
    factories: Factories,
) -> None:
    recorders = [factories.recorder() for _ in range(4)]
    originator = uuid.uuid4()

    def write(number: int) -> int:
        won = 0
        for version in range(1, 21):
            batch = events(originator, range(2 * version, 2 * version + 2), f"writer{number}")
            try:
                recorders[number].insert_events(batch)
                won += 1
            except IntegrityError:
                continue
        return won

    with ThreadPoolExecutor(4) as threads:
        won = sum(threads.map(write, range(4)))
    found = recorders[0].select_events(originator)
    assert [one.originator_version for one in found] == list(range(2, 42))
    assert won == 20
    pairs = [(found[index].topic, found[index + 1].topic) for index in range(0, 40, 2)]
    assert all(first == second for first, second in pairs), "no batch was torn"


def test_a_batch_over_several_originators_is_refused_whole(factories: Factories) -> None:
    recorder, other = factories.recorder(), factories.recorder()
    one, two = uuid.uuid4(), uuid.uuid4()
    recorder.insert_events(events(one, range(1, 3)))
    other.insert_events(events(two, range(1, 2)))
    with pytest.raises(IntegrityError):
        recorder.insert_events([*events(one, range(3, 4)), *events(two, range(1, 2))])
    assert recorder.max_notification_id() == 3
    # What another process wrote meanwhile is no conflict by itself.
    recorder.insert_events([*events(one, range(3, 4)), *events(two, range(2, 3))])
    assert [one.originator_version for one in other.select_events(two)] == [1, 2]


def test_a_version_that_leaves_a_gap_is_refused(factories: Factories) -> None:
    recorder = factories.recorder()
    recorder.insert_events(events("a", range(1, 2)))
    with pytest.raises(IntegrityError, match="version 3 of a does not follow version 1"):
        recorder.insert_events(events("a", range(3, 4)))


def test_more_than_a_thousand_events_at_once_are_refused(factories: Factories) -> None:
    recorder = factories.recorder()
    with pytest.raises(ProgrammingError, match="1001 events are more than the 1000"):
        recorder.insert_events(events("a", range(1, 1002)))
    assert recorder.max_notification_id() is None


def test_ids_and_states_come_back_as_they_were(factories: Factories) -> None:
    recorder = factories.recorder("Odd.Name *>")
    odd = StoredEvent("a b.c>*/ü", 1, "my.module:Thing.Made", bytes(range(256)))
    recorder.insert_events([odd])
    assert recorder.select_events("a b.c>*/ü") == [odd]
    [notification] = recorder.select_notifications(1, 10, topics=["my.module:Thing.Made"])
    assert notification.originator_id == odd.originator_id
    assert recorder.select_notifications(1, 10, topics=["my.module:Thing"]) == []


def test_long_histories_are_read_whole_from_any_version_and_in_both_directions(
    factories: Factories,
) -> None:
    recorder, other = factories.recorder(), factories.recorder()
    for start in (1, 1001):
        recorder.insert_events(events("a", range(start, start + 1000)))
    for reader in (recorder, other):
        versions = [one.originator_version for one in reader.select_events("a")]
        assert versions == list(range(1, 2001))
        tail = reader.select_events("a", gt=1990, lte=1995)
        assert [one.originator_version for one in tail] == [1991, 1992, 1993, 1994, 1995]
        last = reader.select_events("a", desc=True, limit=2)
        assert [one.originator_version for one in last] == [2000, 1999]
        assert reader.select_events("a", gt=2000) == []


def test_applications_have_streams_of_their_own(factories: Factories) -> None:
    bank, shop = factories.recorder("Bank"), factories.recorder("Shop")
    bank.insert_events(events("a", range(1, 3)))
    assert shop.insert_events(events("a", range(1, 2))) == [1]
    assert len(shop.select_events("a")) == 1


async def test_a_subscription_goes_on_over_a_killed_server(
    factories: Factories, nats_server: EmbeddedNats
) -> None:
    recorder = await asyncio.to_thread(factories.recorder)
    await asyncio.to_thread(recorder.insert_events, events("a", range(1, 6)))
    seen: list[int] = []
    with recorder.subscribe() as subscription:
        for _ in range(5):
            seen.append((await asyncio.to_thread(next, subscription)).id)
        await nats_server.kill()
        await nats_server.start()
        while True:
            try:
                await asyncio.to_thread(recorder.insert_events, events("a", range(6, 7)))
                break
            except OperationalError:
                continue
        seen.append((await asyncio.to_thread(next, subscription)).id)
    assert seen == [1, 2, 3, 4, 5, 6]


async def test_an_insert_whose_answer_is_lost_is_found_and_not_taken_for_a_conflict(
    factories: Factories, nats_server: EmbeddedNats
) -> None:
    watching = await asyncio.to_thread(factories.recorder)
    async with Proxy(nats_server.url) as single, Proxy(nats_server.url) as batched:
        proxied = []
        for proxy in (single, batched):
            through = Factories(nats_server)
            through.environment = {"NATS_URL": proxy.url}
            proxied.append(await asyncio.to_thread(through.recorder))
            factories.made += through.made
        one, two = proxied
        single.lose_answers()
        # The answer to a batch's first message arrives; the one to its commit is lost.
        batched.lose_answers(after=1)
        inserts = asyncio.gather(
            asyncio.to_thread(one.insert_events, events("a", range(1, 2))),
            asyncio.to_thread(two.insert_events, events("b", range(1, 3))),
        )

        async def landed() -> bool:
            return await asyncio.to_thread(watching.max_notification_id) == 3

        await eventually(landed)
        single.cut()
        batched.cut()
        alone, together = await inserts
        assert sorted([*(alone or ()), *(together or ())]) == [1, 2, 3]
        for recorder, originator, count in ((one, "a", 1), (two, "b", 2)):
            found = await asyncio.to_thread(recorder.select_events, originator)
            assert len(found) == count
            # And it goes on from there.
            following = events(originator, range(count + 1, count + 2))
            await asyncio.to_thread(recorder.insert_events, following)
        for factory in factories.made:
            await asyncio.to_thread(factory.close)


def test_a_waiting_subscription_can_be_stopped_by_another_thread(factories: Factories) -> None:
    recorder = factories.recorder()
    recorder.insert_events(events("a", range(1, 2)))
    with recorder.subscribe() as subscription:
        assert next(subscription).id == 1
        stopper = threading.Timer(0.2, subscription.stop)
        stopper.start()
        assert list(subscription) == []
        stopper.join()


def test_a_position_ahead_of_the_stream_is_refused(factories: Factories) -> None:
    recorder = factories.recorder()
    with (
        recorder.subscribe(gt=7) as subscription,
        pytest.raises(OperationalError, match="ahead of EVENTSOURCING_Bank_events"),
    ):
        next(subscription)


def test_without_a_server_named_the_factory_says_what_is_missing() -> None:
    with pytest.raises(OSError, match="NATS_URL"):
        JetStreamFactory({})


def test_streams_are_not_made_when_they_must_be_there_already(nats_server: EmbeddedNats) -> None:
    factory = JetStreamFactory({"NATS_URL": nats_server.url, "CREATE_TABLE": "no"})
    with pytest.raises(OperationalError, match="stream not found"):
        factory.application_recorder()
    factory.close()


def when_available(make: Callable[[], ApplicationRecorder]) -> ApplicationRecorder:
    """What `make` makes, once the cluster has found its leaders."""
    deadline = time.monotonic() + 40
    while True:
        try:
            return make()
        except OperationalError:
            if time.monotonic() > deadline:
                raise


async def test_in_a_cluster_every_program_reads_at_once_what_another_has_saved(
    tmp_path: Path,
) -> None:
    async with cluster(tmp_path / "cluster") as servers:

        def save_and_find() -> None:
            factories = [
                JetStreamFactory({"NATS_URL": node.url, "STREAM_REPLICAS": "3"})
                for node in servers.nodes.values()
            ]
            recorders = [when_available(factory.application_recorder) for factory in factories]
            for turn in range(1, 31):
                recorders[turn % 3].insert_events(events("a", range(turn, turn + 1)))
                for recorder in recorders:
                    found = recorder.select_events("a", gt=turn - 1)
                    assert [one.originator_version for one in found] == [turn]
            for factory in factories:
                factory.close()

        await asyncio.to_thread(save_and_find)


def test_an_application_finds_its_aggregates_after_a_restart(nats_server: EmbeddedNats) -> None:
    environment = {"PERSISTENCE_MODULE": "adapters.eventsourcing", "NATS_URL": nats_server.url}
    aggregate = Aggregate()
    aggregate.trigger_event(Aggregate.Event)
    with Application[UUID](env=environment) as application:
        application.save(aggregate)
    with Application[UUID](env=environment) as application:
        found: Aggregate = application.repository.get(aggregate.id)
        assert found.version == 2
        earlier: Aggregate = application.repository.get(aggregate.id, version=1)
        assert earlier.version == 1


async def test_a_device_is_seen_at_any_version_of_its_history(nats_server: EmbeddedNats) -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    nc = await connect(nats_server.url, name="test")
    await nc.jetstream().add_stream(events_stream_config())
    store = JetStreamEventStore(nc, nc.jetstream())
    head = Head()
    for number in range(1, 6):
        event = collection_failed(
            "acme",
            "r1",
            failure_id=f"f{number}",
            kind="timeout",
            message="no answer",
            attempted_at=noon + timedelta(hours=number),
            source="scheduled",
        )
        stored = await store.append(event, head)
        head = Head(stored.version, stored.position)
    await nc.close()

    def look() -> None:
        with device_repository(nats_server.url, "acme") as repository:
            then = repository.get("r1", version=3, projector_func=project_device)
            assert (then.version, then.state.last_failure_id) == (3, "f3")
            now = repository.get("r1", projector_func=project_device)
            assert now.state.last_failure_at == noon + timedelta(hours=5)
            with pytest.raises(AggregateNotFoundError):
                repository.get("r2", projector_func=project_device)
            last = list(repository.event_store.get("r1", desc=True, limit=2))
            assert [one.originator_version for one in last] == [5, 4]
            with pytest.raises(NotSupportedError):
                repository.event_store.put([])

    await asyncio.to_thread(look)


def test_the_program_itself_never_loads_the_library() -> None:
    # Its domain patches `dataclasses` for the whole process.
    look = (
        "import sys\n"
        "from adapters.cli.commands import COMMANDS\n"
        "from adapters.cli.lazily import function_of\n"
        "for one in COMMANDS.values():\n"
        "    [function_of(each) for each in (one, *one.commands.values())]\n"
        "print([m for m in sys.modules if 'eventsourcing' in m])"
    )
    ran = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_server_that_is_not_there_ends_in_an_operational_error() -> None:
    environment = {"NATS_URL": f"nats://127.0.0.1:{free_port()}", "NATS_TIMEOUT": "0.5"}
    with pytest.raises(OperationalError, match=r"no connection within 0\.5 s \(\w+Error\)"):
        JetStreamFactory(environment)
    with (
        pytest.raises(OperationalError, match="no connection within"),
        device_repository(environment["NATS_URL"], "acme", timeout=0.5),
    ):
        pytest.fail("there is nothing to read from")


def test_a_wrong_password_is_told_at_once(nats_server: EmbeddedNats) -> None:
    parts = urlsplit(nats_server.url)
    wrong = f"nats://{parts.username}:wrong@127.0.0.1:{parts.port}"
    with pytest.raises(OperationalError, match="refuses the user or the password"):
        JetStreamFactory({"NATS_URL": wrong, "NATS_TIMEOUT": "600"})


@pytest.mark.parametrize(
    ("name", "value"), [("NATS_TIMEOUT", "soon"), ("NATS_TIMEOUT", "-1"), ("STREAM_REPLICAS", "x")]
)
def test_a_setting_that_is_no_number_is_named(name: str, value: str) -> None:
    with pytest.raises(OSError, match=f"{name} must be a .*number.*'{value}'"):
        JetStreamFactory({"NATS_URL": "nats://127.0.0.1:4222", name: value})


def test_an_address_that_is_none_is_an_error_of_the_library() -> None:
    with pytest.raises(PersistenceError):
        JetStreamFactory({"NATS_URL": "nats://127.0.0.1:port", "NATS_TIMEOUT": "0.5"})


async def test_a_server_that_went_away_ends_every_call_in_time(nats_server: EmbeddedNats) -> None:
    def make() -> tuple[JetStreamFactory, ApplicationRecorder]:
        factory = JetStreamFactory({"NATS_URL": nats_server.url, "NATS_TIMEOUT": "1"})
        recorder = factory.application_recorder()
        recorder.insert_events(events("a", range(1, 2)))
        return factory, recorder

    factory, recorder = await asyncio.to_thread(make)
    subscription = await asyncio.to_thread(recorder.subscribe)
    assert (await asyncio.to_thread(next, subscription)).id == 1
    await nats_server.kill()

    def ask() -> None:
        asked: list[Callable[[], object]] = [
            lambda: recorder.insert_events(events("a", range(2, 3))),
            lambda: recorder.insert_events(events("b", range(1, 4))),
            lambda: recorder.select_events("a"),
            lambda: recorder.select_notifications(1, 10),
            recorder.max_notification_id,
            factory.aggregate_recorder,
            lambda: next(subscription),
        ]
        with ThreadPoolExecutor(len(asked)) as threads:
            for one in [threads.submit(ask) for ask in asked]:
                with pytest.raises(OperationalError):
                    one.result()
        factory.close()

    await asyncio.to_thread(ask)


def test_a_closed_factory_says_that_it_is_closed(nats_server: EmbeddedNats) -> None:
    factory = JetStreamFactory({"NATS_URL": nats_server.url})
    recorder = factory.application_recorder()
    recorder.insert_events(events("a", range(1, 2)))
    waiting = recorder.subscribe(gt=1)
    begun = threading.Timer(0.2, factory.close)
    begun.start()
    assert list(waiting) == [], "who waits is told"
    begun.join()
    factory.close()
    waiting.stop()
    asked: list[Callable[[], object]] = [
        lambda: recorder.insert_events(events("a", range(2, 3))),
        lambda: recorder.select_events("a"),
        lambda: recorder.select_notifications(1, 10),
        recorder.max_notification_id,
        recorder.subscribe,
        factory.application_recorder,
        factory.aggregate_recorder,
    ]
    for ask in asked:
        with pytest.raises(InterfaceError, match="the factory is closed"):
            ask()


def test_an_event_larger_than_the_server_takes_is_a_data_error(factories: Factories) -> None:
    recorder = factories.recorder()
    huge = StoredEvent("a", 2, "topic", b"x" * (9 << 20))
    for batch in ([*events("a", range(1, 2)), huge], [StoredEvent("b", 1, "topic", huge.state)]):
        with pytest.raises(DataError, match="larger than the server takes"):
            recorder.insert_events(batch)
    assert recorder.max_notification_id() is None
