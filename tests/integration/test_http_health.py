"""Whether it is ready, and what it counts."""

from __future__ import annotations

import os
import signal
from typing import Any

import httpx

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.streams import EVENTS
from adapters.postgres.pool import open_pool
from tests.serving import HOME, NOON, TEXTS, Api
from tests.support import eventually


async def test_ready_only_while_all_of_it_answers(filled: Api, nats_server: EmbeddedNats) -> None:
    head = await filled.settled()
    ready = await filled.get("/readyz")
    assert (ready["ready"], ready["reasons"], ready["stream_head"]) == (True, [], head)
    assert {one["position"] for one in ready["projections"].values()} == {head}
    assert set(ready["projections"]) == {"backups", "diffs", "audit", "fleet", "access"}
    await nats_server.kill()

    async def not_ready() -> Any:
        answer = await filled.http.get("/readyz")
        return answer.status_code == 503 and answer.json()

    lost = await eventually(not_ready)
    assert lost["ready"] is False
    assert any("NATS" in reason for reason in lost["reasons"])
    assert (await filled.get("/healthz")) == {"status": "ok"}
    metrics = (await filled.http.get("/metrics")).text
    assert "configtrail_stream_head NaN" in metrics
    assert 'configtrail_projection_lag_events{projection="audit"} NaN' in metrics
    assert (await filled.get(f"{HOME}/r1"))["snapshots"] == 3
    await nats_server.start()
    await eventually(lambda: _is_ready(filled))


async def test_a_postgres_that_stands_still_is_told_in_time(filled: Api) -> None:
    """It ends no statement, and whoever gives one up waits for that."""
    await filled.settled()
    sessions = await filled.system.pool.fetch(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    )
    try:
        for one in sessions:
            os.kill(one["pid"], signal.SIGSTOP)
        # Without the key of the other tests, which would be looked up in Postgres first.
        async with httpx.AsyncClient(base_url=filled.http.base_url, timeout=60) as anybody:
            answer = await anybody.get("/readyz")
    finally:
        for one in sessions:
            os.kill(one["pid"], signal.SIGCONT)
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["NATS or Postgres: no answer in time"]
    await eventually(lambda: _is_ready(filled))


async def test_a_stream_that_is_missing_is_told_and_waited_for(filled: Api) -> None:
    await filled.system.js.delete_stream(EVENTS)
    answer = await filled.http.get("/readyz")
    assert answer.status_code == 503
    assert any(f"{EVENTS}: it is not there" in one for one in answer.json()["reasons"])
    assert "configtrail_stream_head NaN" in (await filled.http.get("/metrics")).text


async def _is_ready(api: Api) -> bool:
    return (await api.http.get("/readyz")).status_code == 200


async def test_metrics_count_what_happened(filled: Api) -> None:
    head = await filled.settled()
    answer = await filled.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    for line in (
        "config_snapshot_ingested_total 3.0",
        "config_snapshot_dedup_skipped_total 1.0",
        "config_diff_generated_total 2.0",
        "config_snapshot_ingestion_duration_seconds_count 4.0",
        "config_diff_generation_duration_seconds_count 2.0",
        "configtrail_dead_letters 1.0",
        f"configtrail_stream_head {head:.1f}",
        'configtrail_projection_lag_events{projection="audit"} 0.0',
        'configtrail_projection_lag_seconds{projection="backups"} 0.0',
    ):
        assert line in lines
    assert any(line.startswith("config_snapshot_errors_total{error_type=") for line in lines)


async def test_who_locks_what_read_models_are_kept_in_is_told_at_once(
    filled: Api, postgres_dsn: str
) -> None:
    """Before the worker, which waits for longer, says so."""
    await filled.settled()
    async with (
        open_pool(postgres_dsn, application_name="somebody's psql") as other,
        other.acquire() as session,
    ):
        who = f"process {session.get_server_pid()} of the server (somebody's psql, user "
        async with session.transaction():
            await session.execute("LOCK TABLE configtrail.checkpoints")
            (reason,) = await reasons(filled)
            assert f"it is locked: {who}" in reason
            assert "AccessExclusiveLock on checkpoints" in reason
        await eventually(lambda: _is_ready(filled))
        async with session.transaction():
            await session.execute(
                "SELECT FROM configtrail.checkpoints WHERE projection = 'audit' FOR UPDATE"
            )
            await filled.system.intake.publish("acme", "r7", TEXTS[0], NOON)
            (reason,) = await eventually(lambda: reasons(filled))
            assert f"the projection audit waits: {who}" in reason
            assert "in a transaction since 2" in reason
            assert "a lock on the row of audit in checkpoints" in reason
        await eventually(lambda: _is_ready(filled))


async def reasons(api: Api) -> list[str]:
    async with httpx.AsyncClient(base_url=api.http.base_url, timeout=60) as anybody:
        told: list[str] = (await anybody.get("/readyz")).json()["reasons"]
    return told
