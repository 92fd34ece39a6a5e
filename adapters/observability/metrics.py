"""What Configtrail counts and measures, for Prometheus. Label values are bounded, never free text.

The names without the prefix `configtrail_` are those that dashboards of this field know.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# Seconds: recording takes milliseconds, the largest exports and diffs take some seconds.
_DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Seconds: a manual backup waits for a device.
_WAITS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """All metrics of one program, in a registry of their own: two programs in a test stay apart."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.ingested = self._counter(
            "config_snapshot_ingested_total", "Snapshots recorded as new configurations"
        )
        self.dedup_skipped = self._counter(
            "config_snapshot_dedup_skipped_total",
            "Observations that confirmed a recorded configuration",
        )
        self.ingest_errors = self._counter(
            "config_snapshot_errors_total",
            "Observations that could not be recorded, by class of error",
            "error_type",
        )
        self.ingestion_seconds = self._histogram(
            "config_snapshot_ingestion_duration_seconds",
            "From taking an observation off the intake to its durable fact",
        )
        self.diffs = self._counter("config_diff_generated_total", "Diffs recorded")
        self.diff_errors = self._counter(
            "config_diff_errors_total",
            "Diffs that could not be made, by class of error",
            "error_type",
        )
        self.diff_seconds = self._histogram(
            "config_diff_generation_duration_seconds",
            "From fetching both texts to the diff's durable fact",
        )
        self.collections = self._counter(
            "configtrail_collections_total",
            "Scheduled readings of devices: read, or the kind of failure",
            "outcome",
        )
        self.syslog_messages = self._counter(
            "configtrail_syslog_messages_total",
            "Syslog messages: change, no change, unknown sender",
            "kind",
        )
        self.collection_seconds = Histogram(
            "configtrail_collection_duration_seconds",
            "From contacting a device to its reading being durable on the intake",
            registry=self.registry,
            buckets=_WAITS,
        )
        self.manual_backups = self._counter(
            "configtrail_manual_backups_total", "Manual backups that ended, by outcome", "outcome"
        )
        self.manual_backup_seconds = Histogram(
            "configtrail_manual_backup_duration_seconds",
            "From the request for a backup to its end",
            registry=self.registry,
            buckets=_WAITS,
        )
        self.http_requests = Counter(
            "configtrail_http_requests_total",
            "Requests answered, by route and status",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.http_seconds = Histogram(
            "configtrail_http_request_duration_seconds",
            "Time to answer a request, by route",
            ("method", "route"),
            registry=self.registry,
            buckets=_DURATIONS,
        )
        self.stream_head = self._gauge(
            "configtrail_stream_head", "Position of the last event in the stream"
        )
        self.log_position = self._gauge(
            "configtrail_log_position", "Position up to which the stream is in signed checkpoints"
        )
        self.witness_answers = Counter(
            "configtrail_witness_answers_total",
            "Times that a witness was asked to cosign: cosigned, refused, away",
            ("witness", "outcome"),
            registry=self.registry,
        )
        self.unwitnessed = self._gauge(
            "configtrail_log_unwitnessed",
            "Logs whose last checkpoint lacks a witness that is to cosign it",
        )
        self.dead_letters = self._gauge(
            "configtrail_dead_letters", "Messages that could not be processed and wait for a look"
        )
        self.content_damaged = self._counter(
            "configtrail_content_damaged_total",
            "Times that retention met a stored text that fails verification, and left it",
        )
        self.projection_position = self._gauge(
            "configtrail_projection_position", "Last event in the read model", "projection"
        )
        self.projection_lag_events = self._gauge(
            "configtrail_projection_lag_events",
            "Events in the stream that the read model lacks",
            "projection",
        )
        self.projection_lag_seconds = self._gauge(
            "configtrail_projection_lag_seconds",
            "Age of the oldest event that the read model lacks, 0 when it lacks none",
            "projection",
        )
        self.projection_parked = self._gauge(
            "configtrail_projection_parked",
            "Events that the read model can't take in and that wait for a look",
            "projection",
        )
        self.projection_held = self._gauge(
            "configtrail_projection_held",
            "Events of the same devices that wait behind parked ones",
            "projection",
        )

    def observe_projection(
        self, name: str, *, position: int, head: int, behind_since: datetime | None, now: datetime
    ) -> None:
        """Set a projection's gauges. `behind_since`: when the first event it lacks was stored."""
        lag = max(0, head - position)
        self.projection_position.labels(name).set(position)
        self.projection_lag_events.labels(name).set(lag)
        seconds = (now - behind_since).total_seconds() if lag and behind_since else 0.0
        self.projection_lag_seconds.labels(name).set(max(0.0, seconds))

    def unknown_lag(self, names: Iterable[str]) -> None:
        """Say that the stream's head and the projections' lag can't be learnt now."""
        self.stream_head.set(math.nan)
        for name in names:
            for gauge in (
                self.projection_position,
                self.projection_lag_events,
                self.projection_lag_seconds,
                self.projection_parked,
                self.projection_held,
            ):
                gauge.labels(name).set(math.nan)

    def exposition(self) -> bytes:
        """All metrics in the text format `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, registry=self.registry, buckets=_DURATIONS)
