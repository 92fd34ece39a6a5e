"""The forms in which answers come: JSON, lines, tables, files; and what breaks off in them."""

from __future__ import annotations

import csv
import io
import json
from contextlib import aclosing

import httpx
import pytest

from adapters.http import audit
from projections.audit import EVERYTHING
from tests.reading import LISTINGS, ageless, four_devices
from tests.serving import CANARY, HOME, TEXTS, Api


@pytest.fixture
async def api(api: Api) -> Api:
    await four_devices(api)
    return api


async def test_an_export_holds_nothing_while_nobody_takes_it(api: Api) -> None:
    everything = audit.everything(api.system, "acme", EVERYTHING, "text/csv")
    async with aclosing(everything) as pieces:
        await anext(pieces)
        await anext(pieces)
        assert api.system.rows.readers.get_idle_size() == api.system.rows.readers.get_size()


async def test_listings_come_in_three_forms_and_in_no_other(api: Api) -> None:
    for path, key in LISTINGS:
        body = (await api.http.get(path)).json()
        items = body[key] if key else body
        if "audit-logs" in path:
            items = (await api.get("/api/tenants/acme/audit-logs"))["items"]
        lines = await api.http.get(path, headers={"Accept": "application/x-ndjson"})
        assert lines.headers["content-type"].startswith("application/x-ndjson")
        assert ageless([json.loads(line) for line in lines.text.splitlines()]) == ageless(items)
        table = await api.http.get(path, headers={"Accept": "text/csv, application/json;q=0.5"})
        assert table.headers["content-type"].startswith("text/csv")
        assert table.headers["content-disposition"].startswith("attachment; filename=")
        rows = list(csv.DictReader(io.StringIO(table.text, newline="")))
        assert len(rows) == len(items)
        flags = [row[name] for row in rows for name in ("late", "is_current") if name in row]
        assert {*flags} <= {"true", "false"}
        assert not any(value.startswith(("=", "+", "@")) for row in rows for value in row.values())
        refused = await api.http.get(path, headers={"Accept": "image/png, text/csv;q=0"})
        assert (refused.status_code, refused.json()["code"]) == (406, "not_acceptable")
        liked = {"Accept": "text/html, */*;q=0.1"}
        chosen = await api.http.get(path, headers=liked)
        assert chosen.headers["content-type"] == "application/json"


async def test_a_configuration_is_a_file_with_a_name_that_no_shell_minds(api: Api) -> None:
    snapshot = (await api.get(f"{HOME}/site%2F%C3%BC/snapshots"))["items"][0]["id"]
    path = f"{HOME}/site%2F%C3%BC/config/{snapshot}"
    for answer in (
        await api.http.get(f"{path}?reveal=true", headers={"Accept": "text/plain"}),
        await api.http.get(f"{path}/download?reveal=true"),
    ):
        assert answer.text == TEXTS[0]
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert (
            answer.headers["content-disposition"]
            == 'attachment; filename="router-site-2026-03-01T120000Z.rsc"'
        )
    redacted = await api.http.get(f"{path}/download")
    assert redacted.status_code == 200
    assert CANARY not in redacted.text
    assert (await api.http.get(path, headers={"Accept": "text/csv"})).status_code == 406


async def test_a_difference_as_text_in_words_and_across_devices(api: Api) -> None:
    first, second, third = [
        one["id"] for one in reversed((await api.get(f"{HOME}/r1/snapshots"))["items"])
    ]
    path = f"{HOME}/r1/config/{second}/diff"
    unified = await api.http.get(path, headers={"Accept": "text/x-diff"})
    assert "\n+add address=192.0.2.2/24 interface=ether1\n" in unified.text
    words = await api.http.get(path, headers={"Accept": "text/plain"})
    assert words.text.splitlines()[1] == "ip address: '192.0.2.2/24' added on ether1"
    other = (await api.get(f"{HOME}/r2/snapshots"))["items"][0]["id"]
    across: dict[str, str] = {"from_device": "r1", "from": third, "to_device": "r2", "to": other}
    told = await api.get("/api/tenants/acme/compare", params=across)
    assert (told["old_device_id"], told["new_device_id"]) == ("r1", "r2")
    assert "-set name=r2" in told["diff_text"]
    same = await api.get(
        "/api/tenants/acme/compare", params={**across, "to_device": "r1", "to": first}
    )
    assert same["new_device_id"] == "r1"
    missing = await api.problem(
        "/api/tenants/acme/compare", 404, params={**across, "to_device": "r1", "to": other}
    )
    assert missing["code"] == "not_found"
    # The password is the same on both, and redacted nobody sees that.
    redacted = await api.get("/api/tenants/acme/compare", params=across)
    assert CANARY not in str(redacted)
    assert any(one["section"] == "/ppp secret" for one in redacted["changes"])


UNREADABLE = (
    "occurred_at = '0044-03-15 BC'",
    "stored_at = '0044-03-15 BC'",
    "stored_at = '12000-01-01'",
    "details = 'no JSON'",
    "details = '[]'",
)


async def taken(answer: httpx.Response, into: bytearray) -> None:
    async for piece in answer.aiter_raw():
        into += piece


async def test_a_row_of_the_audit_trail_that_somebody_edited_is_named(api: Api) -> None:
    pool = api.system.pool
    path = "/api/tenants/acme/audit-logs"
    await pool.execute("CREATE TABLE configtrail.kept AS TABLE configtrail.audit")
    for edit in UNREADABLE:
        await pool.execute(f"UPDATE configtrail.audit SET {edit} WHERE position = 3")
        found = await api.problem(path, 500)
        assert found["code"] == "row_unreadable"
        assert "position 3 " in found["detail"]
        for form in ("ndjson", "csv"):
            got = bytearray()
            async with api.http.stream("GET", path, params={"format": form}) as answer:
                with pytest.raises(httpx.RemoteProtocolError):
                    await taken(answer, got)
            assert b"position 3 " in got.splitlines()[-1]
        assert (await api.get(path, from_position=4))["items"]
        await pool.execute(
            "UPDATE configtrail.audit a SET occurred_at = k.occurred_at, stored_at = k.stored_at,"
            " details = k.details FROM configtrail.kept k WHERE a.position = 3 AND k.position = 3"
        )
    await pool.execute("UPDATE configtrail.audit SET occurred_at = 'infinity' WHERE position = 3")
    assert (await api.http.get(path)).status_code == 200
