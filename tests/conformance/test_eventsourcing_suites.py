"""The suites that the library `eventsourcing` ships, run over our persistence module.

They are the library's own, unchanged: what is here only constructs what they test. Each test has a
nats-server of its own, with nothing in it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from eventsourcing.persistence import Tracking
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.tests import application, projection
from eventsourcing.tests import persistence as suites
from eventsourcing.utils import Environment, get_topic

from adapters.embedded.nats import EmbeddedNats
from adapters.eventsourcing import JetStreamFactory
from adapters.eventsourcing.recorders import (
    JetStreamAggregateRecorder,
    JetStreamApplicationRecorder,
)

MODULE = "adapters.eventsourcing"
NO_TRACKING = "a position belongs into the transaction of the read model, not onto the stream"


class WithServer:
    """A server for each test, and factories that are closed after it."""

    @pytest.fixture(autouse=True)
    def _server(self, nats_server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("PERSISTENCE_MODULE", MODULE)
        monkeypatch.setenv("NATS_URL", nats_server.url)
        self.environment = {"PERSISTENCE_MODULE": MODULE, "NATS_URL": nats_server.url}
        self.factories: list[JetStreamFactory] = []
        yield
        for factory in self.factories:
            factory.close()

    def new_factory(self) -> JetStreamFactory:
        name = f"Test{uuid.uuid4().hex}"
        self.factories.append(JetStreamFactory(Environment(name, self.environment)))
        return self.factories[-1]

    def application_recorder(self) -> JetStreamApplicationRecorder:
        recorder = self.new_factory().application_recorder()
        assert isinstance(recorder, JetStreamApplicationRecorder)
        return recorder


class TestAggregateRecorder(WithServer, suites.AggregateRecorderTestCase):
    def create_recorder(self) -> JetStreamAggregateRecorder:
        recorder = self.new_factory().aggregate_recorder()
        assert isinstance(recorder, JetStreamAggregateRecorder)
        return recorder


class TestAggregateRecorderOfSnapshots(WithServer, suites.AggregateRecorderTestCase):
    def create_recorder(self) -> JetStreamAggregateRecorder:
        recorder = self.new_factory().aggregate_recorder("snapshots")
        assert isinstance(recorder, JetStreamAggregateRecorder)
        return recorder


class TestApplicationRecorder(
    WithServer, suites.ApplicationRecorderTestCase[JetStreamApplicationRecorder]
):
    def create_recorder(self) -> JetStreamApplicationRecorder:
        return self.application_recorder()

    def test_insert_subscribe(self) -> None:
        # The library leaves it to recorders that can subscribe to enrol in this one.
        self.optional_test_insert_subscribe()


class TestNonInterleavingNotificationIds(WithServer, suites.NonInterleavingNotificationIDsBaseCase):
    def create_recorder(self) -> JetStreamApplicationRecorder:
        return self.application_recorder()


class TestInfrastructureFactory(WithServer, suites.InfrastructureFactoryTestCase[JetStreamFactory]):
    def setUp(self) -> None:
        if self._testMethodName in (
            "test_create_tracking_recorder",
            "test_create_process_recorder",
        ):
            self.skipTest(NO_TRACKING)
        self.env = Environment("TestCase", self.environment)
        super().setUp()

    def expected_factory_class(self) -> type[JetStreamFactory]:
        return JetStreamFactory

    def expected_aggregate_recorder_class(self) -> type[JetStreamAggregateRecorder]:
        return JetStreamAggregateRecorder

    def expected_application_recorder_class(self) -> type[JetStreamApplicationRecorder]:
        return JetStreamApplicationRecorder

    def expected_tracking_recorder_class(self) -> Any:
        raise AssertionError(NO_TRACKING)

    def tracking_recorder_subclass(self) -> Any:
        raise AssertionError(NO_TRACKING)

    def expected_process_recorder_class(self) -> Any:
        raise AssertionError(NO_TRACKING)


class TestExampleApplication(WithServer, application.ExampleApplicationTestCase):
    expected_factory_topic = get_topic(JetStreamFactory)


@pytest.mark.filterwarnings("always:.*deprecated:DeprecationWarning")
class TestApplication(WithServer, application.ApplicationTestCase):
    """Applications of all kinds: caches, fast-forwarding, logs."""


class Counters(POPOTrackingRecorder, projection.EventCountersView):
    """A read model in memory, with its position."""

    def __init__(self) -> None:
        super().__init__()
        self.created = 0
        self.subsequent = 0

    def get_created_event_counter(self) -> int:
        return self.created

    def get_subsequent_event_counter(self) -> int:
        return self.subsequent

    def incr_created_event_counter(self, tracking: Tracking) -> None:
        self.insert_tracking(tracking)
        self.created += 1

    def incr_subsequent_event_counter(self, tracking: Tracking) -> None:
        self.insert_tracking(tracking)
        self.subsequent += 1


class TestCountersProjection(WithServer, projection.AggregateEventCountersProjectionTestCase):
    view_class: type[projection.EventCountersView] = Counters

    def setUp(self) -> None:
        # The view is kept elsewhere than the events: in memory.
        in_memory = {"EVENTCOUNTERS_PERSISTENCE_MODULE": "eventsourcing.popo"}
        type(self).env = {**self.environment, **in_memory}
