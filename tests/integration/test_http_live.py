"""Live events over HTTP: none missed, none doubled, over restarts of the server and of NATS."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import Struct, field

from adapters.embedded.nats import EmbeddedNats
from adapters.embedded.postgres import EmbeddedPostgres
from adapters.http import live as http_live
from adapters.jetstream.streams import EVENTS
from adapters.live import Live
from domain.access import Permission, Role
from domain.errors import Unavailable
from tests.rig import api_key
from tests.serving import CANARY, HOME, NOON, Api, export, program, settings_for
from tests.support import eventually

FEED = "/api/tenants/acme/events"
CHANGES = {
    *("SnapshotCreated", "DuplicateSkipped", "DiffGenerated"),
    *("ManualBackupTriggered", "ManualBackupFinished"),
}
OUTLINE = (
    *("position", "device_id", "type", "action", "resource_type", "resource_id"),
    *("created_at", "recorded_at"),
)


class Listening(Struct):
    """What a listener got, as a browser would take it."""

    last_id: int | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    ended: bool = False

    async def run(self, http: httpx.AsyncClient) -> None:
        """Listen until the feed ends."""
        headers = {} if self.last_id is None else {"Last-Event-ID": str(self.last_id)}
        async with http.stream("GET", FEED, headers=headers, timeout=60) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            data = ""
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "data":
                    data = value
                elif name == "id":
                    self.last_id = int(value)
                elif not line and data:
                    told = json.loads(data)
                    assert told["position"] == self.last_id
                    self.events.append(told)
                    self.ids.append(told["position"])
                    data = ""
        self.ended = True


@asynccontextmanager
async def listening(
    api: Api, last_id: int | None = None, *, key: str | None = None
) -> AsyncIterator[Listening]:
    """A listener that has begun; `key`: whose, else an administrator's."""
    one = Listening(last_id)
    headers = api.http.headers if key is None else {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=api.address, headers=headers) as http:
        task = asyncio.create_task(one.run(http))
        await eventually(lambda: one.last_id is not None)
        try:
            yield one
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def reached(one: Listening, position: int) -> None:
    """Wait until the listener heard of all events up to a position."""
    await eventually(lambda: (one.last_id or 0) >= position, within=60)


def got(one: Listening, count: int) -> bool:
    return len(one.ids) >= count


async def observed(api: Api, count: int, *, device: str = "r1", first: int = 0) -> None:
    for number in range(first, first + count):
        text = export(device, f"192.0.2.{number + 1}")
        await api.system.intake.publish("acme", device, text, NOON + timedelta(minutes=number))


async def positions(api: Api, tenant: str = "acme") -> list[int]:
    async with aclosing(api.system.events.read()) as batches:
        return [one.position async for batch in batches for one in batch if one.tenant_id == tenant]


@pytest.fixture
async def api(nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path) -> AsyncIterator[Api]:
    settings = settings_for(nats_server, postgres_dsn, tmp_path, live_heartbeat_seconds=0.2)
    async with program(settings) as running:
        yield running


async def test_events_come_as_they_happen_of_ones_own_tenant_only(api: Api) -> None:
    async with listening(api) as one:
        await api.system.intake.publish("other", "x1", export("x1", "192.0.2.1"), NOON)
        await observed(api, 5)
        head = await api.settled()
        await reached(one, head)  # the heartbeat moves it on
        assert one.ids == await positions(api)
        assert {event["device_id"] for event in one.events} == {"r1"}
        audit = (await api.get("/api/tenants/acme/audit-logs"))["items"]
        by_position = {entry["position"]: entry for entry in audit}
        for event in one.events:
            entry = by_position[event["position"]]
            assert {name: event[name] for name in ("id", "actor", "action", "details")} == {
                name: entry[name] for name in ("id", "actor", "action", "details")
            }
        assert CANARY not in str(one.events)


