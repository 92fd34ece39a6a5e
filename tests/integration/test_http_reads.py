"""Reading over HTTP: pages, forms, times, and what a caller has already; on the whole program."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.cli import listings
from adapters.embedded.nats import EmbeddedNats
from adapters.http import audit
from projections.audit import EVERYTHING
from tests.serving import (
    CANARY,
    HOME,
    NOON,
    TEXTS,
    Api,
    export,
    program,
    settings_for,
)

DEVICES = ("=cmd", "r1", "r2", "site/ü")
LISTINGS = (
    (HOME, "items"),
    (f"{HOME}/r1/snapshots", "items"),
    (f"{HOME}/r1/validity", None),
    (f"{HOME}/r1/config-history", None),
    ("/api/tenants/acme/fleet", None),
    ("/api/tenants/acme/changes", "items"),
    ("/api/tenants/acme/changes?section=/ip%20address", "items"),
    ("/api/tenants/acme/changes?section=/ip/address", "items"),
    ("/api/tenants/acme/audit-logs?per_page=2", "items"),
)


@pytest.fixture
async def api(nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Four devices, r1 with three configurations an hour apart."""
    async with program(settings_for(nats_server, postgres_dsn, tmp_path)) as running:
        for hours, text in enumerate(TEXTS):
            await running.system.intake.publish("acme", "r1", text, NOON + timedelta(hours=hours))
        for device in DEVICES:
            if device != "r1":
                await running.system.intake.publish("acme", device, TEXTS[0], NOON)
        await running.settled()
        yield running


async def test_answers_fit_their_description(api: Api) -> None:
    """They are encoded from structs without a check: each field is of its declared type."""
    described = (await api.http.get("/api/openapi.json")).json()
    newest = (await api.http.get(f"{HOME}/r1/snapshots")).json()["items"][0]["id"]
    checked = 0
    for path, methods in described["paths"].items():
        answers = methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        address = path.replace("{tenant}", "acme").replace("{device}", "r1")
        address = address.replace("{snapshot_id}", newest)
        if "application/json" not in answers or "{" in address or address.endswith("/search"):
            continue
        if address.endswith(("/at", "/compare")):
            continue  # the same bodies, for parameters of their own
        answer = await api.http.get(address)
        if answer.status_code == 404:
            continue  # of what there is none
        assert answer.status_code == 200, f"{address}: {answer.text}"
        schema = {**answers["application/json"]["schema"], "components": described["components"]}
        jsonschema.Draft202012Validator(
            schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
        ).validate(answer.json())
        checked += 1
    assert checked >= 15


def with_query(path: str, **more: Any) -> httpx.URL:
    """The path with more parameters than it has."""
    return httpx.URL(path).copy_merge_params(more)


