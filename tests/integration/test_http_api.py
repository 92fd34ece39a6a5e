"""The API over a real socket, on the whole program: what was sent to the intake comes out again."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from msgspec import Struct
from nats.aio.msg import Msg
from pydantic import SecretStr

from adapters.composition import System, open_system, roles
from adapters.embedded.nats import EmbeddedNats
from adapters.http.app import create_app, serve
from adapters.http.guard import BODY_MAX
from adapters.jetstream.intake import CREATE
from adapters.roles.supervisor import running
from adapters.roles.trigger import SUBJECT
from adapters.roles.trigger_endings import lease_name
from adapters.settings import Settings
from domain.errors import InvalidInput
from tests.rig import api_key
from tests.support import eventually

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CANARY = "canary-secret-41d7"
HOME = "/api/tenants/acme/devices"


def export(name: str, address: str, *, minute: int = 0) -> str:
    return (
        f"# 2026-03-01 12:{minute:02d}:00 by RouterOS 7.14\n"
        f"/ppp secret\nadd name=u password={CANARY}\n"
        f"/ip address\nadd address={address}/24 interface=ether1\n"
        f"/system identity\nset name={name}\n"
    )


TEXTS = [export("r1", "192.0.2.1"), export("r1", "192.0.2.2"), export("r2", "192.0.2.2")]


class Api(Struct, frozen=True):
    """A program that serves, and a client of it."""

    system: System
    http: httpx.AsyncClient
    address: str
    server: asyncio.Task[None]

    async def stop(self) -> None:
        """Stop serving, as the composition root does."""
        self.server.cancel()
        await asyncio.wait([self.server])

    async def get(
        self, path: str, expect: int = 200, *, params: dict[str, str] | None = None, **more: Any
    ) -> Any:
        """The JSON at a path; the status must be as expected."""
        answer = await self.http.get(path, params={**(params or {}), **more})
        assert answer.status_code == expect, answer.text
        return answer.json()

    async def problem(self, path: str, expect: int, **params: Any) -> dict[str, str]:
        """What an error says, in the one form of all errors."""
        body: dict[str, str] = await self.get(path, expect, **params)
        own = {"type", "title", "status", "detail", "code", "request_id"}
        assert own <= set(body) <= own | {"field"}
        return body

    async def settled(self) -> int:
        """Wait until the intake is worked off, all diffs are told and everything is projected."""

        async def idle() -> bool:
            for stream, consumer in (
                ("CONFIGTRAIL_INTAKE", "recorder"),
                ("CONFIGTRAIL_EVENTS", "differ"),
            ):
                info = await self.system.js.consumer_info(stream, consumer)
                if info.num_pending or info.num_ack_pending:
                    return False
            return True

        await eventually(lambda: self._head_stands_still(idle))
        head = await self.system.events.head()
        for worker in self.system.projections:
            await worker.wait(head)
        return head

    async def _head_stands_still(self, idle: Callable[[], Any]) -> bool:
        before = await self.system.events.head()
        return bool(await idle()) and await self.system.events.head() == before


@asynccontextmanager
async def program(settings: Settings) -> AsyncIterator[Api]:
    async with open_system(settings) as system, running(roles(system)):
        addresses: asyncio.Queue[str] = asyncio.Queue()
        server = asyncio.create_task(
            serve(
                create_app(system),
                "127.0.0.1",
                0,
                started=addresses.put_nowait,
                stopping=system.live.stop,
            )
        )
        address = await addresses.get()
        try:
            headers = {"Authorization": f"Bearer {await api_key(system)}"}
            async with httpx.AsyncClient(base_url=address, timeout=30, headers=headers) as client:
                await eventually(lambda: _has_consumers(system))
                yield Api(system, client, address, server)
        finally:
            server.cancel()
            await asyncio.wait([server])
        assert server.cancelled()


async def _has_consumers(system: System) -> bool:
    names = {one.name for one in await system.js.consumers_info("CONFIGTRAIL_EVENTS")}
    names |= {one.name for one in await system.js.consumers_info("CONFIGTRAIL_INTAKE")}
    return {"differ", "recorder"} <= names


def settings_for(server: EmbeddedNats, dsn: str, folder: Path, **more: Any) -> Settings:
    return Settings(
        nats_url=SecretStr(server.url),
        postgres_dsn=SecretStr(dsn),
        data_dir=folder,
        master_key_file=folder / "master.key",
        **more,
    )


@pytest.fixture
async def api(nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path) -> AsyncIterator[Api]:
    settings = settings_for(nats_server, postgres_dsn, tmp_path, trigger_timeout_seconds=2)
    async with program(settings) as running_program:
        yield running_program


@pytest.fixture
async def filled(api: Api) -> Api:
    """Router r1 with three configurations an hour apart, the first one seen twice; one letter."""
    seen = [TEXTS[0], export("r1", "192.0.2.1", minute=30), TEXTS[1], TEXTS[2]]
    for hours, text in zip((0, 0.5, 1, 2), seen, strict=True):
        await api.system.intake.publish("acme", "r1", text, NOON + timedelta(hours=hours))
        await api.settled()
    await api.system.intake.publish_raw(CREATE, b'{"tenant_id": "acme", "device_id": ')
    await eventually(lambda: _has_letter(api))
    return api


async def _has_letter(api: Api) -> bool:
    return await api.system.dead_letters.count() > 0


async def snapshot_ids(api: Api) -> list[str]:
    """Oldest first."""
    found = await api.get(f"{HOME}/r1/snapshots")
    return [one["id"] for one in reversed(found["items"])]


async def test_a_devices_whole_story(filled: Api) -> None:
    devices = await filled.get(HOME)
    assert devices["total"] == 1
    [device] = devices["items"]
    assert device == await filled.get(f"{HOME}/r1")
    assert (device["device_id"], device["snapshots"], device["confirmations"]) == ("r1", 3, 1)
    assert datetime.fromisoformat(device["first_seen"]) == NOON
    assert datetime.fromisoformat(device["last_seen"]) == NOON + timedelta(hours=2)

    listed = await filled.get(f"{HOME}/r1/snapshots", limit=2)
    assert (listed["total"], len(listed["items"])) == (3, 2)
    first, second, third = await snapshot_ids(filled)
    assert listed["items"][0]["id"] == third
    assert [one["is_current"] for one in listed["items"]] == [True, False]

    history = await filled.get(f"{HOME}/r1/config-history")
    assert [one["snapshot_id"] for one in history] == [third, second, first]
    assert history[0]["component"] == "/system identity"
    assert history[1]["component"] == "/ip address"
    assert (history[1]["lines_added"], history[1]["lines_removed"]) == (1, 1)
    assert history[1]["diff_id"] == f"diff.{first}.{second}"
    assert history[2]["diff_id"] is None
    assert history[2]["summary"] == "First configuration"
    assert len({one["id"] for one in history}) == 3
    below = await filled.get(f"{HOME}/r1/config-history", section="/ip")
    assert [one["snapshot_id"] for one in below] == [second]

    validity = await filled.get(f"{HOME}/r1/validity")
    assert [one["snapshot_id"] for one in validity] == [third, second, first]
    assert validity[0]["valid_until"] is None


async def test_texts_come_back_as_they_were_sent_and_are_kept_by_no_cache(filled: Api) -> None:
    ids = await snapshot_ids(filled)
    for snapshot_id, text in zip(ids, TEXTS, strict=True):
        answer = await filled.http.get(f"{HOME}/r1/config/{snapshot_id}?reveal=true")
        body = answer.json()
        assert body["config_text"] == text
        assert body["sha256_hash"] == hashlib.sha256(text.encode()).hexdigest()
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
    for hours, expected in ((0, 0), (0.9, 0), (1, 1), (1.5, 1), (50, 2)):
        moment = (NOON + timedelta(hours=hours)).isoformat()
        found = await filled.get(f"{HOME}/r1/config/at", time=moment)
        assert found["id"] == ids[expected]
    before = (NOON - timedelta(seconds=1)).isoformat()
    assert (await filled.problem(f"{HOME}/r1/config/at", 404, time=before))["code"] == "not_found"


async def test_differences_recorded_and_worked_out(filled: Api) -> None:
    first, second, third = await snapshot_ids(filled)
    told = await filled.get(f"{HOME}/r1/config/{second}/diff", reveal="true")
    assert (told["old_snapshot_id"], told["new_snapshot_id"]) == (first, second)
    assert (told["lines_added"], told["lines_removed"], told["recorded"]) == (1, 1, True)
    assert "\n-add address=192.0.2.1/24 interface=ether1\n" in told["diff_text"]
    assert "\n+add address=192.0.2.2/24 interface=ether1\n" in told["diff_text"]
    assert told["sections"] == [{"section": "/ip address", "added": 1, "removed": 1}]
    assert [one["sentence"] for one in told["changes"]] == [
        "ip address: '192.0.2.1/24' removed",
        "ip address: '192.0.2.2/24' added on ether1",
    ]
    same = await filled.get(
        f"{HOME}/r1/config/compare", params={"from": first, "to": second, "reveal": "true"}
    )
    assert same == told
    worked_out = await filled.get(f"{HOME}/r1/config/compare", params={"from": first, "to": third})
    assert (worked_out["recorded"], worked_out["lines_added"]) == (False, 2)
    back = await filled.get(f"{HOME}/r1/config/compare", params={"from": second, "to": first})
    assert "\n+add address=192.0.2.1/24 interface=ether1\n" in back["diff_text"]
    assert [one["kind"] for one in back["changes"]] == ["removed", "added"]
    problem = await filled.problem(f"{HOME}/r1/config/{first}/diff", 404)
    assert "before" in problem["detail"]


async def test_history_sums_up_what_changed_by_names(filled: Api) -> None:
    history = await filled.get(f"{HOME}/r1/config-history")
    assert [one["changes"] for one in history][1] == [
        {
            "section": "/ip address",
            "kind": kind,
            "count": 1,
            "properties": [],
            "risks": [],
            "level": "report",
            "after_upgrade": False,
        }
        for kind in ("removed", "added")
    ]
    assert "192.0.2" not in str(history)


async def test_texts_and_differences_are_redacted_unless_secrets_are_asked_for(
    filled: Api,
) -> None:
    first, second, _ = await snapshot_ids(filled)
    for path in (
        f"{HOME}/r1/config/{first}",
        f"{HOME}/r1/config/at?time={(NOON + timedelta(hours=1)).isoformat().replace('+', '%2B')}",
        f"{HOME}/r1/config/{second}/diff",
        f"{HOME}/r1/config/compare?from={first}&to={second}",
    ):
        redacted = await filled.http.get(path)
        shown = await filled.http.get(f"{path}{'&' if '?' in path else '?'}reveal=true")
        assert (shown.status_code, redacted.status_code) == (200, 200)
        assert (shown.json()["redacted"], redacted.json()["redacted"]) == (False, True)
        assert CANARY not in redacted.text
        text = redacted.json().get("config_text") or redacted.json()["diff_text"]
        assert text.count("\n") == (
            shown.json().get("config_text") or shown.json()["diff_text"]
        ).count("\n")
    text = (await filled.get(f"{HOME}/r1/config/{first}"))["config_text"]
    assert re.search(r"^add name=u password=<secret:[0-9a-f]{8}>$", text, re.MULTILINE)
    await filled.settled()
    told = await filled.get("/api/tenants/acme/audit-logs", action="config_content_revealed")
    assert [one["resource_type"] for one in told["items"]] == ["diff"] * 2 + ["snapshot"] * 2
    assert {one["actor"] for one in told["items"]} == {"service:key/tests-admin"}


async def test_the_audit_trail_in_pages_filters_and_csv(filled: Api) -> None:
    path = "/api/tenants/acme/audit-logs"
    everything = await filled.get(path)
    events = await filled.system.events.head() - 1  # the key's own is of no tenant
    assert everything["total"] == len(everything["items"]) == events
    assert (everything["page"], everything["total_is_exact"]) == (1, True)
    actions = [one["action"] for one in everything["items"]]
    assert actions.count("config_snapshot_created") == 3
    assert actions.count("config_snapshot_skipped_duplicate") == 1
    assert actions.count("config_diff_generated") == 2
    assert {one["actor"] for one in everything["items"]} == {"system:recorder", "system:differ"}

    pages = [await filled.get(path, page=page, per_page=4) for page in (1, 2, 3)]
    assert [one for page in pages for one in page["items"]] == everything["items"]
    beyond = await filled.get(path, before=pages[0]["next_before"], per_page=4)
    assert beyond["items"] == pages[1]["items"]

    created = await filled.get(path, action="config_snapshot_created")
    assert {one["action"] for one in created["items"]} == {"config_snapshot_created"}
    assert created["total"] == 3
    assert (await filled.get(path, actor="system:differ"))["total"] == 2
    assert (await filled.get(path, device_id="r1"))["total"] == everything["total"]
    assert (await filled.get(path, device_id="r2"))["total"] == 0
    late = (NOON + timedelta(hours=1)).isoformat()
    assert (await filled.get(path, date_from=late))["total"] == 4
    assert (await filled.get(path, date_to=late))["total"] == 2
    assert (await filled.get("/api/tenants/other/audit-logs"))["total"] == 0

    for how in ({"params": {"format": "csv"}}, {"headers": {"Accept": "text/csv"}}):
        answer = await filled.http.get(path, **how)  # type: ignore[arg-type]
        assert answer.headers["content-type"].startswith("text/csv")
        assert "attachment" in answer.headers["content-disposition"]
        rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
        assert [row["id"] for row in rows] == [one["id"] for one in everything["items"]]
        assert json.loads(rows[0]["details"]) == everything["items"][0]["details"]


async def test_dead_letters_tell_the_reason_and_not_the_message(filled: Api) -> None:
    letters = await filled.get("/api/dead-letters")
    assert letters["total"] == 1
    [letter] = letters["items"]
    assert (letter["origin"], letter["subject"]) == ("intake", CREATE)
    assert letter["rule"]
    assert "original" not in letter
    assert (await filled.get("/api/dead-letters", before=letter["sequence"]))["items"] == []


BAD = [
    ("/api/tenants/a%20b/devices", 422, "invalid_input", "tenant_id"),
    ("/api/tenants/nobody/devices", 404, "not_found", None),
    ("/api/tenants/other/devices/r1/snapshots", 404, "not_found", None),
    (f"{HOME}/r9", 404, "not_found", None),
    (f"{HOME}/r9/snapshots", 404, "not_found", None),
    (f"{HOME}/r9/config-history", 404, "not_found", None),
    (f"{HOME}/r9/validity", 404, "not_found", None),
    (f"{HOME}/r9/config/00000000-0000-0000-0000-000000000000", 404, "not_found", None),
    (f"{HOME}/r1/config/00000000-0000-0000-0000-000000000000", 404, "not_found", None),
    (f"{HOME}/r1/config/00000000-0000-0000-0000-000000000000/diff", 404, "not_found", None),
    (f"{HOME}/r1/config/latest", 422, "invalid_input", "snapshot_id"),
    (f"{HOME}/r1%0A/snapshots", 404, "not_found", None),
    (f"{HOME}/{'x' * 129}/snapshots", 422, "invalid_input", "device_id"),
    (f"{HOME}?limit=0", 422, "invalid_input", "limit"),
    (f"{HOME}?limit=501", 422, "invalid_input", "limit"),
    (f"{HOME}?offset=-1", 422, "invalid_input", "offset"),
    (f"{HOME}?offset=many", 422, "invalid_input", "offset"),
    (f"{HOME}?not_seen_since=yesterday", 422, "invalid_input", "not_seen_since"),
    (f"{HOME}/r1/config/at", 422, "invalid_input", "time"),
    (f"{HOME}/r1/config/at?time=2026-03-01T12:00:00", 422, "invalid_input", "time"),
    (f"{HOME}/r1/config/at?time=2026-03-01T12:00:00+01:00", 422, "invalid_input", "time"),
    (f"{HOME}/r1/config/at?time=0001-01-01T00:00:00%2B14:00", 422, "invalid_input", "time"),
    (f"{HOME}/r1/config/compare?from=x&to=y", 422, "invalid_input", "from"),
    (f"{HOME}/r1/config/compare?to=y", 422, "invalid_input", "from"),
    ("/api/tenants/acme/audit-logs?page=0", 422, "invalid_input", "page"),
    ("/api/tenants/acme/audit-logs?page=2&before=1", 422, "invalid_input", "page"),
    ("/api/tenants/acme/audit-logs?before=999999", 422, "invalid_input", "before"),
    ("/api/tenants/acme/audit-logs?actor=%00", 422, "invalid_input", "actor"),
    ("/api/tenants/acme/audit-logs?format=xml", 422, "invalid_input", "format"),
    (
        "/api/tenants/acme/audit-logs?date_from=2026-03-02T00:00Z&date_to=2026-03-01T00:00Z",
        422,
        "invalid_input",
        "date_to",
    ),
    ("/api/tenants/acme/audit-logs?date_from=2026-02-30", 422, "invalid_input", "date_from"),
    ("/api/tenants/acme/changes?date_from=2026-03-02T00:00", 422, "invalid_input", "date_from"),
    (f"{HOME}?cursor=made-up", 400, "invalid_cursor", "cursor"),
    (f"{HOME}/r1/snapshots?cursor=AAAA&offset=1", 422, "invalid_input", "offset"),
    ("/api/dead-letters?before=0", 422, "invalid_input", "before"),
    ("/api/nothing", 404, "not_found", None),
    ("/", 404, "not_found", None),
    (f"{HOME}?page=2", 422, "invalid_input", "page"),
    (f"{HOME}/r1?redact=true", 422, "invalid_input", "redact"),
    ("/api/tenants/acme/audit-logs?action=logins", 422, "invalid_input", "action"),
]


async def test_bad_requests_say_what_is_wrong(filled: Api) -> None:
    for path, status, code, field in BAD:
        answer = await filled.http.get(path)
        assert (path, answer.status_code) == (path, status)
        problem = answer.json()
        assert (path, problem["code"], problem.get("field")) == (path, code, field)
        assert problem["detail"]
        if field is not None:
            assert field in problem["detail"]
        assert CANARY not in str(problem)


async def test_a_device_id_may_hold_any_printable_character(api: Api) -> None:
    device = "site/a b:ü=?#%.*>/config"
    quoted = quote(device, safe="")
    await api.system.intake.publish("acme", device, TEXTS[0], NOON)
    await api.settled()
    [snapshot] = (await api.get(f"{HOME}/{quoted}/snapshots"))["items"]
    assert (await api.get(f"{HOME}/{quoted}"))["device_id"] == device
    found = await api.get(f"{HOME}/{quoted}/config/{snapshot['id']}")
    assert found["config_text"].count("\n") == TEXTS[0].count("\n")
    audit = await api.get("/api/tenants/acme/audit-logs", device_id=device)
    assert audit["total"] == 1


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


async def test_requests_from_other_sites_and_to_other_names_are_refused(api: Api) -> None:
    path = f"{HOME}/r1/config-snapshot/trigger"
    host = api.address.removeprefix("http://")
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = await api.http.post(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")
    for name in ("evil.example", f"evil.example:{host.rpartition(':')[2]}", "", "[", "127.0.0.1.x"):
        answer = await api.http.get("/healthz", headers={"Host": name})
        assert (answer.status_code, answer.json()["code"]) == (421, "unknown_host")
    for name in ("localhost", "LOCALHOST:80", "[::1]:8480", "127.0.0.1"):
        assert (await api.http.get("/healthz", headers={"Host": name})).status_code == 200
    own = await api.http.post(path, headers={"Origin": f"http://{host}"})
    assert own.status_code == 502


async def test_every_answer_has_the_requests_id(api: Api) -> None:
    given = await api.http.get("/healthz", headers={"X-Request-ID": "deploy-42"})
    assert given.headers["x-request-id"] == "deploy-42"
    for bad in ("two words", "x" * 65, "<script>", ""):
        answer = await api.http.get("/api/nothing", headers={"X-Request-ID": bad})
        assert answer.headers["x-request-id"] != bad
        assert len(answer.headers["x-request-id"]) == 32


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


async def test_no_configuration_gets_into_logs_metrics_or_errors(
    filled: Api, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        first, second, _ = await snapshot_ids(filled)
        assert CANARY in str(await filled.get(f"{HOME}/r1/config/{first}", reveal="true"))
        await filled.get(f"{HOME}/r1/config/{second}/diff")
        for path, status, _, _ in BAD:
            assert (await filled.http.get(path)).status_code == status
    assert CANARY not in caplog.text
    assert CANARY not in (await filled.http.get("/metrics")).text
    assert CANARY not in str(await filled.get("/api/tenants/acme/audit-logs"))
    assert CANARY not in str(await filled.get(f"{HOME}/r1/config-history"))
    for text in TEXTS:
        digest = hashlib.sha256(text.encode()).hexdigest()
        assert digest not in str(await filled.get("/api/tenants/acme/audit-logs"))
        assert digest not in str(await filled.get(f"{HOME}/r1/snapshots"))


async def test_a_text_of_several_megabytes_is_served_and_compared(api: Api) -> None:
    lines = [f"add address=10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in range(120_000)]
    before = "/ip firewall address-list\n" + "\n".join(lines) + "\n"
    after = before.replace("add address=10.0.1.1\n", "")
    for hours, text in enumerate((before, after)):
        await api.system.intake.publish("acme", "big", text, NOON + timedelta(hours=hours))
    await api.settled()
    listed = (await api.get(f"{HOME}/big/snapshots"))["items"]
    second, first = (one["id"] for one in listed)
    assert (await api.get(f"{HOME}/big/config/{second}"))["config_text"] == after
    back = await api.get(f"{HOME}/big/config/compare", params={"from": second, "to": first})
    assert (back["lines_added"], back["lines_removed"], back["recorded"]) == (1, 0, False)


async def test_a_taken_port_is_said_plainly(api: Api) -> None:
    port = int(api.address.rpartition(":")[2])
    with pytest.raises(InvalidInput, match="choose another one"):
        await serve(create_app(api.system), "127.0.0.1", port)


async def test_served_to_others_it_warns_that_there_is_no_tls(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    started = asyncio.Event()
    server = asyncio.create_task(
        serve(create_app(api.system), "0.0.0.0", 0, started=lambda _: started.set())
    )
    await started.wait()
    server.cancel()
    await asyncio.wait([server])
    assert "WITHOUT TLS" in caplog.text
