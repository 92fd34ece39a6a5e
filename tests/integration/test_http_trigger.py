"""Manual backups over HTTP: every way in which one ends, and what is promised of its position."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from nats.aio.msg import Msg

from adapters.embedded.nats import EmbeddedNats
from adapters.http.guard import BODY_MAX
from adapters.roles.trigger import SUBJECT
from adapters.roles.trigger_endings import lease_name
from tests.serving import (
    HOME,
    NOON,
    TEXTS,
    Api,
    program,
    settings_for,
)


async def test_a_manual_backup_and_every_way_it_can_end(api: Api) -> None:
    path = f"{HOME}/r1/config-snapshot/trigger"
    answers: list[dict[str, object]] = []

    async def on_request(msg: Msg) -> None:
        reply = answers.pop(0)
        if reply["status"] == "success":
            request = json.loads(msg.data)
            await api.system.intake.publish(
                "acme", "r1", TEXTS[0], datetime.now(UTC), trigger_id=request["trigger_id"]
            )
        await msg.respond(json.dumps(reply).encode())

    sha256 = hashlib.sha256(TEXTS[0].encode()).hexdigest()
    nobody = await api.http.post(path)
    assert (nobody.status_code, nobody.json()["code"]) == (502, "backup_failed")
    subscription = await api.system.nc.subscribe(SUBJECT, cb=on_request)
    answers.append({"status": "success", "sha256_hash": sha256, "message": "read"})
    made = await api.http.post(path, json={"reason": "before the upgrade"})
    assert made.status_code == 201
    body = made.json()
    assert (body["status"], body["sha256_hash"], body["message"]) == ("success", sha256, "read")
    at_once = await api.get(f"{HOME}/r1/snapshots", min_position=body["position"])
    assert [one["id"] for one in at_once["items"]] == [body["snapshot_id"]]
    position = made.headers["Configtrail-Position"]
    assert position == str(body["position"])
    header = {"Configtrail-Min-Position": position}
    assert (await api.http.get(f"{HOME}/r1/snapshots", headers=header)).json() == at_once
    answers.append({"status": "success", "sha256_hash": sha256, "message": "read"})
    waited = await api.http.post(path, params={"wait": True})
    assert (waited.status_code, waited.json()["outcome"]) == (201, "duplicate")
    assert (await api.get(f"{HOME}/r1"))["confirmations"] == 1
    fleet = (await api.http.get("/api/tenants/acme/fleet")).json()
    assert [(one["device_id"], one["open_since"]) for one in fleet] == [("r1", None)]
    answers.append({"status": "failed", "error": "login refused"})
    failed = await api.http.post(path)
    assert failed.status_code == 502
    assert "login refused" in failed.json()["detail"]
    async with api.system.leases.hold(lease_name("acme", "r1"), 30):
        locked = await api.http.post(path)
    assert (locked.status_code, locked.json()["code"]) == (409, "backup_under_way")
    await subscription.unsubscribe()

    async def nothing(msg: Msg) -> None:
        pass

    subscription = await api.system.nc.subscribe(SUBJECT, cb=nothing)
    late = await api.http.post(path)
    assert (late.status_code, late.json()["code"]) == (504, "backup_timed_out")
    await subscription.unsubscribe()

    await api.settled()
    audit = (await api.get("/api/tenants/acme/audit-logs"))["items"]
    asked = [one for one in audit if one["action"] == "config_backup_manual_trigger"]
    ended = [one for one in audit if one["action"] == "config_backup_manual_finished"]
    assert sorted(one["details"]["outcome"] for one in ended) == [
        "duplicate",
        "failed",
        "failed",
        "locked",
        "succeeded",
        "timed_out",
    ]
    assert {one["correlation_id"] for one in asked} == {one["correlation_id"] for one in ended}
    assert {one["actor"] for one in asked} == {"service:key/tests-admin"}
    assert {one["details"]["remote_address"] for one in asked} == {"127.0.0.1"}
    assert "before the upgrade" in {one["details"].get("reason") for one in asked}


async def test_a_position_is_not_promised_over_parked_events(api: Api) -> None:
    for device, text in (("r1", TEXTS[0]), ("r2", TEXTS[2])):
        await api.system.intake.publish("acme", device, text, NOON)
    head = await api.settled()
    audit = "/api/tenants/acme/audit-logs"
    first = (await api.get(audit, device_id="r1"))["items"][0]["position"]
    await api.system.pool.execute(
        "INSERT INTO configtrail.parked VALUES"
        " ('audit', $1, 'acme', 'r1', 'e', 'SnapshotCreated', 'ValueError')",
        first,
    )
    for path, more in ((f"{HOME}/r1/snapshots", {}), (audit, {"device_id": "r1"})):
        refused = await api.http.get(path, params={**more, "min_position": str(head)})
        assert (refused.status_code, refused.json()["code"]) == (503, "events_parked")
        assert "audit" in refused.json()["detail"]
    await api.get(f"{HOME}/r1/snapshots")
    await api.get(f"{HOME}/r1/snapshots", min_position=first - 1)
    other = await api.http.get(f"{HOME}/r2/snapshots", params={"min_position": str(head)})
    assert (other.status_code, other.headers.get("Configtrail-Parked")) == (200, None)
    for path in ("fleet", "audit-logs", "audit-logs?format=csv"):
        whole = await api.http.get(
            f"/api/tenants/acme/{path}", headers={"Configtrail-Min-Position": str(head)}
        )
        assert (whole.status_code, whole.headers.get("Configtrail-Parked")) == (200, "audit")

    async def on_request(msg: Msg) -> None:
        device, trigger = (json.loads(msg.data)[name] for name in ("device_id", "trigger_id"))
        await api.system.intake.publish(
            "acme", device, TEXTS[1], datetime.now(UTC), trigger_id=trigger
        )
        sha256 = hashlib.sha256(TEXTS[1].encode()).hexdigest()
        answer = {"status": "success", "sha256_hash": sha256, "message": "read"}
        await msg.respond(json.dumps(answer).encode())

    await api.system.nc.subscribe(SUBJECT, cb=on_request)
    for device, status in (("r2", 201), ("r1", 202)):
        done = await api.http.post(
            f"{HOME}/{device}/config-snapshot/trigger", params={"wait": True}
        )
        assert done.status_code == status, done.text


async def test_a_manual_backup_with_a_bad_body_is_not_recorded(api: Api) -> None:
    path = f"{HOME}/r1/config-snapshot/trigger"
    for body, field in (
        (b"{", None),
        (b"[]", None),
        (b'{"reason": 7}', "reason"),
        (b'{"reason": "two\\nlines"}', "reason"),
        (b'{"reason": "' + b"x" * 501 + b'"}', "reason"),
        (b'{"actor": "user:root"}', "actor"),
    ):
        answer = await api.http.post(
            path, content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422, body
        if field is not None:
            assert answer.json()["field"] == field
    large = await api.http.post(path, content=b" " * (BODY_MAX + 1))
    assert (large.status_code, large.json()["code"]) == (413, "too_large")
    endless = await api.http.post(path, content=_endless())
    assert (endless.status_code, endless.json()["code"]) == (413, "too_large")
    assert (await api.get("/api/tenants/acme/audit-logs"))["total"] == 0


async def _endless() -> AsyncIterator[bytes]:
    for _ in range(100):
        yield b" " * 10_000


async def test_stopping_the_server_records_the_end_of_what_was_under_way(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    reached = asyncio.Event()

    async def on_request(msg: Msg) -> None:
        reached.set()

    settings = settings_for(nats_server, postgres_dsn, tmp_path, trigger_timeout_seconds=60)
    async with program(settings) as api:
        await api.system.nc.subscribe(SUBJECT, cb=on_request)
        asking = asyncio.create_task(api.http.post(f"{HOME}/r1/config-snapshot/trigger"))
        await reached.wait()
        await api.stop()
        await asyncio.gather(asking, return_exceptions=True)
        state = await api.system.devices.refresh("acme", "r1")
        assert state.head.version == 2
        assert state.open_triggers == ()