def ageless(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what depends on the clock."""
    return [{name: one[name] for name in one if name != "age_seconds"} for one in items]


async def pages(api: Api, path: str, key: str | None, limit: int) -> list[list[Any]]:
    """All pages, by the link in each to the next one."""
    found = []
    link: str | None = path
    paged = "per_page" not in path
    first = True
    while link is not None:
        answer = await api.http.get(with_query(link, limit=limit) if first and paged else link)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found.append(body[key] if key else body)
        link = answer.links["next"]["url"] if "next" in answer.links else None
        first = False
    return found


async def test_every_listing_goes_on_by_a_cursor_without_missing_or_doubling(api: Api) -> None:
    for path, key in LISTINGS:
        [whole] = await pages(api, path.replace("per_page=2", "per_page=100"), key, 100)
        parted = await pages(api, path, key, 2)
        assert ageless([one for page in parted for one in page]) == ageless(whole), path
        assert len(parted) > 1 or len(whole) <= 2, path


async def test_a_run_that_begins_earlier_meanwhile_is_neither_doubled_nor_endless(api: Api) -> None:
    days = [NOON + timedelta(days=day) for day in (1, 3, 5)]
    for moment, text in zip(days, TEXTS, strict=True):
        await api.system.intake.publish("acme", "r9", text, moment)
    await api.settled()
    first = {}
    for name in ("config-history", "validity"):
        answer = await api.http.get(with_query(f"{HOME}/r9/{name}", limit=2))
        first[name] = answer.links["next"]["url"]
    await api.system.intake.publish("acme", "r9", TEXTS[1], days[1] - timedelta(hours=12))
    await api.settled()
    began = (days[1] - timedelta(hours=12)).isoformat().replace("+00:00", "Z")

    [change] = (await api.http.get(first["config-history"])).json()
    assert change["old_snapshot_id"] is None
    assert change["valid_until"] == began
    [held] = (await api.http.get(first["validity"])).json()
    assert held["confirmed_until"] == days[0].isoformat().replace("+00:00", "Z")
    assert held["valid_until"] == began


async def test_pages_go_on_whatever_stands_in_an_id(api: Api) -> None:
    device = "site/a b?c#d\\e%f%2Fg;h"
    for hours, text in enumerate(TEXTS):
        await api.system.intake.publish("acme", device, text, NOON + timedelta(hours=hours))
    await api.settled()
    parted = await pages(api, f"{HOME}/{quote(device, safe='')}/snapshots", "items", 1)
    assert [[one["device_id"] for one in page] for page in parted] == [[device]] * 3


async def test_pages_go_on_for_a_client_that_tidies_up_addresses(api: Api) -> None:
    """As most do, which leave out `..` and what is before it."""
    named = ("../z", "./z", "z/..", "z/../../y", "/", "...", "a/config", "a//b", "ü/日本", "a%b")
    steps = (".", "..")
    for device in (*named, *steps):
        for hours, text in enumerate(TEXTS):
            await api.system.intake.publish("acme", device, text, NOON + timedelta(hours=hours))
    await api.settled()
    for device in (*named, *steps):
        part = quote(device, safe="") if device in named else device.replace(".", "%2E")
        path = f"{HOME}/{part}/snapshots"
        parted = await pages(api, path, "items", 1)
        assert [[one["device_id"] for one in page] for page in parted] == [[device]] * 3
        link = (await api.http.get(f"{path}?limit=1")).links["next"]["url"]
        assert link.startswith(f"{path}?")
        assert urljoin(HOME, link) == link
    # Slashes may be asked for in plain, but are not answered so.
    answer = await api.http.get(f"{HOME}/a/config/config-history?limit=1")
    assert answer.links["next"]["url"].startswith(f"{HOME}/a%2Fconfig/config-history?")


async def test_a_head_is_an_answer_without_its_body(api: Api) -> None:
    paths = [HOME, f"{HOME}/r1", f"{HOME}/r9", "/healthz", "/api/tenants/acme/audit-logs"]
    for path in (*paths, "/api/tenants/acme/audit-logs?format=csv", "/api/tenants/acme/events"):
        head = await api.http.head(path)
        assert head.content == b""
        if path in paths:
            whole = await api.http.get(path)
            varying = ("date", "x-request-id")
            told = [
                {name: one.headers[name] for name in one.headers if name not in varying}
                for one in (head, whole)
            ]
            assert (head.status_code, told[0]) == (whole.status_code, told[1])
        else:
            assert head.status_code == 200
    assert api.system.live.listeners == 0


async def test_an_export_holds_nothing_while_nobody_takes_it(api: Api) -> None:
    everything = audit.everything(api.system, "acme", EVERYTHING, "text/csv")
    async with aclosing(everything) as pieces:
        await anext(pieces)
        await anext(pieces)
        assert api.system.rows.readers.get_idle_size() == api.system.rows.readers.get_size()


async def test_a_cursor_holds_for_its_listing_and_its_filters_only(api: Api) -> None:
    given_one = (await api.get(HOME, limit=1))["next_cursor"]
    assert (await api.get(HOME, cursor=given_one))["items"]
    for path in (
        f"{HOME}?search=r",
        f"{HOME}/r1/snapshots?limit=1",
        "/api/tenants/other/devices?limit=1",
        "/api/tenants/acme/audit-logs?per_page=1",
    ):
        answer = await api.http.get(with_query(path, cursor=given_one))
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")
    for place in range(0, len(given_one), 3):
        other = "A" if given_one[place] != "A" else "B"
        altered = given_one[:place] + other + given_one[place + 1 :]
        assert (await api.problem(HOME, 400, cursor=altered))["code"] == "invalid_cursor"


async def test_what_the_caller_has_is_not_sent_again(api: Api) -> None:
    snapshot = (await api.get(f"{HOME}/r1/snapshots"))["items"][0]["id"]
    for path in (
        HOME,
        f"{HOME}/r1",
        f"{HOME}/r1/snapshots",
        f"{HOME}/r1/config/{snapshot}",
        f"{HOME}/r1/config/{snapshot}/diff",
        "/api/tenants/acme/changes",
        "/api/tenants/acme/fleet",
        "/api/tenants/acme/statistics",
        "/api/tenants/acme/audit-logs",
    ):
        # How old a backup is, is told as of a minute's begin: asked again within the same one.
        minute = -1
        while minute != _minute():
            minute = _minute()
            first = await api.http.get(path)
            mark = first.headers["etag"]
            told = [
                (mark, await api.http.get(path, headers={"If-None-Match": same}))
                for same in (mark, f'W/{mark}, "other"', "*")
            ]
            other = await api.http.get(path, headers={"If-None-Match": '"other"'})
        for mark, again in told:
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", mark)
            assert again.headers["configtrail-position"]
        assert (other.status_code, other.content) == (200, first.content)


def _minute() -> int:
    return int(datetime.now(UTC).timestamp()) // 60


async def test_a_slash_in_an_id_is_none_between_parts_of_an_address(api: Api) -> None:
    """Whatever a device is called: it is not taken for something of another device."""
    named = ("r1/snapshots", "r1/config/at", "r1/config", "snapshots", "fleet/r1/validity", "a//b")
    for device in named:
        await api.system.intake.publish("acme", device, export("odd", "192.0.2.9"), NOON)
    head = await api.settled()
    for device in named:
        for slash in ("%2F", "%2f"):
            path = f"{HOME}/{device.replace('/', slash)}"
            assert (await api.get(path, min_position=str(head)))["device_id"] == device
            [one] = (await api.get(f"{path}/snapshots"))["items"]
            assert one["device_id"] == device
            assert len(await api.get(f"{path}/validity")) == 1
            text = await api.get(f"{path}/config/{one['id']}")
            assert text["device_id"] == device
            at = await api.get(f"{path}/config/at", time="2026-03-02T00:00:00Z")
            assert at["id"] == one["id"]
    sent = await api.http.put(f"{HOME}/r1%2Fsnapshots/config", content=export("odd", "192.0.2.8"))
    assert (sent.status_code, sent.json()["device_id"]) == (201, "r1/snapshots")
    assert (await api.get(f"{HOME}/r1/snapshots"))["total"] == 3
    # The mark that stands for it within the program is no slash outside.
    await api.problem(f"{HOME}/r1%EF%B7%90snapshots", 422)
    await api.problem(f"{HOME}/r1%EF%B7%90a%2Fb", 422)


async def test_an_address_has_no_line_behind_it(api: Api) -> None:
    """To the patterns of routes the end of a line is an end too."""
    for path in (HOME, f"{HOME}/r1", f"{HOME}/r1/snapshots", "/api/tenants/acme/fleet"):
        assert (await api.problem(f"{path}%0A", 404))["code"] == "not_found"


async def test_times_are_read_as_they_are_written_or_not_at_all(api: Api) -> None:
    path = f"{HOME}/r1/config/at"
    for written in ("2026-03-01T12:30:00Z", "2026-03-01t12:30:00z", "2026-03-01T14:30:00+02:00"):
        assert (await api.get(path, time=written))["collected_at"] == "2026-03-01T12:00:00Z"
    for wrong in ("2026-03-01T12:30:00Z\x00", "2026-03-01T12:30:00Z\n", "2026-03-01T12:30:00"):
        assert (await api.problem(path, 422, time=wrong))["field"] == "time"


async def test_an_answer_says_up_to_where_it_holds(api: Api) -> None:
    head = await api.system.events.head()
    for path in (HOME, f"{HOME}/r1", "/api/tenants/acme/changes", "/api/tenants/acme/audit-logs"):
        answer = await api.http.get(path, params={"min_position": head})
        assert int(answer.headers["configtrail-position"]) >= head
    ahead = await api.problem(HOME, 422, min_position=head + 1)
    assert ahead["field"] == "min_position"
    csv_form = await api.http.get("/api/tenants/acme/audit-logs?format=csv")
    assert int(csv_form.headers["configtrail-position"]) >= head


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


async def test_the_feed_of_changes_by_device_section_risk_and_time(api: Api) -> None:
    feed = "/api/tenants/acme/changes"
    every = (await api.get(feed))["items"]
    assert len(every) == 6
    assert [one["created_at"] for one in every] == sorted(
        (one["created_at"] for one in every), reverse=True
    )
    assert {one["device_id"] for one in (await api.get(feed, device_id="r1"))["items"]} == {"r1"}
    history = await api.get(f"{HOME}/r1/config-history")
    own = (await api.get(feed, device_id="r1"))["items"]
    assert [{**one, "device_id": "r1"} for one in history] == own
    touched = (await api.get(feed, section="/ip"))["items"]
    assert [one["component"] for one in touched] == ["/ip address"]
    assert (await api.get(feed, section="/nothing"))["items"] == []
    assert (await api.get(feed, risk="input-chain"))["items"] == []
    assert (await api.get(feed, date_from="2026-03-02"))["items"] == []
    assert len((await api.get(feed, date_to="2026-03-01"))["items"]) == 6
    until = (NOON + timedelta(hours=1)).isoformat()
    assert len((await api.get(feed, date_to=until))["items"]) == 4
    risky = TEXTS[2] + "/ip firewall filter\nadd action=accept chain=input dst-port=8291\n"
    await api.system.intake.publish("acme", "r1", risky, NOON + timedelta(hours=9))
    await api.settled()
    [one] = (await api.get(feed, risk="input-chain"))["items"]
    assert (one["device_id"], one["component"]) == ("r1", "/ip firewall filter")
    assert (await api.get("/api/tenants/other/changes"))["items"] == []


async def test_rules_in_another_order_are_a_change_of_their_section(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    """No line is added or removed, so that the section has no lines counted."""
    filters = "/ip firewall filter"
    rules = [
        "add action=accept chain=input protocol=icmp\n",
        "add action=accept chain=input dst-port=22 protocol=tcp\n",
        "add action=drop chain=input\n",
    ]
    for hours, order in enumerate(([0, 1, 2], [1, 0, 2])):
        text = f"{filters}\n" + "".join(rules[n] for n in order)
        await api.system.intake.publish("acme", "wall", text, NOON + timedelta(hours=hours))
    await api.settled()
    for section in (filters, "/ip", "/ip/firewall/filter"):
        [one] = (await api.get("/api/tenants/acme/changes", device_id="wall", section=section))[
            "items"
        ]
        assert (one["sections"], [each["kind"] for each in one["changes"]]) == ([], ["moved"])
        assert one["component"] == filters
        assert one["summary"] == f"+1 -1 lines in {filters}"
        [same] = await api.get(f"{HOME}/wall/config-history", section=section)
        assert {**same, "device_id": "wall"} == one
    of_acme = api.system.settings.model_copy(update={"tenant": "acme"})
    await listings.history(of_acme, device="wall", section=filters, limit=50, as_json=True)
    assert [one["id"] for one in json.loads(capsys.readouterr().out)] == [one["id"]]
    for elsewhere in ("/ip firewall nat", "/ip fire"):
        assert await api.get(f"{HOME}/wall/config-history", section=elsewhere) == []


async def test_statistics_count_days_and_stale_devices(api: Api) -> None:
    now = datetime.now(UTC)
    await api.system.intake.publish("acme", "r1", TEXTS[2], now)
    await api.system.intake.publish("acme", "r2", export("r2", "192.0.2.9"), now)
    await api.settled()
    found = await api.get("/api/tenants/acme/statistics", days=3)
    assert (found["devices"], found["snapshots"], found["confirmations"]) == (4, 7, 1)
    assert (found["stale"], found["failing"], len(found["days"])) == (2, 0, 3)
    days = {one["day"]: one for one in found["days"]}
    today = days[now.date().isoformat()]
    assert (today["backups"], today["changed"], today["unchanged"]) == (2, 1, 1)
    assert (await api.problem("/api/tenants/other/statistics", 404))["code"] == "not_found"


async def test_the_audit_trail_by_position(api: Api) -> None:
    path = "/api/tenants/acme/audit-logs"
    found = (await api.get(path, from_position=2, to_position=4))["items"]
    assert sorted(one["position"] for one in found) == [2, 3, 4]
    assert (await api.problem(path, 422, from_position=4, to_position=2))["field"] == "to_position"


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


async def test_whatever_is_asked_is_answered_or_refused_plainly(api: Api) -> None:
    anything = st.text(max_size=40) | st.sampled_from(
        [
            "2026-13-40",
            "9999-12-31",
            "0000-01-01",
            "2026-03-01T00:00:00+25:00",
            "1e400",
            "-1",
            "\x00",
        ]
    )
    names = st.sampled_from(
        [
            "cursor",
            "limit",
            "offset",
            "search",
            "section",
            "risk",
            "time",
            "from",
            "to",
            "device_id",
            "date_from",
            "date_to",
            "not_seen_since",
            "page",
            "before",
            "from_position",
            "min_position",
            "days",
            "stale_after",
            "from_device",
            "to_device",
        ]
    )
    places = st.sampled_from(
        [
            "{home}",
            "{home}/{any}",
            "{home}/{any}/snapshots",
            "{home}/r1/snapshots",
            "{home}/r1/validity",
            "{home}/r1/config-history",
            "{home}/r1/config/at",
            "{home}/r1/config/compare",
            "{home}/r1/config/{any}",
            "{home}/r1/config/{any}/diff",
            "/api/tenants/{any}/devices",
            "/api/tenants/acme/changes",
            "/api/tenants/acme/compare",
            "/api/tenants/acme/statistics",
            "/api/tenants/acme/audit-logs",
            "/api/dead-letters",
        ]
    )
    asked: list[tuple[str, dict[str, str]]] = []

    @settings(
        max_examples=300, database=None, suppress_health_check=list(HealthCheck), derandomize=True
    )
    @given(places, anything, st.dictionaries(names, anything, max_size=3))
    def collect(place: str, part: str, query: dict[str, str]) -> None:
        shown = part.encode("utf-8", "replace").decode()
        quoted = httpx.URL("", params={"x": shown}).query.decode().removeprefix("x=")
        path = place.format(home=HOME, any=quoted.replace("+", "%20") or "-")
        asked.append((path, {k: v.encode("utf-8", "replace").decode() for k, v in query.items()}))

    collect()
    for path, query in asked:
        answer = await api.http.get(path, params=query)
        assert answer.status_code in (200, 400, 404, 422), (path, query, answer.text)
        if answer.status_code != 200:
            message = answer.json()["detail"]
            assert not any(word in message for word in ("SELECT", "configtrail.", "asyncpg"))
