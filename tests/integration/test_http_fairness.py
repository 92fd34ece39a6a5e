"""One tenant can't starve another, whatever it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from adapters import live
from adapters.composition.rows import READING_OF_ONE, READING_SIZE
from adapters.http.app import create_app
from adapters.http.rates import OF_TENANT
from adapters.http.uploads import AT_ONCE, OF_ONE
from domain.access import Role
from tests.rig import api_key
from tests.serving import TEXTS, Api
from tests.support import eventually


async def test_slow_uploads_of_one_tenant_keep_nobody_else_from_uploading(api: Api) -> None:
    end, begun = asyncio.Event(), 0

    async def slowly() -> AsyncIterator[bytes]:
        nonlocal begun
        yield TEXTS[0].encode()
        begun += 1
        await end.wait()

    async def upload(number: int) -> httpx.Response:
        async with httpx.AsyncClient(
            base_url=api.address, headers=api.http.headers, timeout=60
        ) as http:
            path = f"/api/tenants/busy/devices/r{number}/config"
            return await http.put(path, content=slowly())

    slow = [asyncio.create_task(upload(number)) for number in range(3 * AT_ONCE)]
    await eventually(lambda: begun >= OF_ONE)
    mine = await api.http.put("/api/tenants/quiet/devices/r1/config", content=TEXTS[1].encode())
    assert (mine.status_code, mine.json()["outcome"]) == (201, "created")
    assert not any(one.done() for one in slow)
    end.set()
    assert [one.status_code for one in await asyncio.gather(*slow)] == [201] * len(slow)


async def test_keys_are_counted_each_and_a_tenants_together(api: Api) -> None:
    burst = 3
    slow = api.system.settings.model_copy(update={"rate_per_second": 0.001, "rate_burst": burst})
    app = create_app(replace(api.system, settings=slow))
    # The names of these keys are the same.
    theirs = await api_key(api.system, Role.VIEWER, "other")
    mine = [await api_key(api.system, Role.VIEWER, "acme") for _ in range(OF_TENANT + 2)]
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:

        async def ask(tenant: str, key: str) -> int:
            headers = {"Authorization": f"Bearer {key}"}
            answer = await http.get(f"/api/tenants/{tenant}/fleet", headers=headers)
            return answer.status_code

        answers = [[await ask("acme", key) for _ in range(burst + 1)] for key in mine]
        assert answers[0] == [200] * burst + [429]
        # More keys give a tenant more, and not without end.
        assert sum(one.count(200) for one in answers) <= OF_TENANT * burst
        assert answers[-1] == [429] * (burst + 1)
        assert [await ask("other", theirs) for _ in range(burst)] == [200] * burst


async def test_one_tenant_does_not_take_all_places_of_the_live_feed(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "OF_TENANT_MAX", 2)
    feeds = [api.system.live.listen("busy") for _ in range(2)]
    for feed in feeds:
        await anext(feed)
    full = await api.http.get("/api/tenants/busy/events")
    assert (full.status_code, full.json()["code"]) == (503, "unavailable")
    assert int(full.headers["retry-after"]) > 0
    other = api.system.live.listen("quiet")
    await anext(other)
    for feed in (*feeds, other):
        await feed.aclose()
    assert api.system.live.listeners == 0
    again = api.system.live.listen("busy")
    await anext(again)
    await again.aclose()


async def test_reads_of_one_tenant_leave_room_for_anothers(api: Api) -> None:
    await api_key(api.system)  # all read models are there
    async with api.system.pool.acquire() as holder:
        await holder.execute("SELECT pg_advisory_lock(4711)")
        waiting = "SELECT pg_advisory_xact_lock_shared(4711)"
        rows = api.system.rows_of("busy")
        busy = [asyncio.create_task(rows.fetch(waiting)) for _ in range(3 * READING_SIZE)]
        blocked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"

        async def all_wait() -> bool:
            return bool(await holder.fetchval(blocked) == READING_OF_ONE)

        await eventually(all_wait)
        mine = await api.http.get("/api/tenants/quiet/fleet")
        assert (mine.status_code, mine.json()) == (200, [])
        assert await holder.fetchval(blocked) == READING_OF_ONE
        await holder.execute("SELECT pg_advisory_unlock(4711)")
    await asyncio.gather(*busy)
