"""Searching configurations over HTTP, and what is parked or was refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.embedded.nats import EmbeddedNats
from tests.serving import (
    CANARY,
    NOON,
    TEXTS,
    Api,
    export,
    program,
    settings_for,
)

SEARCH = "/api/tenants/acme/search"


@pytest.fixture
async def api(nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Router r1 with three configurations; twelve others, and one of another tenant."""
    async with program(settings_for(nats_server, postgres_dsn, tmp_path)) as running:
        publish = running.system.intake.publish
        for hours, text in enumerate(TEXTS):
            await publish("acme", "r1", text, NOON + timedelta(hours=hours))
        for number in range(12):
            await publish("acme", f"s{number:02d}", export("s", f"198.51.100.{number}"), NOON)
        await publish("other", "x1", TEXTS[0], NOON)
        await running.settled()
        yield running


async def test_a_text_is_found_in_what_holds_now_and_in_what_held(api: Api) -> None:
    now = await api.get(SEARCH, q="ADDRESS=192.0.2.")
    [match] = now["items"]
    assert (match["device_id"], match["is_current"], match["matching"]) == ("r1", True, 1)
    [line] = match["lines"]
    assert line["text"] == "add address=192.0.2.2/24 interface=ether1"
    assert TEXTS[2].splitlines()[line["number"] - 1] == line["text"]
    assert (now["searched"], now["unreadable"], now["next_cursor"]) == (13, 0, None)
    assert (await api.get(SEARCH, q="ADDRESS=192.0.2.", match_case=True))["items"] == []
    past = await api.get(SEARCH, q="address=192.0.2.", past=True)
    assert [one["is_current"] for one in past["items"]] == [False, False, True]
    assert past["searched"] == 15
    pattern = await api.get(SEARCH, q=r"^set name=r[12]$", pattern=True, past=True)
    assert len(pattern["items"]) == 3
    assert len((await api.get(SEARCH, q="198.51.100.", device_id="s03"))["items"]) == 1
    assert (await api.get("/api/tenants/nobody/search", q="address"))["items"] == []


async def test_a_search_goes_on_by_its_cursor(api: Api) -> None:
    whole = (await api.get(SEARCH, q="address=", past=True))["items"]
    parted, cursor = [], None
    while True:
        more: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
        page = await api.get(SEARCH, q="address=", past=True, limit=4, **more)
        parted += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert (parted, len(whole)) == (whole, 15)


async def test_no_secret_can_be_found_out_by_asking_for_it(api: Api) -> None:
    for probe in (CANARY, CANARY[:8], f"password={CANARY[:4]}"):
        assert (await api.get(SEARCH, q=probe, past=True))["items"] == []
    hashed = await api.get(SEARCH, q="password=", past=True)
    assert len(hashed["items"]) == 15
    assert CANARY not in str(hashed)


async def test_patterns_without_end_are_refused_or_cost_nothing(api: Api) -> None:
    for q in ("(", "a{1000}{1000}", r"(a)\1", "(?=a)", " ", "x" * 201, "a\nb"):
        problem = await api.problem(SEARCH, 422, q=q, pattern=True)
        assert problem["field"] == "q"
    found = await api.get(SEARCH, q="(a|a|a|aa)+(a|a|aa)+$", pattern=True)
    assert found["searched"] == 13


async def test_a_dead_letter_is_sent_again(api: Api) -> None:
    await api.system.intake.publish_raw("config.snapshot.create", b"{")
    await api.settled()
    [letter] = (await api.get("/api/dead-letters"))["items"]
    assert await api.get(f"/api/dead-letters/{letter['sequence']}") == letter
    sent = await api.http.post(f"/api/dead-letters/{letter['sequence']}/retry")
    assert sent.json()["intake_sequence"] > 0
    assert (await api.problem(f"/api/dead-letters/{letter['sequence']}", 404))["code"]
    await api.settled()
    assert len((await api.get("/api/dead-letters"))["items"]) == 1  # it is still none


async def test_what_is_parked_is_listed_and_skipped(api: Api) -> None:
    assert (await api.get("/api/parked"))["items"] == []
    pool = api.system.pool
    position = await api.system.events.head()
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
