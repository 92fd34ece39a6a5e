"""Searching configurations over HTTP, and what is parked or was refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters import searching
from adapters.crypto.keys import MasterKey, TenantKeys, device_key_id, device_key_name, wrap
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


async def search(api: Api, *, tenant: str = "acme", **asked: Any) -> tuple[list[Any], int]:
    """All that a search finds, and how many texts it searched: page after page, as one page may end
    before it is full where the machine is busy."""
    found: list[Any] = []
    searched, cursor = 0, None
    while True:
        more: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
        page = await api.get(f"/api/tenants/{tenant}/search", **asked, **more)
        assert page["unreadable"] == 0
        assert len(page["items"]) <= asked.get("limit", 100)
        found += page["items"]
        searched += page["searched"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found, searched


async def test_a_text_is_found_in_what_holds_now_and_in_what_held(api: Api) -> None:
    [match], searched = await search(api, q="ADDRESS=192.0.2.")
    assert (match["device_id"], match["is_current"], match["matching"]) == ("r1", True, 1)
    [line] = match["lines"]
    assert line["text"] == "add address=192.0.2.2/24 interface=ether1"
    assert TEXTS[2].splitlines()[line["number"] - 1] == line["text"]
    assert searched == 13
    assert await search(api, q="ADDRESS=192.0.2.", match_case=True) == ([], 13)
    past, searched = await search(api, q="address=192.0.2.", past=True)
    assert [one["is_current"] for one in past] == [False, False, True]
    assert searched == 15
    pattern, _ = await search(api, q=r"^set name=r[12]$", pattern=True, past=True)
    assert len(pattern) == 3
    assert len((await search(api, q="198.51.100.", device_id="s03"))[0]) == 1
    assert await search(api, tenant="nobody", q="address") == ([], 0)


async def test_a_search_goes_on_by_its_cursor(api: Api) -> None:
    whole, _ = await search(api, q="address=", past=True)
    parted, searched = await search(api, q="address=", past=True, limit=4)
    assert (parted, len(whole), searched) == (whole, 15, 15)


async def test_texts_that_can_not_be_opened_keep_nobody_from_finding_others(api: Api) -> None:
    keyring = api.system.keyring
    wrapped: dict[str, bytes] = {}
    for device in ("s03", "s04", "s05"):
        key_id = device_key_id("acme", device, 0)
        name = device_key_name("acme", device, key_id)
        whole = wrapped[name] = await keyring.store.get(name) or b""
        touched = {
            "s03": whole[:-1] + bytes([whole[-1] ^ 1]),
            "s04": wrap(keyring.masters.first, name, TenantKeys.generate(key_id)),
            "s05": wrap(MasterKey.generate(), name, await keyring.unwrapped(name, whole)),
        }[device]
        assert await keyring.store.replace(name, whole, touched)
        keyring.forget(name)
    # Of a master key that others have, it is this program that lacks something.
    problem = await api.problem(SEARCH, 503, q="address=")
    assert problem["code"] == "key_unavailable"
    # How to mend that is for whoever runs the program, in its log.
    assert "lacks the master key" in problem["detail"]
    assert "CONFIGTRAIL" not in problem["detail"]
    (name, whole) = list(wrapped.items())[-1]
    assert await keyring.store.replace(name, await keyring.store.get(name) or b"", whole)
    page = await api.get(SEARCH, q="address=")
    assert (len(page["items"]), page["searched"], page["unreadable"]) == (11, 11, 2)
    for form in ("application/json", "application/x-ndjson", "text/csv"):
        answer = await api.http.get(f"{SEARCH}?q=address=", headers={"Accept": form})
        told = {
            name: answer.headers.get(f"Configtrail-{name}") for name in ("Searched", "Unreadable")
        }
        assert told == {"Searched": "11", "Unreadable": "2"}


async def test_no_secret_can_be_found_out_by_asking_for_it(api: Api) -> None:
    for probe in (CANARY, CANARY[:8], f"password={CANARY[:4]}"):
        assert await search(api, q=probe, past=True) == ([], 15)
    hashed, _ = await search(api, q="password=", past=True)
    assert len(hashed) == 15
    assert CANARY not in str(hashed)


async def test_patterns_without_end_are_refused_or_cost_nothing(api: Api) -> None:
    for q in ("(", "a{1000}{1000}", r"(a)\1", "(?=a)", " ", "x" * 201, "a\nb"):
        problem = await api.problem(SEARCH, 422, q=q, pattern=True)
        assert problem["field"] == "q"
    _, searched = await search(api, q="(a|a|a|aa)+(a|a|aa)+$", pattern=True)
    assert searched == 13


def wait_for(file: str) -> None:
    while not Path(file).exists():
        time.sleep(0.05)


async def test_a_search_looks_at_its_budget_after_each_text(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "BUDGET_SECONDS", 0.0)
    page = await api.get(SEARCH, q="address=")
    assert page["searched"] == 1
    assert page["next_cursor"] is not None
    _, searched = await search(api, q="address=")
    assert searched == 13


async def test_what_is_slow_to_compare_keeps_nobody_from_searching(
    api: Api, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    slow = api.system.differing.submit(wait_for, str(done))
    try:
        assert (await search(api, q="address="))[1] == 13
        page = await api.get("/api/tenants/acme/devices/r1/snapshots")
        newest, _, oldest = (one["id"] for one in page["items"])
        address = "/api/tenants/acme/devices/r1/config/compare"
        found = await api.get(address, params={"from": oldest, "to": newest})
        assert found["coarse"] is False
        assert not slow.done()
    finally:
        done.touch()
    await asyncio.wrap_future(slow)
