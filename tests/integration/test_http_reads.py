"""Reading over HTTP: addresses, times, and what a caller has already; on the whole program."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.cli import listings
from domain.errors import InvalidInput
from tests.reading import four_devices
from tests.serving import HOME, NOON, TEXTS, Api, export


@pytest.fixture
async def api(api: Api) -> Api:
    await four_devices(api)
    return api


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


async def test_the_command_line_says_that_there_is_nothing(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    await api.http.post(f"{HOME}/new/config-snapshot/trigger")  # nobody answers it
    await api.settled()
    of_acme = api.system.settings.model_copy(update={"tenant": "acme"})
    await listings.history(of_acme, device="new", limit=50)
    assert capsys.readouterr().err == "new has no configuration yet\n"
    await listings.history(of_acme, device="r1", section="/nothing", limit=50)
    assert capsys.readouterr().err == "no change of r1 touches the section /nothing\n"
    await listings.audit(of_acme, actor="user:nobody", limit=50)
    assert capsys.readouterr().err == "no entry of the audit log matches\n"
    with pytest.raises(InvalidInput, match="must be one of access_key_created"):
        await listings.audit(of_acme, action="nope", limit=50)


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
