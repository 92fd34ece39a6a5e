"""A secret that goes in with an export is nowhere in clear: events, rows, logs, files, answers."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
from nats.aio.client import Client

from adapters.embedded.runtime import running as running_endpoints
from adapters.jetstream.connection import connect
from adapters.jetstream.intake import CREATE, IntakePublisher
from adapters.jetstream.streams import EVENTS
from tests.acceptance.program import Program
from tests.support import eventually

CANARY = "Kanarienvogel-7f3e9b-Geheimnis"
OTHER = "Zeisig-51c0aa-Verborgen"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def export(secret: str) -> str:
    return (
        "# 2026-03-01 12:00:00 by RouterOS 7.14\n"
        "/interface wireless security-profiles\n"
        f"add name=guests wpa2-pre-shared-key={secret}\n"
        "/system script\n"
        f'add name=upload source="/tool fetch url=\\"ftp://u:{secret}@192.0.2.1/\\""\n'
        # Names, comments, what stands where a property should, and lines that nobody understands.
        f"/ip pool\nadd comment=one name=pool-{secret} {secret}=1\nadd name=b comment={secret}\n"
        f"/ip {secret} add name=a\n/{secret}\n{secret} {secret}\n"
    )


def traces(texts: list[str]) -> Iterator[bytes]:
    """What gives a secret away: itself, in the usual codings, or a plain hash of a text."""
    for secret in (CANARY, OTHER):
        raw = secret.encode()
        yield raw
        yield secret.encode("utf-16-le")
        yield raw.hex().encode()
        for shift in range(3):
            coded = base64.b64encode(b"\0" * shift + raw)
            yield coded[4 if shift else 0 : -4]  # the part that does not depend on neighbours
    for text in texts:
        digest = hashlib.sha256(text.encode())
        yield digest.digest()
        yield digest.hexdigest().encode()
        yield base64.b64encode(digest.digest())


def finds(haystack: bytes, needles: list[bytes]) -> list[bytes]:
    return [needle for needle in needles if needle in haystack]


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def play(nc: Client, url: str, key: str, texts: list[str]) -> None:
    intake = IntakePublisher(nc, nc.jetstream())
    for hours, text in enumerate(texts):
        await intake.publish("acme", "r1", text, NOON + timedelta(hours=hours))
    broken = {
        "device_id": "r2",
        "tenant_id": "acme",
        "sha256_hash": "0" * 64,
        "config_text": export(CANARY),
        "collected_at": NOON.isoformat(),
        "normalization_version": 1,
    }
    await intake.publish_raw(CREATE, json.dumps(broken).encode())
    await intake.publish_raw(CREATE, b'{"config_text": "' + export(CANARY).encode())
    sent = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, timeout=30, headers=sent) as api:

        async def compared() -> bool:
            answer = await api.get("/api/tenants/acme/devices/r1/snapshots")
            return answer.status_code == 200 and len(answer.json()["items"]) == 2

        await eventually(compared)

        async def explained() -> bool:
            answer = await api.get("/api/tenants/acme/devices/r1/config-history")
            return answer.status_code == 200 and CANARY not in answer.text

        await eventually(explained)
        # Nobody answers it: the failure must not hold the text either.
        answer = await api.post("/api/tenants/acme/devices/r1/config-snapshot/trigger")
        assert answer.status_code == 502
        metrics = await api.get("/metrics")
        assert re.search(r"^config_snapshot_ingested_total 2\.0$", metrics.text, re.MULTILINE)
        assert not finds(metrics.content, list(traces(texts)))


async def test_a_canary_is_found_nowhere(tmp_path: Path) -> None:
    texts = [export(CANARY), export(OTHER)]
    needles = list(traces(texts))
    key = base64.b64encode(os.urandom(32)).decode()
    program = Program(tmp_path, nats_url=None, postgres_dsn=None, key=key)
    data = tmp_path / "data"
    await program.start()
    try:
        endpoints = await eventually(lambda: running_endpoints(data), within=60)
        nc = await connect(endpoints.nats_url, name="canary")
        js = nc.jetstream()

        async def ready() -> bool:
            try:
                async with httpx.AsyncClient() as api:
                    return (await api.get(f"{program.url}/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(ready, within=60)
        await play(nc, program.url, (data / "api.key").read_text().strip(), texts)

        async def letters() -> bool:
            return (await js.stream_info("CONFIGTRAIL_DEADLETTERS")).state.messages == 2

        await eventually(letters)

        async def diffed() -> bool:
            names = await js.stream_info(EVENTS, subjects_filter="configtrail.*.*.DiffGenerated")
            return bool(names.state.subjects)

        await eventually(diffed)
        # Every message of every stream, as the server hands it out in clear.
        for stream in ("CONFIGTRAIL_EVENTS", "CONFIGTRAIL_CONTENT", "CONFIGTRAIL_DEADLETTERS"):
            state = (await js.stream_info(stream)).state
            assert state.messages, stream
            for sequence in range(state.first_seq, state.last_seq + 1):
                message = await js.get_msg(stream, sequence)
                whole = repr(message.headers).encode() + (message.data or b"")
                assert not finds(whole, needles), f"{stream} {sequence}"
        connection = await asyncpg.connect(endpoints.postgres_dsn)
        try:
            tables = await connection.fetch(
                "select table_name from information_schema.tables "
                "where table_schema = 'configtrail'"
            )
            assert len(tables) > 5
            for (table,) in tables:
                rows = await connection.fetch(f'select t::text from configtrail."{table}" t')
                assert not finds("\n".join(row[0] for row in rows).encode(), needles), table
        finally:
            await connection.close()
        await nc.close()
        assert await program.stop() == 0
    finally:
        await program.kill()
    files = files_in(tmp_path)
    assert len(files) > 50, "the data folder's files were searched"
    for path, held in files.items():
        assert not finds(held, needles), path
