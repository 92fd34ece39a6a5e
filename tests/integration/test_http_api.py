"""The API over a real socket, on the whole program: what was sent to the intake comes out again."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from datetime import datetime, timedelta
from urllib.parse import quote

from adapters.jetstream.intake import CREATE
from tests.serving import (
    CANARY,
    HOME,
    NOON,
    TEXTS,
    Api,
    snapshot_ids,
)


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
    # Of the last day that there is the end is the end of all.
    for last in ("9999-12-31", "9999-12-31T23:59:59.999999Z"):
        assert (await filled.get(path, date_to=last)) == everything
        for one in ("changes", "audit-logs"):
            whole = await filled.get(f"/api/tenants/acme/{one}")
            assert await filled.get(f"/api/tenants/acme/{one}", date_to=last) == whole
    assert (await filled.get(path, date_from="9999-12-31"))["total"] == 0
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
