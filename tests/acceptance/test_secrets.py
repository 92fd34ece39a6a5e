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
from nats.js.errors import NotFoundError

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


def credentials(key: str) -> dict[str, str]:
    """What whoever asks gives away, rightly or by mistake: the key in force, and others."""
    return {
        "key": key.split("_", 2)[2],
        "wrong key": "Falsch-" + "k" * 36,
        "token": "eyJhbGciOiJSUzI1NiJ9.RmFsc2NoZXItQW5zcHJ1Y2g.VW50ZXJzY2hyaWZ0",
        "basic": base64.b64encode(b"ann:Passwort-9d21").decode(),
        "in the address": "Adresse-4be0-geheim",
        "in the body": "Rumpf-77c2-geheim",
        "in a header": "Kopf-1a9f-geheim",
    }


async def misuse(api: httpx.AsyncClient, given: dict[str, str]) -> None:
    """Secrets where they do not belong, each of which is refused without quoting it."""
    home = "/api/tenants/acme/devices/r1"
    wrong = f"ctk_{'0' * 16}_{given['wrong key']}"
    for authorization in (f"Bearer {wrong}", f"Bearer {given['token']}", f"Basic {given['basic']}"):
        answer = await api.get(home, headers={"Authorization": authorization})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert not finds(answer.content, [one.encode() for one in given.values()])
    lost, body = given["in the address"], {"reason": "x", "password": given["in the body"]}
    answers = [
        await api.get(home, params={"password": lost}),
        await api.get(f"{home}/config/at", params={"time": lost}),
        await api.get(f"{home}/snapshots", params={"cursor": lost}),
        await api.get(f"{home}/config/{lost}"),
        await api.post(f"{home}/config-snapshot/trigger", json=body),
        await api.post("/api/keys", json={"name": given["in the body"], "role": lost}),
        await api.put(
            f"{home}/config",
            content=b"\xff" + given["in the body"].encode(),
            params={"platform": lost},
        ),
        await api.get(home, headers={"Accept": given["in a header"]}),
        await api.get(home, headers={"Configtrail-Min-Position": given["in a header"]}),
    ]
    for answer in answers:
        assert 400 <= answer.status_code < 500, answer.url
        assert not finds(answer.content, [one.encode() for one in given.values()]), answer.url


def finds(haystack: bytes, needles: list[bytes]) -> list[bytes]:
    return [needle for needle in needles if needle in haystack]


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def play(nc: Client, url: str, key: str, texts: list[str]) -> None:
    intake = IntakePublisher(nc)
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
    # Whoever looks for a fault turns everything on.
    program.environment["CONFIGTRAIL_LOG_LEVEL"] = "DEBUG"
    program.environment["CONFIGTRAIL_REFUSALS_TOLD_SECONDS"] = "0.5"
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
        api_key = (data / "api.key").read_text().strip()
        await play(nc, program.url, api_key, texts)
        given = credentials(api_key)
        sent = {"Authorization": f"Bearer {api_key}"}
        async with httpx.AsyncClient(base_url=program.url, timeout=30, headers=sent) as api:
            await misuse(api, given)
            metrics = (await api.get("/metrics")).content
        spoken = [one.encode() for one in given.values()]
        assert not finds(metrics, needles + spoken)
        needles += spoken

        async def refusals_are_told() -> bool:
            names = await js.stream_info(EVENTS, subjects_filter="configtrail.*.*.AccessRefused")
            return bool(names.state.subjects)

        await eventually(refusals_are_told)

        async def letters() -> bool:
            return (await js.stream_info("CONFIGTRAIL_DEADLETTERS")).state.messages == 2

        await eventually(letters)

        async def diffed() -> bool:
            names = await js.stream_info(EVENTS, subjects_filter="configtrail.*.*.DiffGenerated")
            return bool(names.state.subjects)

        await eventually(diffed)
        # Every message of every stream, as the server hands it out in clear.
        streams = {one.config.name: one.state for one in await js.streams_info()}
        for name in ("CONFIGTRAIL_EVENTS", "CONFIGTRAIL_CONTENT", "CONFIGTRAIL_DEADLETTERS"):
            assert streams[name].messages, name
        for stream, state in streams.items():
            for sequence in range(max(1, state.first_seq), state.last_seq + 1):
                try:
                    message = await js.get_msg(str(stream), sequence)
                except NotFoundError:  # a newer value took its place
                    continue
                whole = repr((message.subject, message.headers)).encode() + (message.data or b"")
                assert not finds(whole, needles), f"{stream} {sequence}"
        connection = await asyncpg.connect(endpoints.postgres_dsn)
        try:
            tables = await connection.fetch(
                "select table_schema, table_name from information_schema.tables "
                "where table_schema like 'configtrail%'"
            )
            assert len(tables) > 5
            for schema, table in tables:
                rows = await connection.fetch(f'select t::text from {schema}."{table}" t')
                assert not finds("\n".join(row[0] for row in rows).encode(), needles), table
        finally:
            await connection.close()
        await nc.close()
        assert await program.stop() == 0
    finally:
        await program.kill()
    files = files_in(tmp_path)
    assert len(files) > 50, "the data folder's files were searched"
    key_file = data / "api.key"
    assert finds(files.pop(key_file), needles), "it would be found"
    # The first key is printed, once; all else there is the log.
    printed, log = _apart(files[program.log].decode())
    assert printed.count(given["key"]) == 1
    assert not finds(printed.replace(given["key"], "").encode(), needles)
    files[program.log] = log.encode()
    assert '"level": "debug"' in log
    assert " 401 in " in log
    for path, held in files.items():
        assert not finds(held, needles), path


def _apart(output: str) -> tuple[str, str]:
    """What is printed for whoever starts the program, and the log, whose lines are JSON."""
    lines = output.splitlines(keepends=True)
    return (
        "".join(one for one in lines if not one.startswith("{")),
        "".join(one for one in lines if one.startswith("{")),
    )