async def test_who_may_read_hears_in_outline_what_other_reads_show(api: Api) -> None:
    """Changes, readings and backups. Who reads secrets, makes keys or is refused, auditors hear."""
    keys = [await api_key(api.system, role, "acme") for role in (Role.VIEWER, Role.OPERATOR)]
    await observed(api, 2)
    before = await api.settled()
    async with AsyncExitStack() as stack:
        only = frozenset({Permission.AUDIT})
        narrowed = await api_key(api.system, Role.ADMIN, "acme", only=only)
        auditor = await stack.enter_async_context(listening(api, 0, key=narrowed))
        ones = [
            (after, await stack.enter_async_context(listening(api, after, key=key)))
            for key in keys
            for after in (0, before)
        ]
        await api_key(api.system, Role.VIEWER, "acme")
        shown = f"{HOME}/r1/config/at?time=2026-03-02T00:00:00Z&reveal=true"
        assert (await api.http.get(shown)).status_code == 200
        await observed(api, 2, first=2)
        again = NOON + timedelta(hours=1)
        await api.system.intake.publish("acme", "r1", export("r1", "192.0.2.4"), again)
        trigger = await api.http.post(f"{HOME}/r1/config-snapshot/trigger")
        assert trigger.status_code == 502  # there is no collector
        end = await api.settled()
        for one in (auditor, *(one for _, one in ones)):
            await reached(one, end)
    assert {"AccessKeyCreated", "ContentRevealed"} < {one["type"] for one in auditor.events}
    told = [one for one in auditor.events if one["type"] in CHANGES]
    assert {one["type"] for one in told} == CHANGES
    for after, one in ones:
        wanted = [event for event in told if event["position"] > after]
        assert one.events == [{name: event[name] for name in OUTLINE} for event in wanted]


async def test_a_feed_goes_on_after_any_position(api: Api) -> None:
    await observed(api, 6)
    await api.system.intake.publish("other", "x1", export("x1", "192.0.2.1"), NOON)
    head = await api.settled()
    own = await positions(api)
    for after in range(head + 1):
        async with listening(api, after) as one:
            wanted = [position for position in own if position > after]
            await reached(one, head)
            assert one.ids == wanted
    ahead = await api.http.get(FEED, headers={"Last-Event-ID": str(head + 1)})
    assert (ahead.status_code, ahead.json()["field"]) == (422, "Last-Event-ID")
    ahead = await api.http.get(FEED, params={"after": str(head + 1)})
    assert (ahead.status_code, ahead.json()["field"]) == (422, "after")
    assert (await api.http.get(FEED, params={"after": "x"})).status_code == 422
    assert (await api.http.get(FEED, headers={"Accept": "text/csv"})).status_code == 406


async def test_who_comes_again_and_again_leaves_no_consumers_behind(api: Api) -> None:
    await observed(api, 6)
    head = await api.settled()

    async def consumers() -> int:
        return int((await api.system.js.stream_info(EVENTS)).state.consumer_count)

    async with listening(api) as staying:  # all that come to the end are served by its reading
        before = await consumers()
        for _ in range(20):
            async with listening(api, 0) as one:
                await reached(one, head)

        async def as_before() -> bool:
            return await consumers() == before

        await eventually(as_before)
        assert not staying.ended


async def test_no_event_is_missed_or_doubled_while_nats_restarts(
    api: Api, nats_server: EmbeddedNats
) -> None:
    async with listening(api) as one:
        for part in range(3):
            await observed(api, 4, first=4 * part)
            await nats_server.kill()
            await nats_server.start()
        head = await api.settled()
        await reached(one, head)
        assert one.ids == await positions(api)


