"""What could not be taken in, over HTTP: dead letters and parked events, listed and tried again."""

from __future__ import annotations

import json
from datetime import timedelta

from adapters.jetstream.intake import CREATE
from tests.serving import NOON, TEXTS, Api


async def test_a_dead_letter_is_sent_again(api: Api) -> None:
    await api.system.intake.publish_raw(CREATE, b"{")
    await api.settled()
    [letter] = (await api.get("/api/dead-letters"))["items"]
    assert await api.get(f"/api/dead-letters/{letter['sequence']}") == letter
    sent = await api.http.post(f"/api/dead-letters/{letter['sequence']}/retry")
    assert sent.json()["intake_sequence"] > 0
    assert (await api.problem(f"/api/dead-letters/{letter['sequence']}", 404))["code"]
    await api.settled()
    assert len((await api.get("/api/dead-letters"))["items"]) == 1  # it is still none


async def test_a_tenant_retries_its_own_letters_and_knows_of_no_others(api: Api) -> None:
    told = {"device_id": "r1", "config_text": "", "collected_at": NOON.isoformat()}
    for tenant in ("acme", "other"):
        body = json.dumps({**told, "tenant_id": tenant, "sha256_hash": "0"})
        await api.system.intake.publish_raw(CREATE, body.encode())
    await api.settled()
    whose = {
        one["tenant_id"]: one["sequence"] for one in (await api.get("/api/dead-letters"))["items"]
    }
    home = "/api/tenants/acme/dead-letters"
    mine, others = f"{home}/{whose['acme']}", f"{home}/{whose['other']}"
    assert (await api.get(mine))["tenant_id"] == "acme"
    foreign = await api.problem(others, 404)
    unknown = await api.problem(f"{home}/999", 404)
    assert foreign["detail"].replace(str(whose["other"]), "999") == unknown["detail"]
    assert (await api.http.post(f"{others}/retry")).status_code == 404
    assert (await api.http.post(f"{mine}/retry")).json()["intake_sequence"] > 0
    await api.settled()
    left = {one["sequence"] for one in (await api.get("/api/dead-letters"))["items"]}
    assert whose["other"] in left
    assert whose["acme"] not in left


async def test_dead_letters_come_in_pages_of_ones_own(api: Api) -> None:
    told = {"device_id": "r1", "config_text": "", "collected_at": NOON.isoformat()}
    for number in range(7):
        tenant = "acme" if number % 2 else "other"
        body = json.dumps({**told, "tenant_id": tenant, "sha256_hash": f"{number}"})
        await api.system.intake.publish_raw(CREATE, body.encode())
    await api.settled()
    for path, total in (("/api/dead-letters", 7), ("/api/tenants/acme/dead-letters", 3)):
        whole = await api.get(path)
        assert (whole["total"], whole["next_cursor"], whole["next_before"]) == (total, None, None)
        letters = whole["items"]
        assert [one["sequence"] for one in letters] == sorted(
            (one["sequence"] for one in letters), reverse=True
        )
        seen, address = [], f"{path}?limit=2"
        while address:
            answer = await api.http.get(address)
            seen += answer.json()["items"]
            following = answer.json()["next_cursor"]
            assert ("link" in answer.headers) == bool(following)
            address = f"{path}?limit=2&cursor={following}" if following else ""
            # One that comes meanwhile does not move the pages.
            await api.system.intake.publish_raw(CREATE, f"{{{len(seen)}".encode())
            await api.settled()
        assert seen == letters
        newer = await api.get("/api/dead-letters", limit=100)
        for one in newer["items"][: newer["total"] - 7]:
            await api.system.dead_letters.settle(one["sequence"])
    foreign = (await api.get("/api/dead-letters", limit=1))["next_cursor"]
    mixed = await api.problem("/api/tenants/acme/dead-letters", 400, cursor=foreign)
    assert mixed["code"] == "invalid_cursor"
    both = await api.problem("/api/dead-letters", 422, cursor=foreign, before=3)
    assert both["field"] == "before"
    table = await api.http.get("/api/dead-letters", headers={"Accept": "text/csv"})
    assert len(table.text.splitlines()) == 8


async def test_what_is_parked_is_listed_and_skipped(api: Api) -> None:
    assert (await api.get("/api/parked"))["items"] == []
    pool = api.system.pool
    await api.system.intake.publish("acme", "r1", TEXTS[0], NOON)
    position = await api.settled()
    event = await api.system.source.at(position)
    await pool.execute(
        "INSERT INTO configtrail.parked (projection, position, tenant_id, device_id, event_id,"
        " type_name, error) VALUES ('audit', $1, $2, $3, $4, 'SnapshotCreated', 'made up')",
        position,
        event.tenant_id,
        event.device_id,
        event.event_id,
    )
    [parked] = (await api.get("/api/parked", projection="audit"))["items"]
    assert (parked["position"], parked["error"]) == (position, "made up")
    assert (await api.get("/api/parked", projection="diffs"))["items"] == []
    path = f"/api/parked/audit/{position}"
    unknown = await api.http.post(f"/api/parked/nothing/{position}/retry")
    assert unknown.status_code == 404
    assert (await api.http.post(f"/api/parked/audit/{position + 1}/skip")).status_code == 404
    skipped = await api.http.post(f"{path}/skip", json={"reason": "written by a broken tool"})
    assert skipped.json()["left"] == 0
    assert (await api.get("/api/parked"))["items"] == []
    await api.settled()
    tenant = event.tenant_id
    trail = await api.get(f"/api/tenants/{tenant}/audit-logs", action="config_event_skipped")
    assert trail["total"] == 1


async def test_what_is_parked_is_tried_again(api: Api) -> None:
    """Of a device with two events that its read model lacks: the first is retried, and with it the
    one that waits."""
    publish = api.system.intake.publish
    for hours, text in enumerate(TEXTS[:2]):
        await publish("acme", "r7", text, NOON + timedelta(hours=hours))
    await api.settled()
    pool = api.system.pool
    rows = await pool.fetch(
        "DELETE FROM configtrail.audit WHERE device_id = 'r7' RETURNING position, event_id"
    )
    places = sorted(row["position"] for row in rows)
    for row in rows:
        error = "made up" if row["position"] == places[0] else None
        await pool.execute(
            "INSERT INTO configtrail.parked (projection, position, tenant_id, device_id, event_id,"
            " type_name, error) VALUES ('audit', $1, 'acme', 'r7', $2, 'SnapshotCreated', $3)",
            row["position"],
            row["event_id"],
            error,
        )
    assert len((await api.get("/api/parked", waiting=True))["items"]) == len(places) > 1
    done = await api.http.post(f"/api/parked/audit/{places[0]}/retry")
    assert (done.status_code, done.json()) == (200, {"done": len(places), "left": 0})
    trail = await api.get("/api/tenants/acme/audit-logs", device_id="r7")
    assert sorted(one["position"] for one in trail["items"]) == places
    again = await api.http.post(f"/api/parked/audit/{places[0]}/retry")
    assert (again.status_code, again.json()["code"]) == (404, "not_found")
    bad = await api.http.post(f"/api/parked/audit/{places[0]}/skip", json={"reason": "a\nb"})
    assert (bad.status_code, bad.json()["field"]) == (422, "reason")
