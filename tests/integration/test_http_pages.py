"""Pages over HTTP: none is missed or doubled, whatever comes meanwhile and stands in an id."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote, urljoin

import httpx
import msgspec
import pytest

from adapters.http.cursors import BY_TIME, Cursors, InvalidCursor
from adapters.shapes.history import history_out
from projections import diffs
from tests.reading import LISTINGS, ageless, four_devices
from tests.serving import HOME, NOON, TEXTS, Api


def with_query(path: str, **more: Any) -> httpx.URL:
    """The path with more parameters than it has."""
    return httpx.URL(path).copy_merge_params(more)


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


@pytest.fixture
async def api(api: Api) -> Api:
    await four_devices(api)
    return api


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


async def test_a_timeline_tells_the_same_where_something_came_late_and_where_nothing_did(
    api: Api,
) -> None:
    for day in range(9):
        moment = NOON + timedelta(days=2 * day)
        await api.system.intake.publish("acme", "r9", TEXTS[day % 3], moment)
    await api.settled()
    # Something else for a while, and the first sight of what came with a snapshot after it.
    for hours, text in ((9 * 24, TEXTS[2]), (11 * 24 + 12, TEXTS[0])):
        await api.system.intake.publish("acme", "r9", text, NOON + timedelta(hours=hours))
    await api.settled()
    rows = api.system.rows_of("acme")
    told = await diffs.config_history(rows, "acme", "r9", limit=100)
    whole = msgspec.to_builtins([history_out(one) for one in told])
    assert len(whole) >= 9
    ready = [
        await diffs.shown_history(rows, "acme", "r9", limit=1, offset=offset)
        for offset in range(len(whole))
    ]
    assert None in ready
    assert any(ready)
    path = f"{HOME}/r9/config-history"
    for limit in (1, 2, 100):
        assert [one for page in await pages(api, path, None, limit) for one in page] == whole
        numbered = [
            await api.get(path, limit=limit, offset=offset)
            for offset in range(0, len(whole), limit)
        ]
        assert [one for page in numbered for one in page] == whole


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


async def test_a_cursor_whose_entry_is_not_there_any_more_is_refused_as_one(api: Api) -> None:
    """As while the audit trail is filled anew."""
    path = "/api/tenants/acme/audit-logs"
    page = await api.get(path, per_page=2)
    await api.system.pool.execute(
        "DELETE FROM configtrail.audit WHERE position = $1", page["next_before"]
    )
    found = await api.problem(path, 400, cursor=page["next_cursor"])
    assert (found["code"], found["field"]) == ("invalid_cursor", "cursor")
    assert (await api.problem(path, 422, before=page["next_before"]))["field"] == "before"


async def test_a_cursor_of_another_form_is_refused_as_one(api: Api) -> None:
    """As of a program of another version."""
    cursors = Cursors(api.system.keyring)
    for place in (5, "five", [1, 2], None):
        given_one = await cursors.give(("devices",), place)
        with pytest.raises(InvalidCursor):
            await cursors.take(("devices",), given_one, BY_TIME)


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