async def test_a_listener_goes_on_with_another_program(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    settings = settings_for(nats_server, postgres_dsn, tmp_path, live_heartbeat_seconds=0.2)
    seen: list[int] = []
    last_id: int | None = 0
    for part in range(3):
        async with program(settings) as api:
            async with listening(api, last_id) as one:
                await observed(api, 4, first=4 * part)
                await eventually(partial(got, one, 3))
                await api.stop()
                await eventually(partial(getattr, one, "ended"))
            seen += one.ids
            last_id = one.last_id
            own = await positions(api)
    async with program(settings) as api:
        head = await api.settled()
        async with listening(api, last_id) as one:
            await reached(one, head)
        assert seen + one.ids == await positions(api)
        assert len(own) > 0


async def test_two_hundred_listeners_are_served_by_one_reading(api: Api) -> None:
    async with (
        listening(api),
        httpx.AsyncClient(
            base_url=api.address,
            headers=api.http.headers,
            limits=httpx.Limits(max_connections=None),
        ) as http,
    ):
        many = [Listening() for _ in range(200)]
        tasks = [asyncio.create_task(one.run(http)) for one in many]
        await eventually(lambda: all(one.last_id is not None for one in many), within=60)
        assert api.system.live.listeners == 201
        await observed(api, 5)
        await api.settled()
        own = await positions(api)
        await eventually(lambda: all(one.ids == own for one in many), within=60)
        # Stopping ends them all, as an end and not as a broken connection.
        await api.stop()
        await asyncio.gather(*tasks)
        assert all(one.ended for one in many)
    assert api.system.live.listeners == 0


@pytest.mark.parametrize(("kept", "kept_bytes"), [(3, 1 << 30), (1_000, 3_000)])
async def test_who_does_not_read_is_dropped_and_others_go_on(
    api: Api, kept: int, kept_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.live.KEPT_BYTES", kept_bytes)
    system = api.system
    live = Live(system.source, system.events, heartbeat=0.2, kept=kept)
    slow, quick = live.listen("acme"), live.listen("acme")
    got: list[int] = []

    async def read() -> None:
        async for frame in quick:
            if frame.body:
                got.append(frame.position)

    begun = [await anext(slow), await anext(slow)]
    reading = asyncio.create_task(read())
    await eventually(lambda: live.listeners == 2)
    await observed(api, 6)
    await api.settled()
    own = await positions(api)
    await eventually(lambda: got == own)
    rest = [frame async for frame in slow]
    assert [frame for frame in begun + rest if frame.body] == []
    assert live.listeners == 1
    await live.stop()
    await reading
    with pytest.raises(Unavailable):
        await anext(live.listen("acme"))


async def test_who_may_listen_no_more_gets_nothing_more(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_live, "STANDING_SECONDS", 0.0)
    key = await api_key(api.system, Role.ADMIN, "acme")
    mine = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=api.address, headers=mine) as http:
        one = Listening()
        task = asyncio.create_task(one.run(http))
        await observed(api, 2)
        await eventually(partial(got, one, 2))
        await api.system.keys.revoke("acme", key.split("_")[1], actor="user:a", reason="lost")

        async def refused() -> bool:
            return (await http.get(FEED.replace("events", "fleet"))).status_code == 401

        await eventually(refused)
        seen = list(one.ids)
        await observed(api, 3, first=2)
        await api.settled()
        await task
        # The end of the key may still have been told, and whatever came before it was known.
        assert one.ended
        assert [event["type"] for event in one.events if event["position"] not in seen] == []


async def test_a_feed_ends_with_its_key_though_nobody_can_be_asked(
    nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    postgres = EmbeddedPostgres(
        tmp_path / "postgres", password=secrets.token_hex(16), durable=False
    )
    await postgres.start()
    settings = settings_for(nats_server, postgres.dsn, tmp_path, live_heartbeat_seconds=0.2)
    async with program(settings) as api, AsyncExitStack() as stack:
        ends = datetime.now(UTC) + timedelta(seconds=10)
        endless = await api_key(api.system, Role.VIEWER, "acme")
        ending = await api_key(api.system, Role.VIEWER, "acme", expires_at=ends)
        staying, going = [
            await stack.enter_async_context(listening(api, key=key)) for key in (endless, ending)
        ]
        await postgres.stop()
        await eventually(lambda: going.ended, within=60)
        assert datetime.now(UTC) >= ends
        await observed(api, 1)
        await eventually(partial(got, staying, 1), within=60)
        assert (going.events, staying.ended) == ([], False)
        await postgres.start()
    await postgres.stop()
