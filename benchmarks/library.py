"""The `eventsourcing` library's ProjectionRunner, writing the rows of the audit trail.

In a process of its own: importing the library changes `dataclasses` for everything beside it.

    python -m benchmarks.library DSN COUNT
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import Application
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.sql import SQL

from benchmarks.history import history
from domain.envelope import StoredEvent
from domain.events import decode_event, encode_event
from projections import AUDIT
from projections.audit.write import COLUMNS

_INSERT = SQL(
    f"INSERT INTO audit ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))})"
)
_CHUNK = 500


@dataclass(frozen=True)
class Recorded:
    """An event of ours, as the library stores one."""

    originator_id: UUID
    originator_version: int
    timestamp: datetime
    event_id: str
    device_id: str
    body: str


class AuditView(PostgresTrackingRecorder):
    """The audit trail beside the library's tracking, in one transaction."""

    def _create_table(self, curs: Any) -> None:
        super()._create_table(curs)
        curs.execute(SQL(AUDIT.ddl))

    def add(self, row: tuple[Any, ...], tracking: Tracking) -> None:
        """One row, and how far it is."""
        with self.datastore.transaction(commit=True) as curs:
            self._insert_tracking(curs, tracking)
            curs.execute(_INSERT, row)


class AuditProjection(Projection[AuditView]):
    """The fold of ours, event by event, as the library calls it."""

    name = "audit"

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Write the row."""
        stored = StoredEvent(
            position=tracking.notification_id,
            version=domain_event.originator_version,
            stored_at=domain_event.timestamp,
            event_id=domain_event.event_id,
            tenant_id="acme",
            device_id=domain_event.device_id,
            occurred_at=domain_event.timestamp,
            event=decode_event(domain_event.body.encode()),
        )
        self.view.add(AUDIT.fold([stored])[0], tracking)


def run(dsn: str, count: int) -> float:
    """Events per second, from the first to the last."""
    server = urlsplit(dsn)
    env = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": server.path[1:],
        "POSTGRES_HOST": str(server.hostname),
        "POSTGRES_PORT": str(server.port),
        "POSTGRES_USER": str(server.username),
        "POSTGRES_PASSWORD": str(server.password),
    }
    application = Application[UUID](env)
    chunk: list[Recorded] = []
    for stored in history(count):
        chunk.append(
            Recorded(
                uuid5(NAMESPACE_URL, stored.device_id),
                stored.version,
                datetime.now(UTC),
                stored.event_id,
                stored.device_id,
                encode_event(stored.event).decode(),
            )
        )
        if len(chunk) == _CHUNK or stored.position == count:
            application.save(*chunk)
            chunk = []
    last = application.recorder.max_notification_id()
    started = time.perf_counter()
    with ProjectionRunner(
        application_class=Application,
        projection_class=AuditProjection,
        view_class=AuditView,
        env=env,
    ) as runner:
        runner.wait(last, timeout=600)
        taken = time.perf_counter() - started
    application.close()
    return count / taken


if __name__ == "__main__":
    print(run(sys.argv[1], int(sys.argv[2])))
