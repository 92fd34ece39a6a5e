"""Metrics: the names that dashboards know, and gauges that tell the truth about lag."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adapters.observability.metrics import Metrics

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

KNOWN = [
    ("config_snapshot_ingested_total", "counter"),
    ("config_snapshot_dedup_skipped_total", "counter"),
    ("config_snapshot_errors_total", "counter"),
    ("config_snapshot_ingestion_duration_seconds", "histogram"),
    ("config_diff_generated_total", "counter"),
    ("config_diff_errors_total", "counter"),
    ("config_diff_generation_duration_seconds", "histogram"),
]


@pytest.mark.parametrize(("name", "kind"), KNOWN)
def test_the_names_that_dashboards_know_are_exposed(name: str, kind: str) -> None:
    assert f"# TYPE {name} {kind}" in Metrics().exposition().decode()


def test_errors_are_counted_by_their_class() -> None:
    metrics = Metrics()
    metrics.ingest_errors.labels("sha256_hash").inc()
    metrics.diff_errors.labels("ContentMissing").inc(2)
    text = metrics.exposition().decode()
    assert 'config_snapshot_errors_total{error_type="sha256_hash"} 1.0' in text
    assert 'config_diff_errors_total{error_type="ContentMissing"} 2.0' in text


def test_two_programs_in_one_process_count_apart() -> None:
    one, two = Metrics(), Metrics()
    one.ingested.inc()
    assert one.registry.get_sample_value("config_snapshot_ingested_total") == 1
    assert two.registry.get_sample_value("config_snapshot_ingested_total") == 0


@pytest.mark.parametrize(
    ("position", "head", "since", "events", "seconds"),
    [
        (10, 10, NOW - timedelta(hours=1), 0, 0),
        (7, 10, NOW - timedelta(seconds=30), 3, 30),
        (7, 10, None, 3, 0),
        (11, 10, NOW, 0, 0),
        (7, 10, NOW + timedelta(seconds=5), 3, 0),
    ],
)
def test_lag_is_told_in_events_and_in_seconds(
    position: int, head: int, since: datetime | None, events: int, seconds: float
) -> None:
    metrics = Metrics()
    metrics.observe_projection("audit", position=position, head=head, behind_since=since, now=NOW)
    sample = metrics.registry.get_sample_value
    labels = {"projection": "audit"}
    assert sample("configtrail_projection_position", labels) == position
    assert sample("configtrail_projection_lag_events", labels) == events
    assert sample("configtrail_projection_lag_seconds", labels) == seconds
