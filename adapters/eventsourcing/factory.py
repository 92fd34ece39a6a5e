"""The infrastructure factory: environment variables become recorders on JetStream."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    NotSupportedError,
    ProcessRecorder,
    TrackingRecorder,
)
from eventsourcing.utils import Environment, EnvType, strtobool

from adapters.eventsourcing.background import Background
from adapters.eventsourcing.errors import library_errors
from adapters.eventsourcing.log import Log
from adapters.eventsourcing.recorders import (
    JetStreamAggregateRecorder,
    JetStreamApplicationRecorder,
)
from adapters.eventsourcing.wire import Subjects
from adapters.jetstream.streams import ensure_stream, log_stream_config

_NO_TRACKING = (
    "JetStream records no positions of other applications: a position belongs into the transaction"
    " of what was made of the events, so keep it in the read model's database"
)


class JetStreamFactory(InfrastructureFactory[TrackingRecorder]):
    """Recorders of one application, which share a connection.

    `NATS_URL`: `nats://user:password@host:4222`. `NATS_TIMEOUT`: how many seconds the connection,
    each operation and an outage under a subscription may take, by default 30.
    `STREAM_REPLICAS`: of streams that are made, by default 1. `CREATE_TABLE=no`: streams must be
    there already. As always in the library, a name with the application's in front, such as
    `BANKACCOUNTS_NATS_URL`, goes first.
    """

    NATS_URL = "NATS_URL"
    NATS_TIMEOUT = "NATS_TIMEOUT"
    STREAM_REPLICAS = "STREAM_REPLICAS"
    CREATE_TABLE = "CREATE_TABLE"

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        url = self.env.get(self.NATS_URL)
        if not url:
            raise OSError(f"the environment variable {self.NATS_URL} is not set")
        self._application = self.env.name or "application"
        self._replicas = int(self._number(self.STREAM_REPLICAS, 1, "a whole number", int))
        timeout = self._number(self.NATS_TIMEOUT, 30, "a number of seconds above 0", float)
        with library_errors():
            self._background = Background(
                url, name=f"eventsourcing-{self._application}", timeout=timeout
            )
        # Applications are often not closed: the thread ends with the factory then.
        self._ending = weakref.finalize(self, self._background.close)

    def close(self) -> None:
        """Close the connection; recorders and subscriptions of this factory end."""
        self._ending()

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        """A recorder of aggregates' events, or of their snapshots."""
        return JetStreamAggregateRecorder(self._background, self._log(purpose))

    def application_recorder(self) -> ApplicationRecorder:
        """A recorder of the application's events."""
        return JetStreamApplicationRecorder(self._background, self._log("events"))

    def tracking_recorder(
        self, tracking_recorder_class: type[TrackingRecorder] | None = None
    ) -> TrackingRecorder:
        """Not supported."""
        raise NotSupportedError(_NO_TRACKING)

    def process_recorder(self) -> ProcessRecorder:
        """Not supported."""
        raise NotSupportedError(_NO_TRACKING)

    def _number(self, name: str, default: float, rule: str, parse: Callable[[str], float]) -> float:
        given = self.env.get(name) or str(default)
        try:
            number = parse(given)
        except ValueError:
            number = 0
        if not 0 < number < math.inf:
            raise OSError(f"the environment variable {name} must be {rule}, and is {given!r}")
        return number

    def _log(self, purpose: str) -> Log:
        subjects = Subjects(self._application, purpose)
        create = strtobool(self.env.get(self.CREATE_TABLE, "yes"))
        config = log_stream_config(subjects.stream, subjects.all, self._replicas)
        with library_errors():
            self._background.call(
                ensure_stream(self._background.nc.jetstream(), config, create=create)
            )
        return Log(
            self._background.nc,
            subjects,
            contiguous=purpose == "events",
            replicated=self._replicas > 1,
        )
