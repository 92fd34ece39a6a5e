"""Uploading configurations over HTTP: the intake's rules, one fact each, and no bomb."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard

from adapters.embedded.nats import EmbeddedNats
from adapters.http.bodies import unpacked
from domain.errors import ConfigtrailError
from domain.intake import MAX_TEXT
from tests.serving import CANARY, HOME, NOON, TEXTS, Api, program, settings_for
from tests.support import eventually

PATH = f"{HOME}/r1/config"


@pytest.fixture
async def api(nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with program(settings_for(nats_server, postgres_dsn, tmp_path)) as running:
        await eventually(partial(has_tables, running))
        yield running


async def has_tables(api: Api) -> bool:
    return (await api.http.get(HOME)).status_code == 404


async def put(
    api: Api, body: bytes, *, hours: float | None = 0, key: str | None = None, **more: Any
) -> httpx.Response:
    """Upload, as read at so many hours after noon."""
    headers = {"Content-Type": "text/plain", **more.pop("headers", {})}
    if key is not None:
        headers["Idempotency-Key"] = key
    if hours is not None:
        more["collected_at"] = (NOON + timedelta(hours=hours)).isoformat()
    return await api.http.put(PATH, content=body, headers=headers, params=more)


async def told(api: Api) -> int:
    """How much is recorded about devices."""
    async with aclosing(api.system.events.read()) as batches:
        return sum([one.device_id == "r1" async for batch in batches for one in batch])


async def test_an_upload_is_answered_when_it_is_a_fact(api: Api) -> None:
    text = TEXTS[0].encode()
    made = await put(api, text)
    assert (made.status_code, made.json()["outcome"]) == (201, "created")
    position = made.headers["configtrail-position"]
    assert position == str(made.json()["position"])
    path = f"{HOME}/r1/config/{made.json()['snapshot_id']}"
    shown = await api.get(path, min_position=position, reveal="true")
    assert (shown["config_text"], shown["source"]) == (TEXTS[0], "pushed")
    for number, (coding, body) in enumerate(
        (("zstd", zstandard.compress(text)), ("gzip", gzip.compress(text)), ("identity", text))
    ):
        same = await put(api, body, hours=number + 1, headers={"Content-Encoding": coding})
        assert (same.status_code, same.json()["outcome"]) == (200, "duplicate")
        assert same.json()["snapshot_id"] == made.json()["snapshot_id"]
    cut = TEXTS[1].rpartition("set name")[0] + "#error exporting /system identity\n"
    partial = await put(api, cut.encode(), hours=9)
    assert (partial.status_code, partial.json()["outcome"]) == (201, "partial")


async def test_the_same_upload_again_is_the_same_fact(api: Api) -> None:
    first = await put(api, TEXTS[0].encode())
    again = await put(api, TEXTS[0].encode())
    assert (again.status_code, again.json()) == (201, first.json())
    now = [await put(api, TEXTS[1].encode(), hours=None, key="poll-1") for _ in range(2)]
    assert now[0].json() == now[1].json()
    answers = await asyncio.gather(
        *(put(api, TEXTS[2].encode(), hours=None, key="poll-2") for _ in range(8))
    )
    assert len({answer.text for answer in answers}) == 1
    await api.settled()
    found = await api.get(f"{HOME}/r1")
    assert (found["snapshots"], found["confirmations"]) == (3, 0)
    reused = await put(api, TEXTS[0].encode(), hours=None, key="poll-2")
    assert (reused.status_code, reused.json()["code"]) == (409, "key_reused")
    other = await put(api, TEXTS[2].encode(), hours=None, key="poll-2", os_version="7.1")
    assert (other.status_code, other.json()["code"]) == (409, "key_reused")


async def test_what_the_intake_would_refuse_is_refused_here(api: Api) -> None:
    good = TEXTS[0].encode()
    future = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    for body, more, field in (
        (b"", {}, "config_text"),
        (b" \n", {}, "config_text"),
        (b"\x00\x01", {}, "config_text"),
        (b"\xff\xfe", {}, "config_text"),
        (good, {"platform": "No Such!"}, "platform"),
        (good, {"os_version": "\n"}, "os_version"),
        (good, {"hours": None, "collected_at": future}, "collected_at"),
        (good, {"hours": None, "collected_at": "1970-01-01T00:00:00Z"}, "collected_at"),
        (good, {"hours": None, "collected_at": "2026-03-01T12:00:00"}, "collected_at"),
        (good, {"key": "two words"}, "Idempotency-Key"),
        (good, {"headers": {"Content-Encoding": "zstd"}}, "body"),
        (good, {"headers": {"Content-Encoding": "gzip"}}, "body"),
        (zstandard.compress(good)[:-9], {"headers": {"Content-Encoding": "zstd"}}, "body"),
        (gzip.compress(good)[:-9], {"headers": {"Content-Encoding": "gzip"}}, "body"),
        (zstandard.compress(good) + b"more", {"headers": {"Content-Encoding": "zstd"}}, "body"),
        (gzip.compress(good) + b"more", {"headers": {"Content-Encoding": "gzip"}}, "body"),
    ):
        answer = await put(api, body, **more)
        assert (answer.status_code, answer.json()["field"]) == (422, field), more
        assert CANARY not in answer.text
    packed = await put(api, good, headers={"Content-Encoding": "br"})
    assert (packed.status_code, packed.json()["code"]) == (415, "unknown_coding")
    assert await told(api) == 0
    assert await api.system.dead_letters.count() == 0


async def test_a_form_is_no_configuration(api: Api) -> None:
    # As `curl -F` sends a file: what parts it is another one each time, so each would be a change.
    form = await api.http.put(PATH, files={"file": ("r1.rsc", TEXTS[0])})
    assert (form.status_code, form.json()["code"]) == (415, "not_a_text")
    assert "--data-binary" in form.json()["detail"]
    named = await put(api, TEXTS[0].encode(), headers={"Content-Type": "Multipart/Mixed"})
    assert (named.status_code, named.json()["code"]) == (415, "not_a_text")
    assert await told(api) == 0


@pytest.mark.parametrize("coding", ["zstd", "gzip"])
def test_a_bomb_is_given_up_at_the_bound(coding: str) -> None:
    many = b"x" * (1 << 20)
    if coding == "gzip":
        packed = gzip.compress(many * (2 * MAX_TEXT >> 20), 1)
    else:
        pack = zstandard.ZstdCompressor().compressobj()
        packed = b"".join(pack.compress(many) for _ in range(2 * MAX_TEXT >> 20)) + pack.flush()
    with pytest.raises(ConfigtrailError, match="at most"):
        unpacked(packed, coding)


async def test_a_body_without_end_is_cut_off(api: Api) -> None:
    async def endless() -> AsyncIterator[bytes]:
        piece = b"x" * (1 << 20)
        while True:
            yield piece

    async with asyncio.timeout(60):
        try:
            answer = await api.http.put(PATH, content=endless())
        except httpx.TransportError:
            pass  # it hung up before the answer could be read
        else:
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert await told(api) == 0


async def test_a_large_upload_passes(api: Api) -> None:
    lines = [f"add address=10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in range(120_000)]
    text = "/ip firewall address-list\n" + "\n".join(lines) + "\n"
    made = await put(api, zstandard.compress(text.encode()), headers={"Content-Encoding": "zstd"})
    assert (made.status_code, made.json()["outcome"]) == (201, "created")
    await api.settled()
    assert (await api.get(f"{HOME}/r1/config/{made.json()['snapshot_id']}"))["config_text"] == text
